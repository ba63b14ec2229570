"""Reopening: `retry` and `rerun` of a run that has ended.

What is to be done again is worked out here, by `flows._reopening` over the run's columns; they are staged under names
of their own, and one call puts them in the place of the old ones. A crash before that changes nothing, and of two who
do this at once one comes too late.
"""

from __future__ import annotations

import os
from typing import Any, Final

from executors.redis import _layout as layout
from executors.redis._columns import Columns, read_columns
from executors.redis._indexes import exhume, graves
from executors.redis._inputs import job_id
from executors.redis._keys import BUCKET, VALUES
from executors.redis._layout import (
    CODES,
    CONTROL,
    EXTRA,
    GATED,
    LIFO,
    LIST,
    OWN,
    PASSED,
    SPARSE,
    STAMPED,
    name_of,
    u32s,
)
from executors.redis._shard import LANES, Shard
from flows import _reopening
from flows._state import CANCELLED, COMPLETED, FAILED, Commands
from flows.errors import RunError, UnknownRunError

AGAIN: Final = -1.0
"""Stands where a job's first attempt began, until it has begun anew: there were others, before the run was reopened."""

_WORST: Final = {COMPLETED: 0, FAILED: 2, CANCELLED: 1}
_EMPTY: Final = (0, 0, 0, 0, -1, -1, 0, -1, 0, 0, 0.0, 0.0)
_QUEUE, _FLAGS, _PRIORITY, _EDGES_AT, _EDGES = 0, 2, 3, 5, 6
_STATE, _MARKS, _MADE, _ATTEMPT, _LOST, _PENDING, _ORDINAL, _LENGTH, _WORKER, _STARTED, _FINISHED = (
    *(9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20),
)


def reopen(shard: Shard, run_id: str, job: int | None, *, anew: bool) -> bool:
    """Have jobs of an ended run done again: what failed or was cancelled, or *job* and what follows.

    Returns:
        Whether there was anything to do.

    Raises:
        RunError: The run has not ended, or *job* has nothing to retry.
        UnknownRunError: It is past its retention.
    """
    columns = read_columns(shard, run_id)
    if columns is None:
        raise UnknownRunError(f"there is no run {run_id!r}")
    if not columns.ended:
        raise RunError(f"run {run_id} has not ended: wait for it, or cancel it first")
    jobs, gone = _chosen(shard, columns, job, anew)
    if not jobs:
        return False
    buried = not columns.own.isdisjoint(jobs)
    _file(shard, columns, jobs)
    out = Commands()
    gated = {one for one in jobs if columns.records[one][_FLAGS] & GATED}
    _reopening.reopen(columns.state, jobs, gated, out)
    stage = os.urandom(12).hex()
    parts, lanes = _staged(shard, stage, columns, jobs, gone, out)
    course = _course(columns, out, "late" in parts)
    said = shard.run(
        *("reopen", run_id, stage, columns.openings, " ".join(parts), " ".join(lanes), course),
        *(-1 if job is None else job, u32s(out.ended[:500]), columns.timeout),
    )
    if said == 1:
        while shard.sweep(run_id):
            pass
        if buried:
            exhume(shard, run_id, graves(shard, run_id), all_of_them=False)
        return True
    names = [shard.keys.staged(stage, part) for part in (*parts, *[f"j:{lane}" for lane in lanes])]
    for first in range(0, len(names), 200):
        shard.server.call("UNLINK", *names[first : first + 200])
    if said < 0:
        raise UnknownRunError(f"there is no run {run_id!r}")
    raise RunError(f"run {run_id} has not ended: somebody else has reopened it")


def _chosen(shard: Shard, columns: Columns, job: int | None, anew: bool) -> tuple[set[int], set[int]]:
    """The jobs to be done again, and those that are no part of the run any more."""
    state, own = columns.state, columns.own
    lists: set[int] = set()
    if job is None:
        jobs = _reopening.harmed_by(state, _reopening.failures(state, columns.roots, own), own)
    elif anew:
        jobs, lists = _reopening.downstream(state, job)
    elif state.state[job] == COMPLETED:
        name = job_id(shard, columns.run_id, job)
        raise RunError(f"job {name!r} has completed; run.rerun() does it and what follows again")
    else:
        jobs = _reopening.harmed_by(state, (job,), own)
    gone = {row for one in lists for row in columns.rows_of(one)}
    for one in lists:
        _reopening.forget_items(state, one)
    return jobs - gone, gone


