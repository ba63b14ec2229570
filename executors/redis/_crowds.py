"""Crowds: of a flow's ended runs the newest are kept, over all shards of a namespace.

Each shard keeps as many as were asked for by itself, when a run ends. What is too many together is found by whoever
looks: a worker that has settled jobs of such a run, and a client that asks for one. The newest are never touched, so
that it does not matter who looks, or how often.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from executors._stored import Brief
from executors.redis._shard import Shard
from flows._verbs import Grant

AT_ONCE: Final = 100
"""Runs that one look retires at most."""


class Crowds:
    """The flows of which a worker has seen runs that are kept by their count."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = shards
        self._seen: dict[str, int] = {}

    def note(self, grant: Grant) -> None:
        """A job of a run is settled."""
        run = grant.run
        if isinstance(run, Brief) and run.header.options.keep_count is not None:
            self._seen[run.header.name] = run.header.options.keep_count

    def thin_out(self) -> None:
        """Look after all that have been noted; of which some may be left, once more the next time."""
        for name in list(self._seen):
            keep, left = self._seen.pop(name), True
            try:
                left = thin_out(self._shards, name, keep)
            finally:
                if left:  # unless who has settled others meanwhile has said so already
                    self._seen.setdefault(name, keep)


def thin_out(shards: Sequence[Shard], name: str, keep: int) -> bool:
    """Have the oldest ended runs of a flow forgotten, but for the newest *keep*; whether some of them are left."""
    counts: list[int] = [shard.server.call("ZCARD", shard.keys.of(f"n:{name}")) for shard in shards]
    surplus = sum(counts) - keep
    if surplus <= 0:
        return False
    most = min(surplus, AT_ONCE)
    oldest: list[tuple[float, int, bytes]] = []
    for number, shard in enumerate(shards):
        found = shard.server.call("ZRANGE", shard.keys.of(f"n:{name}"), 0, most - 1, "WITHSCORES")
        oldest += [(float(ended), number, run) for run, ended in zip(found[::2], found[1::2], strict=True)]
    goes: dict[int, list[bytes]] = {}
    for _, number, run in sorted(oldest)[:most]:
        goes.setdefault(number, []).append(run)
    for number, runs in goes.items():
        _retire(shards[number], name, runs)
    return surplus > most


def is_crowded_out(shards: Sequence[Shard], shard: Shard, run_id: str, name: str, keep: int) -> bool:
    """Whether a run of a shard has ended before so many others of its flow; then it is retired."""
    ended = shard.server.call("ZSCORE", shard.keys.of(f"n:{name}"), run_id)
    if ended is None:
        return False
    newer = sum(one.server.call("ZCOUNT", one.keys.of(f"n:{name}"), b"(" + ended, "+inf") for one in shards)
    if newer < keep:
        return False
    _retire(shard, name, [run_id.encode()])
    return True


def _retire(shard: Shard, name: str, runs: Sequence[bytes]) -> None:
    """Their time is over; only of those that are ended still."""
    seconds, micros = shard.server.call("TIME")
    shift = int(shard.server.call("HGET", shard.keys.meta, "shift") or 0)
    over = int(seconds) * 1_000_000 + int(micros) + shift - 1_000_000  # by any clock
    shard.server.call("ZADD", shard.keys.of("retire"), "XX", "LT", *[part for run in runs for part in (over, run)])
    shard.server.call("ZREM", shard.keys.of(f"n:{name}"), *runs)
