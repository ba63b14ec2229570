"""Limits of queues, as they are published."""

from __future__ import annotations

from collections.abc import Mapping

from executors.redis._shard import Shard

Limited = Mapping[str, tuple[int | None, tuple[int, float] | None]]
"""By queue: concurrency, rate as starts in seconds."""


def limits_of(shard: Shard) -> dict[str, tuple[bool, int | None, tuple[int, float] | None]]:
    """What is published of queues: paused, concurrency, rate."""
    fields = shard.server.call("HGETALL", shard.keys.of("limits"))
    found = {}
    for name, stated in zip(fields[::2], fields[1::2], strict=True):
        paused, concurrency, starts, period = map(int, stated.split())
        rate = (starts, period / 1_000_000) if starts else None
        found[name.decode()] = bool(paused), concurrency or None, rate
    return found
