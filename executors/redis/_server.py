"""Is this server fit for runs? Asked of every new connection, from INFO alone: managed servers forbid CONFIG."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any, Final

from redis import exceptions

from executors.redis._url import Address
from flows._names import shown
from flows.errors import UnavailableError, UnsupportedError

if TYPE_CHECKING:
    from executors.redis._connection import Link

OLDEST: Final = (6, 2)
FORMAT: Final = 1
"""The version of what we write; the reader takes its own and the one before."""

OUR_FIELDS: Final = frozenset({b"format", b"shards", b"shift", b"mark", b"turn", b"limited"})
"""What stands in a namespace's record; the last four are of our scripts."""

_log = logging.getLogger("flows")

_STRANGERS: Final = {
    "dragonfly_version": "Dragonfly",
    "keydb_version": "KeyDB",
    "kvrocks_version": "Kvrocks",
    "garnet_version": "Garnet",
}


def facts_of(info: bytes | str) -> dict[str, str]:
    """The lines of INFO."""
    text = info.decode("utf-8", "replace") if isinstance(info, bytes) else info
    return {name: value.strip() for line in text.splitlines() for name, colon, value in [line.partition(":")] if colon}


def version_of(facts: dict[str, str]) -> tuple[int, ...]:
    """The version of Redis that the server is, or says that it is like; () where it says nothing."""
    found = re.match(r"\d+(\.\d+)*", facts.get("redis_version", ""))
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def product_of(facts: dict[str, str]) -> str:
    """What the server is, in words."""
    for name, product in _STRANGERS.items():
        if name in facts:
            return f"{product} {facts[name]}"
    name = facts.get("server_name", "redis")
    if "valkey_version" in facts:
        return f"Valkey {facts['valkey_version']}"
    return f"{name.capitalize()} {facts.get('redis_version', 'of unknown version')}"


def losses_of(facts: dict[str, str]) -> str | None:
    """What can be lost by a crash of the server, in words; None where a file is written for every second at least."""
    if facts.get("aof_enabled") == "1":
        return None
    return (
        "writes no append-only file: when its process or machine dies, the runs of the time since its last snapshot "
        "are lost, or all of them if it takes none; set `appendonly yes`"
    )


class Checks:
    """What is asked of each new connection to one address. What is only worth a warning is said once a process."""

    _warned: Final[set[tuple[str, str]]] = set()

    def __init__(self, address: Address) -> None:
        self._address = address
        self._was_fit = False
        self.lenient = False
        """Whether to let everything pass: for those who have come to see what is wrong."""

    def check(self, info: bytes) -> None:
        """Look at what a server says of itself.

        Raises:
            UnsupportedError: It is not fit, and will not be by waiting.
            UnavailableError: It will be, or another will be in its place: it still loads, or is a replica where there
                was a primary before.
        """
        if self.lenient:
            return
        facts = facts_of(info)
        if facts.get("loading") == "1":
            raise UnavailableError(
                f"{self._address}: it is starting and still reads its data from the disk; wait a little"
            )
        self._check_product(facts)
        self._check_role(facts)
        self._check_cluster(facts)
        self._check_memory(facts)
        losses = losses_of(facts)
        if losses:
            self._warn("persistence", f"the server {losses}")
        self._was_fit = True

    def _refuse(self, why: str) -> None:
        raise UnsupportedError(f"{self._address}: {why}")

    def _warn(self, about: str, text: str) -> None:
        if (str(self._address), about) in self._warned:
            return
        self._warned.add((str(self._address), about))
        _log.warning("%s: %s", self._address, text, extra={"about": about})

    def _check_product(self, facts: dict[str, str]) -> None:
        if self._address.allow_server:
            return
        remedy = "; ?allow_server=1 goes on all the same, at your risk"
        strange = next((name for name in _STRANGERS if name in facts), None)
        if strange is not None:
            self._refuse(f"the server is {product_of(facts)}, with which this library is not tested{remedy}")
        version = version_of(facts)
        if not version:
            self._refuse(f"the server does not say that it is a Redis or Valkey{remedy}")
        if version < OLDEST:
            self._refuse(
                f"the server is {product_of(facts)}; what we call needs Redis {OLDEST[0]}.{OLDEST[1]} or newer, or "
                f"Valkey{remedy}"
            )

    def _check_role(self, facts: dict[str, str]) -> None:
        if facts.get("role", "master") == "master":
            return
        primary = f"{facts.get('master_host', '?')}:{facts.get('master_port', '?')}"
        text = (
            f"{self._address}: the server is a replica of {primary} and takes no writes; name the primary, or its "
            "sentinels by redis+sentinel://"
        )
        if self._was_fit or self._address.kind in ("sentinel", "cluster"):
            raise UnavailableError(text)
        raise UnsupportedError(text)

    def _check_cluster(self, facts: dict[str, str]) -> None:
        clustered = facts.get("cluster_enabled") == "1" or facts.get("redis_mode") == "cluster"
        if clustered and self._address.kind != "cluster":
            self._refuse("the server is a node of a cluster; write redis+cluster:// so that the other nodes are found")
        if not clustered and self._address.kind == "cluster":
            self._refuse("the server is no node of a cluster; write redis:// or rediss://")

    def _check_memory(self, facts: dict[str, str]) -> None:
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy == "noeviction":
            return
        what = f"maxmemory-policy is {policy}: when memory runs out the server deletes keys, and runs with them"
        if not self._address.allow_eviction:
            self._refuse(f"{what}; set it to noeviction (?allow_eviction=1 goes on all the same)")
        self._warn("eviction", what)


