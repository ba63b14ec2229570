"""How jobs have ended, as those that take their results are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from executors._stored import Input, gathered
from executors.sqlite._run import OpenRun
from flows._state import COMPLETED

Payloads = Callable[[Iterable[int]], Mapping[int, bytes | None]]
"""Fetches what stands in the results of jobs."""

Row = Callable[[int], bytes]
"""Fetches what was submitted of a job of the flow itself."""


def ends_of(run: OpenRun, jobs: list[int], fetch: Payloads, row: Row) -> dict[int, Input]:
    """How *jobs* have ended: values, failures of their own, or those of their first causes."""
    states, sparse = run.state.state, run.columns.sparse
    if not sparse["cause"].ever and not sparse["lists"].ever:
        known, new = fetch(jobs), tuple.__new__
        return {job: new(Input, (job, states[job], known.get(job), None)) for job in jobs}
    lists = {job for job in jobs if states[job] == COMPLETED and job in sparse["lists"]}
    firsts = {job: first_cause(run, job) for job in jobs if states[job] > COMPLETED}
    payloads = fetch(dict.fromkeys([*(job for job in jobs if job not in lists), *firsts.values()]))
    ends: dict[int, Input] = {}
    for job in jobs:
        first = firsts.get(job, job)
        if job in lists:
            ends[job] = Input(job, COMPLETED, list_value(run, job, fetch, row))
        elif states[job] < COMPLETED:
            ends[job] = Input(job, states[job], None)
        else:
            ends[job] = Input(job, states[job], payloads.get(first), None if first == job else states[first])
    return ends


def first_cause(run: OpenRun, job: int) -> int:
    """Down the chain of causes to the job that went wrong by itself."""
    erred, cause = run.columns.sparse["erred"], run.state.cause
    seen = {job}
    while job not in erred and job in cause and cause[job] not in seen:
        job = cause[job]
        seen.add(job)
    return job


def list_value(run: OpenRun, job: int, fetch: Payloads, row: Row) -> bytes:
    """The value of a list that has completed: the results of its items, in their order."""
    layout = run.known.layout
    body, length = layout.body(job), run.state.lists[job]
    roots = [
        layout.row_of_item(block, index) + body.root
        for block in layout.blocks_of(job)
        for index in range(block.start, min(block.start + block.items, length))
    ]
    ends = ends_of(run, roots, fetch, row)
    return gathered(
        [ends[root] for root in roots],
        drops=body.drops,
        id_of=lambda one: run.known.id_of(one, row),
        reason=run.reason,
    )
