"""The step for one job does to the columns what `complete` does, or leaves them alone."""

import copy
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import _machine as machine
from flows._machine_one import complete_one
from flows._state import ACTIVE, CANCELLED, COMPLETED, Commands, RunState


def begun(edges: list[list[int]], delayed: bool) -> RunState:
    pending = [0] * len(edges)
    for dependents in edges:
        for dependent in dependents:
            pending[dependent] += 1
    size = len(edges)
    run = RunState(
        size, bytearray(size), pending, [0] * size, edges, {}, {size - 1: 1.0} if delayed else {}, [1] * size
    )
    machine.begin(run, Commands())
    return run


def told(run: RunState) -> list[object]:
    return [copy.deepcopy(getattr(run, name)) for name in run.__slots__]


@given(st.data())
def test_one_job_after_another_is_as_with_the_whole_machine(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    edges = [
        data.draw(st.lists(st.integers(job + 1, size - 1), unique=True)) if job < size - 1 else []
        for job in range(size)
    ]
    run = begun(edges, data.draw(st.integers(0, 5)) == 0)
    waiting = [job for job in range(size) if not run.pending[job]]
    limit = data.draw(st.sampled_from([1, 2, 500]))
    while waiting:
        job = data.draw(st.sampled_from(waiting))
        waiting.remove(job)
        if not machine.grant(run, [job]):
            continue
        if data.draw(st.integers(0, 9)) == 0:
            machine.settle(run, job, data.draw(st.integers(5, 7)), Commands())
        other, before, out = copy.deepcopy(run), told(run), Commands()
        if run.state[job] == ACTIVE:
            ready = complete_one(run, job, limit)
            if ready is not None:
                assert not machine.complete(other, (job,), limit, out)
                assert (ready, [job], [], []) == (out.ready, out.ended, out.delayed, out.grow)
                assert told(run) == told(other)
                waiting += ready
                continue
            assert told(run) == before
            machine.complete(run, (job,), limit, out)
        while machine.sweep(run, limit, out):
            pass
        waiting += out.ready


def chain() -> RunState:
    run = begun([[1], [], []], delayed=False)
    machine.grant(run, [0])
    return run


AMISS: dict[str, Callable[[RunState], object]] = {
    "a cause": lambda run: run.cause.update({2: 0}),
    "a settle to sweep": lambda run: run.later.append(2),
    "a cascade": lambda run: run.cascade.append(2),
    "half swept": lambda run: setattr(run, "sweeping", 0),
    "a delay": lambda run: setattr(run, "delays", {2: 1.0}),
    "a condition": lambda run: run.gated.add(2),
    "a list": lambda run: run.lists.update({2: 1}),
}


@pytest.mark.parametrize("amiss", AMISS)
def test_where_anything_is_amiss_nothing_is_done(amiss: str) -> None:
    run = chain()
    AMISS[amiss](run)
    before = told(run)
    assert complete_one(run, 0, 500) is None
    assert told(run) == before


def test_as_many_edges_are_swept_as_a_call_may() -> None:
    assert complete_one(chain(), 0, 0) is None
    assert complete_one(chain(), 0, 1) == [1]


def test_of_a_cancelled_run_nothing_is_released() -> None:
    run = chain()
    machine.cancel(run, Commands())
    machine.sweep(run, 500, Commands())
    assert complete_one(run, 0, 500) == []
    assert list(run.state) == [COMPLETED, CANCELLED, CANCELLED]