def check_namespace(link: Link, shards: int, **calling: Any) -> None:
    """Look at the record of a namespace's format and number of shards, and write it where there is none.

    It is the hash ``{namespace:0}:meta``. Two that begin a namespace at once agree.

    Args:
        link: The way to shard 0.
        calling: Passed on to `Link.call`.

    Raises:
        UnsupportedError: Another version of this library, another number of shards or somebody else has it.
        UnavailableError: The server is away or full.
    """
    address = link.address
    key = f"{{{address.namespace}:0}}:meta"
    wanted = {"format": str(FORMAT), "shards": str(shards)}
    try:
        found = _read(link, key, calling)
        if None in found.values():
            fields = {bytes(field) for field in link.call("HKEYS", key, **calling)}
            if fields - OUR_FIELDS:
                raise UnsupportedError(_foreign(address, key))
            link.calls([("HSETNX", key, name, value) for name, value in wanted.items()], **calling)
            found = _read(link, key, calling)
    except exceptions.ResponseError as error:
        if "WRONGTYPE" in str(error):
            raise UnsupportedError(_foreign(address, key)) from None
        raise
    written = found["format"]
    if written is None or not written.isdecimal():
        raise UnsupportedError(_foreign(address, key))
    if int(written) not in (FORMAT, FORMAT - 1):
        newer = int(written) > FORMAT
        remedy = "update this library" if newer else "let workers of the old version finish, then use another namespace"
        raise UnsupportedError(
            f"{address}: namespace {address.namespace!r} was written in format {written}, and this version of flows "
            f"knows {FORMAT}; {remedy}"
        )
    if found["shards"] != wanted["shards"]:
        raise UnsupportedError(
            f"{address}: namespace {address.namespace!r} has {shown(found['shards'])} shards, not {shards}; the number "
            "is fixed when the namespace is first used: say ?shards= so, or use another namespace"
        )


def _read(link: Link, key: str, calling: dict[str, Any]) -> dict[str, str | None]:
    values = link.call("HMGET", key, "format", "shards", **calling)
    names = ("format", "shards")
    return {
        name: None if value is None else value.decode("utf-8", "replace")
        for name, value in zip(names, values, strict=True)
    }


def _foreign(address: Address, key: str) -> str:
    return (
        f"{address}: the key {key!r} was not written by this library; somebody else uses these names: choose another "
        "by ?namespace="
    )
