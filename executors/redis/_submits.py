"""Runs as they are submitted: what is stored of one that begins, and the calls that accept small ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

from executors.redis import _layout as layout
from executors.redis._alike import AlikeRun, arguments, holders

AT_ONCE: Final = 500
"""Jobs that are submitted in one step; what has more is staged first."""

STAGED_BYTES: Final = 1 << 20


class NewRun(NamedTuple):
    """A run as a shard takes it.

    Attributes:
        fields: Of its hash: ``header``, ``name``, ``queues`` ... ; the shard adds those of its own.
        timeout: Microseconds to its deadline; 0 where it has none.
        limits: Of its queues, as `stated` writes them.
    """

    run_id: str
    key: str
    fingerprint: str
    fields: Mapping[str, str | bytes | int]
    rows: Sequence[bytes]
    laid_out: layout.Layout
    timeout: int
    limits: str = ""


class Holder(NamedTuple):
    """Who has a run's key."""

    run_id: str
    fingerprint: str


def is_small(run: NewRun) -> bool:
    return len(run.rows) <= AT_ONCE and sum(map(len, run.rows)) <= STAGED_BYTES


def at_once(run: NewRun) -> tuple[Any, ...]:
    """The name of the script that accepts a small run, and its arguments."""
    laid = run.laid_out
    (bucket,) = laid.buckets
    fields = fields_of(run)
    counts = " ".join(f"{lane}:{len(laid.ready.get(lane, ()))}" for lane in laid.lanes)
    ready = b"".join(layout.u32s(laid.ready[lane]) for lane in laid.lanes if lane in laid.ready)
    stored = bucket.records, bucket.edges, layout.pack_rows(run.rows)
    about: tuple[Any, ...]
    if laid.late or run.limits or run.timeout:
        about = ("put_run", run.run_id, run.key, run.fingerprint, run.timeout, run.limits, counts)
        about += (ready, layout.u32s(laid.late), *stored)
    else:
        about = ("put_plain", run.run_id, run.key, run.fingerprint, counts)
        about += (ready, *stored, run.fields["queues"])
    return (
        *(*about, len(fields), len(laid.delays)),
        *fields,
        *delays_of(laid),
        *[part for row in layout.long_rows(run.rows).items() for part in row],
    )


def common_of(run: NewRun, key_ttl: int) -> list[Any] | None:
    """What ``put_alike`` takes of a run for all of its form; None where there is more about it than that takes."""
    laid = run.laid_out
    is_odd = laid.late or laid.delays or run.limits or run.timeout or layout.long_rows(run.rows)
    if is_odd or not is_small(run) or any(name.startswith("body:") for name in run.fields):
        return None
    lanes = " ".join(f"{lane}:{len(jobs)}" for lane, jobs in laid.ready.items())
    ready = b"".join(layout.u32s(jobs) for jobs in laid.ready.values())
    own = ("header", "key", "key_ttl")
    fields = fields_of(run._replace(fields={name: value for name, value in run.fields.items() if name not in own}))
    return [run.fields["queues"], lanes, ready, laid.buckets[0].edges, key_ttl, len(fields), *fields]


def together(runs: Sequence[NewRun | AlikeRun]) -> tuple[Any, ...]:
    """The name of the script that accepts small runs, and its arguments."""
    first = runs[0]
    return at_once(first) if isinstance(first, NewRun) else ("put_alike", *arguments(cast("list[AlikeRun]", runs)))


def answered(runs: Sequence[NewRun | AlikeRun], reply: Any) -> list[Holder]:
    """Who has the key of each of these runs now."""
    first = runs[0]
    if isinstance(first, NewRun):
        held, fingerprint = reply
        return [Holder(held.decode(), fingerprint.decode() or first.fingerprint)]
    return holders(cast("list[AlikeRun]", runs), reply, Holder)


def delays_of(laid: layout.Layout) -> list[Any]:
    return [part for job, delay in laid.delays.items() for part in (layout.name_of(job), delay)]


def _lanes(laid: layout.Layout) -> str:
    return " ".join(laid.lanes)


def fields_of(run: NewRun) -> list[Any]:
    size = len(run.rows)
    late = 0 if run.laid_out.late and not is_small(run) else -1
    flags = (int(run.timeout > 0), int("fast" in run.fields))
    course = layout.COURSE.pack(size, 0, size, 0, 0, 0, 0, *flags, 0, -1, 0, -1, late, size, 0)
    fields = {**run.fields, "course": course, "lanes": _lanes(run.laid_out)}
    return [part for item in fields.items() for part in item]


def row_commands(key: str, rows: Mapping[bytes, bytes]) -> list[tuple[Any, ...]]:
    """Rows in as few commands as their size allows."""
    commands: list[tuple[Any, ...]] = []
    part: list[Any] = []
    size = 0
    for name, row in rows.items():
        part += (name, row)
        size += len(row)
        if size > STAGED_BYTES:
            commands.append(("HSET", key, *part))
            part, size = [], 0
    if part:
        commands.append(("HSET", key, *part))
    return commands
