"""The step for one job does to the columns what `complete` does, or leaves them alone."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from flows import _machine as machine
from flows._machine_one import complete_one
from flows._state import ACTIVE, Commands, RunState


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
    return [list(value) if isinstance(value := getattr(run, name), bytearray) else value for name in run.__slots__]


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
