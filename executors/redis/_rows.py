"""Reading rows, as `executors.redis._layout.pack_rows` has packed them; ``lua/records.lua`` reads the same."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from struct import Struct
from typing import Any, Final

from executors.redis._keys import BUCKET
from executors.redis._layout import name_of
from executors.redis._shard import Shard

_SPOT: Final = Struct("<II")


def read_rows(shard: Shard, run_id: str, jobs: Sequence[int]) -> list[bytes | None]:
    """The rows of some jobs of the flow itself, not of items; None where the run is gone."""
    keys = [shard.keys.run(run_id, f"w:{job // BUCKET}") for job in jobs]
    asked: list[tuple[Any, ...]] = [
        ("GETRANGE", key, job % BUCKET * 4, job % BUCKET * 4 + 7) for key, job in zip(keys, jobs, strict=True)
    ]
    spots = [_SPOT.unpack(raw) if len(raw) == _SPOT.size else (1, 0) for raw in _all(shard, asked)]
    asked = [
        ("GETRANGE", key, first, end - 1) if first < end else ("HGET", shard.keys.run(run_id, "b"), name_of(job))
        for key, job, (first, end) in zip(keys, jobs, spots, strict=True)
    ]
    return list(_all(shard, asked))


def read_all_rows(shard: Shard, run_id: str, size: int) -> list[bytes | None]:
    """The rows of a run's jobs, from the first on."""
    found: list[bytes | None] = []
    for number in range((size + BUCKET - 1) // BUCKET):
        count = min(BUCKET, size - number * BUCKET)
        raw = shard.server.call("GET", shard.keys.run(run_id, f"w:{number}"))
        if raw is None:
            found += [None] * count
            continue
        begins = Struct(f"<{count + 1}I").unpack_from(raw)
        here = [raw[first:end] for first, end in pairwise(begins)]
        apart = [number * BUCKET + place for place, row in enumerate(here) if not row]
        for job, row in zip(apart, read_rows(shard, run_id, apart), strict=True):
            here[job % BUCKET] = row
        found += here
    return found


def _all(shard: Shard, asked: Sequence[Sequence[Any]]) -> list[Any]:
    answers = shard.server.calls(asked) if asked else []
    for answered in answers:
        if isinstance(answered, Exception):
            raise answered
    return answers
