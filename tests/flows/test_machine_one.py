"""The step for one job does to the columns what the whole machine does."""

import copy
from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from flows import _machine as machine
from flows._machine_one import advance, set_out, take_up
from flows._state import Commands, RunState


def fresh(edges: list[list[int]]) -> RunState:
    pending = [0] * len(edges)
    for dependents in edges:
        for dependent in dependents:
            pending[dependent] += 1
    size = len(edges)
    return RunState(size, bytearray(size), pending, [0] * size, edges, {}, {}, [1] * size)


def told(run: RunState) -> list[object]:
    return [copy.deepcopy(getattr(run, name)) for name in run.__slots__]


@given(st.data())
def test_one_job_after_another_is_as_with_the_whole_machine(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 7))
    edges = [
        data.draw(st.lists(st.integers(job + 1, size - 1), unique=True)) if job < size - 1 else []
        for job in range(size)
    ]
    run, other, out = fresh(edges), fresh(edges), Commands()
    machine.begin(other, out)
    set_out(run, out.ready)
    assert told(run) == told(other)
    line, others = deque(out.ready), deque(out.ready)
    workers = data.draw(st.integers(1, 2))  # two callers may share a run, each with one job at a time
    active = [take_up(run, line) for _ in range(min(workers, len(line)))]
    assert active == machine.grant(other, [others.popleft() for _ in range(min(workers, len(others)))])
    while active:
        job = active.pop(data.draw(st.integers(0, len(active) - 1)))
        out = Commands()
        assert not machine.complete(other, (job,), 500, out)
        others.extend(out.ready)
        granted = machine.grant(other, [others.popleft()] if others else [])
        follower = advance(run, job, line)
        assert ([follower] if follower >= 0 else []) == granted
        assert (told(run), line) == (told(other), others)
        active += granted
    assert run.open == len(line) == 0
    assert take_up(run, line) == -1


def test_the_line_is_served_in_its_order_and_what_is_released_joins_its_end() -> None:
    run = fresh([[2, 3], [], [], []])
    line = deque([0, 1])
    set_out(run, line)
    machine.grant(run, [line.popleft()])
    assert [advance(run, 0, line), list(line)] == [1, [2, 3]]
    assert [advance(run, 1, line), advance(run, 2, line), advance(run, 3, line)] == [2, 3, -1]
