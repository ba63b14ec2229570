"""What a server keeps once all is past its time: nothing but what is bounded, or has an end by itself."""

from __future__ import annotations

import re

from executors.redis._connection import Link
from executors.redis._keys import Keys
from executors.redis._shard import Shard
from executors.redis._url import parse
from tests.executors.redis.servers import Server

AGES = 10**17
"""Microseconds that all keys and runs are kept for at most."""

BOUNDED = {"meta", "limits", "queues", "workers", "served", "stops", "events", "ended"}
"""One a shard; the streams are trimmed."""

_META = re.compile(rb"\{(.+):(\d+)\}:meta")
_WAKE = re.compile(r"q:.*:wake")


def leaked(server: Server) -> list[str]:
    """Keys that nobody will ever clear away, in namespaces whose runs have all ended."""
    link = Link(parse(server.url))
    try:
        metas = [found for key in link.call("KEYS", "*:meta") if (found := _META.fullmatch(key))]
        return [key for found in metas for key in _leaked(link, Keys(found[1].decode(), int(found[2])))]
    finally:
        link.close()


def _leaked(link: Link, keys: Keys) -> list[str]:
    if link.call("ZDIFF", 2, keys.of("runs"), keys.of("retire")) or link.call("TYPE", keys.meta) != b"hash":
        return []
    shard = Shard(link, keys)
    link.call("HSET", keys.meta, "shift", AGES)
    while shard.retire():
        pass
    prefix = keys.of("")
    names = [key.decode("utf-8", "backslashreplace").removeprefix(prefix) for key in link.call("KEYS", prefix + "*")]
    suspicious = [name for name in names if name not in BOUNDED and not _WAKE.fullmatch(name)]
    return [name for name in suspicious if link.call("PTTL", prefix + name) == -1]
