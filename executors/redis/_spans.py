"""Spans across workers: the id of each attempt's span, kept with a traced run for those who link to it.

Eight bytes a job in one string of the run, by row; of runs that nobody traces there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, cast

from executors.redis._inputs import Inputs, children_of, read_records
from executors.redis._layout import LIST
from executors.redis._lists import knowns_of, moulds_of
from executors.redis._shard import Shard
from flows._semconv import LINK_LIMIT
from flows._state import COMPLETED
from flows._verbs import Grant, Settle

if TYPE_CHECKING:
    from executors._stored import Brief
    from flows._carried_trace import CarriedTrace

SPAN: Final = 8
"""Bytes of a span's id."""

_ENDED: Final = Struct("<Id8s")
_FLAGS, _STATE = 2, 9


def tell_spans(shard: Shard, settles: Sequence[Settle]) -> None:
    """Take down the spans of attempts that are about to be settled."""
    ended: dict[str, list[bytes]] = {}
    for settle in settles:
        grant = settle.grant
        tracing = cast("CarriedTrace | None", grant.run.tracing)
        span = None if tracing is None else tracing.span_of(grant)
        if span is not None:
            ended.setdefault(grant.run.id, []).append(_ENDED.pack(grant.job, grant.fence, span))
    for run_id, packed in ended.items():
        shard.run("spans", run_id, b"".join(packed))


def told_spans(shard: Shard, grant: Grant) -> tuple[bytes | None, list[bytes], int]:
    """What a job's attempt is linked to.

    Returns:
        The span of the attempt before; those whose results it takes, as many as a span may be linked to; how many
        results these are.
    """
    made = cast("Brief", grant.run)
    rows, count = _sources(shard, made)
    before, *taken = _spans(shard, made.id, [grant.job, *rows])
    return before, [span for span in taken if span is not None], count


def _sources(shard: Shard, made: Brief) -> tuple[list[int], int]:
    """The jobs whose results a job takes, with those of a list's items for the list; and how many there are."""
    states = {end.child: end.state for end in made.inputs}
    children = [child for child in made.plan.inputs[made.job] if states.get(child) == COMPLETED]
    if made.place:  # it takes an item of the list, and so a part of what the list was made of
        children = [*_ended(shard, made.id, children_of(shard, made.id, made.place[-1].list_job)), *children]
    elif not isinstance(made.inputs, Inputs):  # what comes along with a grant is of no list
        return children[:LINK_LIMIT], len(children)
    return _attempts(shard, made.id, children)


def _ended(shard: Shard, run_id: str, jobs: Sequence[int]) -> list[int]:
    records, _ = read_records(shard, run_id, jobs)
    return [job for job, record in zip(jobs, records, strict=True) if record[_STATE] == COMPLETED]


def _attempts(shard: Shard, run_id: str, jobs: Sequence[int]) -> tuple[list[int], int]:
    """Jobs, and for each list, which has no attempt itself, those of its first items."""
    found: list[int] = []
    left_out = 0
    line = list(jobs)
    while line:
        left_out += max(0, len(line) - LINK_LIMIT)
        line = line[:LINK_LIMIT]
        records, _ = read_records(shard, run_id, line)
        is_list = {job: bool(record[_FLAGS] & LIST) for job, record in zip(line, records, strict=True)}
        found += [job for job in line if not is_list[job]]
        knowns = knowns_of(shard, run_id, [job for job in line if is_list[job]])
        moulds = moulds_of(shard, run_id, [known.body for known in knowns.values()])
        line = []
        for known in knowns.values():
            mould, items = moulds[known.body], sum(count for _, count in known.segments)
            line += [known.base_of(place, mould.size) + mould.root for place in range(items)]
    return found[:LINK_LIMIT], len(found) + left_out


def _spans(shard: Shard, run_id: str, jobs: Sequence[int]) -> list[bytes | None]:
    """The spans of jobs; None where there is none."""
    key = shard.keys.run(run_id, "t")
    stretches = [[job for _, job in group] for _, group in groupby(enumerate(jobs), lambda one: one[1] - one[0])]
    asked = [("GETRANGE", key, jobs[0] * SPAN, (jobs[-1] + 1) * SPAN - 1) for jobs in stretches]
    return [
        span if span.strip(b"\0") else None
        for part, raw in zip(stretches, shard.server.calls(asked), strict=True)
        for span in _cut(raw, len(part))
    ]


def _cut(raw: Any, count: int) -> Iterator[bytes]:
    if isinstance(raw, Exception):
        raise raw
    whole = raw.ljust(count * SPAN, b"\0")
    return (whole[at : at + SPAN] for at in range(0, count * SPAN, SPAN))
