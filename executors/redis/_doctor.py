"""What a doctor finds at a server: is it reached, how fast, and is it fit to keep runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from redis import exceptions

from executors.redis._channel import Channel
from executors.redis._connection import Link
from executors.redis._server import facts_of, losses_of, product_of, version_of
from executors.redis._url import Address
from flows.errors import ExecutorError, UnavailableError

PINGS: Final = 20
SLOW_MS: Final = 5.0
CLOCK_SECONDS: Final = 60.0
FULL_PART: Final = 0.8
CLIENTS_PART: Final = 0.8
FRAGMENTED: Final = 1.5
"""Beyond this the server holds half as much again as its data need; for less than `SMALL_BYTES` it means nothing."""
SMALL_BYTES: Final = 64 * 2**20

Facts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What, in a word or two.
        status: ``warn`` where it works, but not as one would want it in earnest.
        found: What was found, in words, with figures and units.
        remedy: What to do about it; empty where there is nothing to do.
    """

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    remedy: str = ""


def examine(address: Address) -> list[Finding]:
    """Look at the server, or at the node of each shard. What is wrong is in the findings; nothing is raised for it."""
    findings: list[Finding] = []
    for shard in range(address.shards):
        found = _examined(Link(address, shard))
        label = f" (shard {shard})" if address.shards > 1 else ""
        findings += [Finding(one.name + label, one.status, one.found, one.remedy) for one in found]
    return findings


def _examined(link: Link) -> list[Finding]:
    address = link.address
    channel = link.channel("doctor")
    link.checks.lenient = True  # what they would refuse is what we have come to see
    try:
        channel.ready()
        pings = _pings(channel)
        before = time.time()
        seconds, micros = (int(part) for part in channel.call("TIME"))
        ahead = seconds + micros / 1e6 - (before + time.time()) / 2
        facts = facts_of(channel.call("INFO"))
        cluster = facts_of(_optional(channel, "CLUSTER", "INFO")) if address.kind == "cluster" else {}
    except (UnavailableError, ExecutorError, exceptions.RedisError) as error:
        what, _, remedy = str(error).removeprefix(f"{address}: ").partition("; ")
        return [Finding("reachable", "fail", what, remedy)]
    finally:
        channel.close()
    findings = [Finding("reachable", "ok", str(address)), _latency(pings)]
    for part in (_product, _role, _memory, _policy, _persistence, _clients):
        findings += part(facts, address)
    findings += _cluster(cluster)
    findings.append(_clock(ahead))
    return findings


def _pings(channel: Channel) -> list[float]:
    took = []
    for _ in range(PINGS):
        before = time.perf_counter()
        channel.call("PING")
        took.append((time.perf_counter() - before) * 1000)
    return took


def _optional(channel: Channel, *command: str) -> bytes:
    """A command that the list of rights may leave out."""
    try:
        reply: bytes = channel.call(*command)
    except (ExecutorError, exceptions.ResponseError):
        return b""
    return reply


def _latency(pings: list[float]) -> Finding:
    median = statistics.median(pings)
    found = f"{median:.2f} ms a round trip (median of {len(pings)}; the longest {max(pings):.2f} ms)"
    if median > SLOW_MS:
        return Finding("latency", "warn", found, "each small job waits for two of them; bring worker and server nearer")
    return Finding("latency", "ok", found)


def _clock(ahead: float) -> Finding:
    if abs(ahead) < 0.001:
        return Finding("clock", "ok", "the server's clock agrees with this machine's to a millisecond")
    found = f"the server's clock is {abs(ahead):.3f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > CLOCK_SECONDS:
        return Finding("clock", "warn", found, "no decision rests on it, but logs will not match: set the clocks")
    return Finding("clock", "ok", found)


def _product(facts: Facts, address: Address) -> Iterator[Finding]:
    if version_of(facts) < (6, 2):
        yield Finding("version", "fail", product_of(facts), "use Redis 6.2 or newer, or Valkey")
    else:
        yield Finding("version", "ok", product_of(facts))


def _role(facts: Facts, address: Address) -> Iterator[Finding]:
    clustered = facts.get("cluster_enabled") == "1" or facts.get("redis_mode") == "cluster"
    if facts.get("role", "master") != "master":
        primary = f"{facts.get('master_host')}:{facts.get('master_port')}"
        yield Finding("role", "fail", f"a replica of {primary}", "name the primary, or its sentinels")
    elif clustered and address.kind != "cluster":
        yield Finding("role", "fail", "a node of a cluster", "write redis+cluster://")
    else:
        kind = "node of a cluster" if clustered else "primary"
        replicas = int(facts.get("connected_slaves", "0"))
        yield Finding("role", "ok", f"{kind} with {replicas} replica{'' if replicas == 1 else 's'}")


def _memory(facts: Facts, address: Address) -> Iterator[Finding]:
    used, limit = int(facts.get("used_memory", "0")), int(facts.get("maxmemory", "0"))
    found = _bytes(used) + (f" of {_bytes(limit)}" if limit else ", without a limit (maxmemory)")
    if limit and used > FULL_PART * limit:
        yield Finding("memory", "warn", found, "a full server takes no new runs: retire old ones or give it more")
    else:
        yield Finding("memory", "ok", found)
    ratio = float(facts.get("mem_fragmentation_ratio", "1") or 1)
    if ratio > FRAGMENTED and used > SMALL_BYTES:
        yield Finding("fragmentation", "warn", f"{ratio:.2f}", "set activedefrag yes, or restart it when it is idle")
    else:
        yield Finding("fragmentation", "ok", f"{ratio:.2f}")


def _policy(facts: Facts, address: Address) -> Iterator[Finding]:
    policy = facts.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        yield Finding("eviction", "ok", policy)
    else:
        status: Literal["warn", "fail"] = "warn" if address.allow_eviction else "fail"
        yield Finding("eviction", status, f"{policy}: runs may be deleted", "set maxmemory-policy noeviction")


def _persistence(facts: Facts, address: Address) -> Iterator[Finding]:
    losses = losses_of(facts)
    if facts.get("aof_last_write_status", "ok") != "ok" or facts.get("rdb_last_bgsave_status", "ok") != "ok":
        yield Finding("persistence", "fail", "the last write to the disk failed", "look at the disk, and at its log")
    elif losses:
        what, _, remedy = losses.partition("; ")
        yield Finding("persistence", "warn", what, remedy)
    else:
        yield Finding("persistence", "ok", "an append-only file; a crash of the machine may cost the last second")


def _clients(facts: Facts, address: Address) -> Iterator[Finding]:
    now, limit = int(facts.get("connected_clients", "0")), int(facts.get("maxclients", "0"))
    found = f"{now} connected" + (f" of {limit}" if limit else "")
    if limit and now > CLIENTS_PART * limit:
        yield Finding("clients", "warn", found, "raise maxclients; a worker process holds four connections")
    else:
        yield Finding("clients", "ok", found)


def _cluster(cluster: Facts) -> Iterator[Finding]:
    if not cluster:
        return
    state = cluster.get("cluster_state", "?")
    served = cluster.get("cluster_slots_ok", "?")
    nodes = cluster.get("cluster_known_nodes", "?")
    found = f"{state}: {nodes} nodes, {served} of 16384 slots served"
    if state == "ok":
        yield Finding("cluster", "ok", found)
    else:
        yield Finding("cluster", "fail", found, "see CLUSTER NODES; slots that nobody serves stop everything")


def _bytes(number: int) -> str:
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"
