"""Indexes: sorted sets read page by page, however long they are; and the dead letters that one of them lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, Final

from executors.redis._layout import name_of
from executors.redis._scripts import Calls
from executors.redis._shard import Shard

AT_ONCE: Final = 200
Entry = tuple[float, bytes]
GRAVE: Final = Struct("<IH")
"""Of a run's dead letter: job, queue."""


def newest(server: Calls, key: str, after: Entry | None = None) -> Iterator[Entry]:
    """The entries of a sorted set as (score, member), highest first, those behind *after*."""
    highest: Any = "+inf" if after is None else after[0]
    skipped = 0
    while True:
        command = ("ZREVRANGEBYSCORE", key, highest, "-inf", "WITHSCORES", "LIMIT", skipped, AT_ONCE)
        found = server.call(*command)
        entries = [(float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)]
        yield from [entry for entry in entries if after is None or entry < after]
        if len(entries) < AT_ONCE:
            return
        last = entries[-1][0]
        same = sum(1 for entry in entries if entry[0] == last)
        skipped = skipped + AT_ONCE if last == highest else same
        highest = last


def oldest(server: Calls, key: str, most: int | None) -> Iterator[Entry]:
    """The entries of a sorted set as (score, member), lowest first, *most* at most; it must not change meanwhile."""
    first = 0
    while most is None or first < most:
        last = first + AT_ONCE - 1 if most is None else min(first + AT_ONCE, most) - 1
        found = server.call("ZRANGE", key, first, last, "WITHSCORES")
        yield from [(float(score), member) for member, score in zip(found[::2], found[1::2], strict=True)]
        if len(found) < 2 * (last - first + 1):
            return
        first = last + 1


def graves(shard: Shard, run_id: str) -> list[bytes]:
    """The dead letters of a run, as `exhume` takes them."""
    found: dict[bytes, None] = {}
    cursor = b"0"
    while True:
        cursor, some = shard.server.call("SSCAN", shard.keys.run(run_id, "f"), cursor, "COUNT", 500)
        found |= dict.fromkeys(some)
        if cursor == b"0":
            return list(found)


def exhume(shard: Shard, run_id: str, named: Iterable[bytes], *, all_of_them: bool) -> int:
    """Take dead letters off the lists: all that are named, or only those that are none any more.

    Returns:
        How many were listed.
    """
    line = list(named)
    return sum(
        shard.run("exhume", run_id, b"".join(line[first : first + AT_ONCE]), int(all_of_them))
        for first in range(0, len(line), AT_ONCE)
    )


def parts_of(member: bytes) -> tuple[str, int]:
    """The run and the job that an entry stands for."""
    return member[:-5].decode(), int.from_bytes(member[-4:], "little")


def is_of(grave: bytes, jobs: frozenset[bytes]) -> bool:
    """Whether it is one of *jobs*, which are named as `name_of` does."""
    return grave[:4] in jobs


def names_of(jobs: Iterable[int]) -> frozenset[bytes]:
    """Jobs as scripts name them."""
    return frozenset(map(name_of, jobs))