def _file(shard: Shard, columns: Columns, jobs: set[int]) -> None:
    """File the last attempts of jobs with their earlier ones."""
    tried = [job for job in sorted(jobs) if columns.records[job][_FINISHED] and not columns.is_control(job)]
    told = dict.fromkeys(tried, b"")
    for bucket in sorted({job // VALUES for job in tried if job in columns.own}):
        here = [job for job in tried if job // VALUES == bucket and job in columns.own]
        for first in range(0, len(here), 500):
            part = here[first : first + 500]
            key = shard.keys.run(columns.run_id, f"v:{bucket}")
            found = shard.server.call("HMGET", key, *map(name_of, part))
            told |= {job: payload or b"" for job, payload in zip(part, found, strict=True)}
    fields: list[bytes] = []
    for job in tried:
        record, extra = columns.records[job], list(columns.extras.get(job, _EMPTY))
        head = columns.ATTEMPT.pack(
            *(record[_STATE], record[_ATTEMPT], record[_WORKER], record[_STARTED], record[_FINISHED])
        )
        fields += [name_of(job) + int(extra[9]).to_bytes(2, "little"), head + told[job]]
        extra[9] += 1
        columns.extras[job] = tuple(extra)
    for first in range(0, len(fields), 800):
        shard.run("keep", columns.run_id, *fields[first : first + 800])


def _staged(
    shard: Shard, stage: str, columns: Columns, jobs: set[int], gone: set[int], out: Commands
) -> tuple[list[str], list[str]]:
    """Put the new columns where nobody finds them yet; the names of the parts, and the lanes that have jobs."""
    extras = _extras(columns, jobs)
    records = _records(columns, jobs, gone, extras)
    parts: list[str] = []
    for number in sorted({job // BUCKET for job in records}):
        span = range(number * BUCKET, min((number + 1) * BUCKET, len(columns.records)))
        raw = b"".join([layout.RECORD.pack(*records.get(job, columns.records[job])) for job in span])
        parts.append(_put(shard, stage, f"c:{number}", raw))
    parts += [_put(shard, stage, f"e:{one}", bytes(columns.tails[one])) for one in sorted(columns.changed_tails)]
    if extras:
        shard.stage_many("HSET", stage, "x", [part for job, extra in extras.items() for part in (name_of(job), extra)])
        parts.append("x")
    for name, line in (("cascade", columns.state.cascade), ("grow", dict.fromkeys(out.grow))):
        if line:
            shard.stage_many("RPUSH", stage, name, [str(one) for one in line])
            parts.append(name)
    lanes: dict[str, list[int]] = {}
    for one in out.ready:
        record = columns.records[one]
        queue = CONTROL if record[_FLAGS] & (GATED | LIST) else record[_QUEUE]
        lane = lanes.setdefault(f"{queue}:{record[_PRIORITY]}", [])
        lane.insert(0, one) if record[_FLAGS] & LIFO else lane.append(one)
    laid = layout.with_few_lanes(layout.Layout([], [], lanes, [one for one, _ in out.delayed], {}), LANES)
    if laid.late:
        parts.append(_put(shard, stage, "late", u32s(laid.late)))
    for name, ready in laid.ready.items():
        shard.stage_many("RPUSH", stage, f"j:{name}", [name_of(one) for one in ready])
    return parts, list(laid.ready)


def _put(shard: Shard, stage: str, part: str, raw: bytes) -> str:
    shard.stage_many("SET", stage, part, [raw])
    return part


def _records(columns: Columns, jobs: set[int], gone: set[int], extras: dict[int, bytes]) -> dict[int, Any]:
    """The records that are not as they were."""
    state, changed = columns.state, {}
    for job, record in enumerate(columns.records):
        new = list(record)
        new[_STATE] = state.state[job] if columns.is_born(job) else record[_STATE]
        new[_PENDING], new[_ORDINAL] = state.pending[job], state.ordinal[job]
        if job in jobs:
            new[_MARKS] &= ~(OWN | PASSED | layout.REPLAYED)
            new[_MADE] = new[_LOST] = new[_ATTEMPT] = new[_LENGTH] = new[_WORKER] = 0
            new[_STARTED] = new[_FINISHED] = 0.0
        if job in gone:
            new[_FLAGS] &= ~STAMPED
            new[_STATE] = COMPLETED
        new[_MARKS] = (new[_MARKS] | SPARSE) if job in extras else new[_MARKS] & ~SPARSE
        if job in jobs and job in columns.joined:
            _join(columns, job, new)
        if new != list(record):
            changed[job] = new
    return changed


def _join(columns: Columns, job: int, new: list[Any]) -> None:
    """Edges into items that were stamped out after the job had been swept: they count again when it is swept again."""
    bucket = job // BUCKET
    tail, dependents = columns.tails.setdefault(bucket, bytearray()), columns.state.edges[job]
    codes = columns.state.effects.get(job) or [0] * len(dependents)
    new[_EDGES_AT], new[_EDGES] = len(tail), len(dependents)
    new[_FLAGS] |= CODES
    tail += u32s(dependents) + bytes(codes)
    columns.changed_tails.add(bucket)


def _extras(columns: Columns, jobs: set[int]) -> dict[int, bytes]:
    """The sparse columns as they are now."""
    state = columns.state
    columns_of = (state.dooms, state.skips, state.cancels, state.conts, state.cut, state.lists)
    known = {*columns.extras, *state.cause, *[job for column in columns_of for job in column]}
    found = {}
    for job in sorted(known):
        old = columns.extras.get(job, _EMPTY)
        counts = [state.dooms.get(job, 0), state.skips.get(job, 0), state.cancels.get(job, 0), state.conts.get(job, 0)]
        cause = state.cause.get(job, -1)
        ends = (AGAIN if old[9] else 0.0, 0.0) if job in jobs else old[10:]
        new = (
            *(*counts, cause, _first(columns, job), state.cut.get(job, 0)),
            *(state.lists.get(job, -1), state.begun.get(job, 0), old[9], *ends),
        )
        if new != _EMPTY:
            found[job] = EXTRA.pack(*new)
    return found


def _first(columns: Columns, job: int) -> int:
    """What went wrong by itself, above a job."""
    state, first = columns.state, columns.state.cause.get(job, -1)
    while first >= 0 and first not in columns.own and first in state.cause:
        first = state.cause[first]
    return first


def _course(columns: Columns, out: Commands, is_late: bool) -> bytes:
    state = columns.state
    ends = [state.state[root] for root in columns.roots]
    worst = max([_WORST.get(end, 0) for end in ends], default=0)
    course = list(columns.course)
    course[0], course[1], course[3] = state.open, state.turn, worst
    course[4] = 1 if state.cascade or out.grow else 0
    course[5] = course[6] = 0
    course[10], course[11], course[12] = -1, 0, -1
    course[13] = 0 if is_late else -1
    return layout.COURSE.pack(*course)
