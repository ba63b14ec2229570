"""Servers in groups: a cluster of three primaries and three replicas, and a primary with a replica and sentinels."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Callable, Iterator

from tests.executors.redis.servers import USUAL, Server, free_port

READY_SECONDS = 30.0
SLOTS = 16_384


def until(holds: Callable[[], bool], what: str, seconds: float = READY_SECONDS) -> None:
    """Wait for a state that servers reach by themselves and tell nobody of."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        pause.wait(0.01)


class Cluster:
    """Three primaries, the first three of `nodes`, and a replica of each."""

    def __init__(self, kind: str = USUAL, replicas: bool = True) -> None:
        self.nodes: list[Server] = []
        try:
            for _ in range(6 if replicas else 3):
                self.nodes.append(_cluster_node(kind))
            self._meet()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """Two of its nodes, as an executor takes them."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def _meet(self) -> None:
        first, names = self.nodes[0], []
        for number, node in enumerate(self.nodes):
            names.append(node.ask("CLUSTER", "MYID").decode())
            node.ask("CONFIG", "SET", "cluster-announce-ip", "127.0.0.1")
            if number < 3:
                low, high = SLOTS * number // 3, SLOTS * (number + 1) // 3
                node.ask("CLUSTER", "ADDSLOTS", *range(low, high))
        for node in self.nodes[1:]:
            first.ask("CLUSTER", "MEET", "127.0.0.1", node.port)
        count = str(len(self.nodes))
        until(lambda: all(self._state(node, "cluster_known_nodes") == count for node in self.nodes), "all have met")
        for number, node in enumerate(self.nodes[3:]):
            knows = functools.partial(_knows, node, names[number])
            until(knows, "it knows its primary")
            node.ask("CLUSTER", "REPLICATE", names[number])
        until(lambda: all(self._state(node, "cluster_state") == "ok" for node in self.nodes), "the cluster is up")
        until(lambda: all(_follows(node) for node in self.nodes[3:]), "the replicas follow")

    def _state(self, node: Server, name: str) -> str:
        text = node.ask("CLUSTER", "INFO").decode()
        return str(dict(line.split(":", 1) for line in text.splitlines() if ":" in line)[name])

    def holder_of(self, slot: int) -> Server:
        """The primary of a slot, as the first node that lives sees it."""
        return self.holder_for(next(node for node in self.nodes if node.pid), slot)

    def holder_for(self, node: Server, slot: int) -> Server:
        """The primary of a slot, as *node* sees it."""
        for low, high, primary, *_ in node.ask("CLUSTER", "SLOTS"):
            if low <= slot <= high:
                return next(one for one in self.nodes if one.port == primary[1])
        raise AssertionError(f"nobody serves slot {slot}")

    def flush(self) -> None:
        """Empty it."""
        for node in self.nodes:
            if node.info()["role"] == "master":
                node.ask("FLUSHALL")

    def stop(self) -> None:
        """End all nodes."""
        for node in self.nodes:
            node.stop()


def _cluster_node(kind: str) -> Server:
    """A port can be somebody else's by the time that it is used, as can the one of the bus, 10,000 above."""
    for attempt in range(20):
        port = free_port()
        if port > 55_000:
            continue
        try:
            return Server(
                kind,
                port=port,
                cluster_enabled="yes",
                cluster_config_file="nodes.conf",
                cluster_node_timeout=1000,
                cluster_replica_validity_factor=0,
            )
        except RuntimeError:
            if attempt > 15:
                raise
    raise AssertionError("no free port below 55,000")


def _knows(node: Server, name: str) -> bool:
    return name.encode() in node.ask("CLUSTER", "NODES")


def _follows(node: Server) -> bool:
    return node.info().get("master_link_status") == "up"


class Sentinels:
    """A primary, a replica of it, and three sentinels that know it as ``mymaster``."""

    def __init__(self, kind: str = USUAL) -> None:
        self.servers: list[Server] = []
        self.sentinels: list[Server] = []
        try:
            self.servers.append(_on_port(kind))
            primary = self.servers[0]
            self.servers.append(_on_port(kind, replicaof=f"127.0.0.1 {primary.port}"))
            until(lambda: _follows(self.servers[1]), "the replica follows")
            monitor = (
                f"sentinel monitor mymaster 127.0.0.1 {primary.port} 2\n"
                "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000"
            )
            self.sentinels += [_on_port(kind, sentinel=monitor) for _ in range(3)]
            until(lambda: all(self._knows(one) for one in self.sentinels), "the sentinels know each other")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """The sentinels, as an executor takes them."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/mymaster"

    def _knows(self, sentinel: Server) -> bool:
        reply = sentinel.ask("SENTINEL", "MASTER", "mymaster")
        known = dict(zip(reply[::2], reply[1::2], strict=True))
        return bool(known[b"num-other-sentinels"] == b"2" and known[b"num-slaves"] == b"1")

    def stop(self) -> None:
        """End them all."""
        for one in [*self.sentinels, *self.servers]:
            one.stop()


def _on_port(kind: str, **options: object) -> Server:
    for attempt in range(10):
        try:
            return Server(kind, port=free_port(), **options)  # type: ignore[arg-type]
        except RuntimeError:
            if attempt == 9:
                raise
    raise AssertionError


@contextlib.contextmanager
def cluster(kind: str = USUAL, replicas: bool = True) -> Iterator[Cluster]:
    """A cluster for a while; it takes two seconds to come up, three with replicas."""
    one = Cluster(kind, replicas)
    try:
        yield one
    finally:
        one.stop()


@contextlib.contextmanager
def sentinels(kind: str = USUAL) -> Iterator[Sentinels]:
    """A primary under sentinels; they take some seconds to find each other."""
    one = Sentinels(kind)
    try:
        yield one
    finally:
        one.stop()
