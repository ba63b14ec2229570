"""The machine on lists, their items, and jobs with a condition; in what order cascades go."""

from typing import Any

import pytest

from flows import _machine as machine
from flows._state import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    CONTINUE,
    DELAYED,
    FAIL,
    FAILED,
    SKIP,
    SKIPPED,
    WAITING,
    WAITING_CHILDREN,
    Commands,
    RunState,
)

ALL = 10**9


def rows(*states: int, edges: list[list[int]] | None = None, delays: dict[int, float] | None = None) -> Any:
    """Jobs in these states, each with the edges that lead from it."""
    size = len(states)
    laid = edges or [[] for _ in states]
    pending = [sum(dependents.count(job) for dependents in laid) for job in range(size)]
    return RunState(size, bytearray(states), pending, [0] * size, laid, {}, delays or {}, [1] * size)


def told(out: Commands) -> dict[str, list[object]]:
    return {name: list(said) for name in out.__slots__ if (said := getattr(out, name))}


# Conditions


def test_a_job_with_a_condition_is_waiting_for_it_first_and_has_its_delay_after() -> None:
    run, out = rows(WAITING_CHILDREN, delays={0: 5.0}), Commands()
    run.gated.add(0)
    machine.begin(run, out)
    assert told(out) == {"ready": [0]}
    assert machine.grant(run, [0]) == [0]
    after = Commands()
    machine.admit(run, 0, after)
    assert (run.state[0], told(after), run.gated) == (DELAYED, {"delayed": [(0, 5.0)]}, set())


def test_of_a_cancelled_run_no_job_is_admitted_and_no_list_expanded() -> None:
    run, out = rows(ACTIVE, ACTIVE), Commands()
    run.gated.add(0)
    machine.cancel(run, Commands())
    machine.admit(run, 0, out)
    machine.expand(run, 1, 3, out)
    assert (list(run.state), told(out), run.open) == ([CANCELLED, CANCELLED], {"ended": [0, 1]}, 0)
    assert not run.lists


def test_only_what_would_just_be_released_is_handed_on() -> None:
    def follower(state: int = WAITING_CHILDREN, **columns: Any) -> int:
        run = rows(ACTIVE, state, WAITING_CHILDREN, edges=[[1], [], []])
        for name, value in columns.items():
            setattr(run, name, value)
        return machine.follower(run, 0)

    assert follower() == 1
    assert follower(COMPLETED) == -1, "a retry of what it could do without"
    for columns in ({"cancelling": True}, {"lists": {2: 1}}, {"gated": {1}}, {"delays": {1: 1.0}}):
        assert follower(**columns) == -1
    assert follower(gated={2}, delays={2: 1.0}) == 1, "conditions and delays of others are no matter"


# Lists


def test_a_list_waits_for_its_items_and_one_of_none_has_ended() -> None:
    run, out = rows(ACTIVE, ACTIVE), Commands()
    machine.expand(run, 0, 3, out)
    machine.expand(run, 1, 0, out)
    assert list(run.state) == [WAITING_CHILDREN, COMPLETED]
    assert told(out) == {"grow": [0], "ended": [1]}
    assert (run.lists, run.begun, run.pending) == ({0: 3, 1: 0}, {0: 0, 1: 0}, [3, 0])


def test_room_is_what_the_limit_leaves_beside_the_items_that_are_open() -> None:
    run = rows(WAITING_CHILDREN)
    run.lists[0], run.begun[0], run.pending[0] = 10, 4, 8  # of 4 that have begun 2 are open
    assert [machine.room(run, 0, limit) for limit in (None, 100, 8, 7, 3, 2)] == [6, 6, 6, 5, 1, 0]
    run.state[0] = FAILED
    assert [machine.room(run, 0, limit) for limit in (None, 100)] == [0, 0], "what has not begun never will"


@pytest.mark.parametrize("at_once", [True, False])
def test_a_list_may_grow_when_an_item_has_ended_and_ends_with_the_last(at_once: bool) -> None:
    run = rows(WAITING_CHILDREN, ACTIVE, ACTIVE, WAITING_CHILDREN, edges=[[3], [0], [0, 3], []])
    run.lists[0], run.begun[0], run.pending[0] = 3, 2, 3

    def complete(job: int) -> Commands:
        out = Commands()
        if at_once:
            assert not machine.complete(run, (job,), ALL, out)
        else:
            machine.settle(run, job, COMPLETED, out)
            assert not machine.sweep(run, ALL, out)
        return out

    assert told(complete(1)) == {"ended": [1], "grow": [0]}
    run.begun[0] = 3
    assert told(complete(2)) == {"ended": [2]}, "all have begun"
    run.state[3], run.edges[3] = ACTIVE, [0]
    assert told(complete(3)) == {"ended": [3, 0]}
    assert (run.state[0], run.ordinal) == (COMPLETED, [4, 1, 2, 3]), "and what it has ended is swept in turn"


def test_items_count_what_has_ended_around_their_list() -> None:
    run = rows(FAILED, ACTIVE, COMPLETED, *[WAITING_CHILDREN] * 5)
    run.ordinal[0], run.ordinal[2], run.open = 1, 2, 1
    run.pending[3:] = [1, 1, 1, 0, 2]
    out = Commands()
    machine.stamp(run, range(3, 8), [(0, 3, FAIL), (1, 4, FAIL), (2, 5, FAIL), (0, 7, SKIP)], out)
    assert list(run.state[3:]) == [FAILED, WAITING_CHILDREN, WAITING, WAITING, WAITING_CHILDREN]
    assert told(out) == {"ended": [3], "ready": [5, 6]}
    assert (run.pending[3:], run.open) == ([0, 1, 0, 0, 1], 5)
    assert (run.cause, run.dooms, run.skips) == ({3: 0, 7: 0}, {3: 1}, {7: 1})


def test_taken_up_are_jobs_that_wait_for_nothing_or_about_which_something_has_been_said() -> None:
    run = rows(*[WAITING_CHILDREN] * 5, COMPLETED)
    run.pending[:] = [0, 1, 1, 1, 1, 0]
    run.dooms[2], run.cause[2] = 1, 0
    run.lists[3], run.begun[3] = 2, 1
    run.lists[4], run.begun[4] = 2, 2
    out = Commands()
    machine.take_up(run, range(6), out)
    assert list(run.state) == [WAITING, WAITING_CHILDREN, FAILED, WAITING_CHILDREN, WAITING_CHILDREN, COMPLETED]
    assert told(out) == {"ready": [0], "ended": [2], "grow": [3]}


def test_of_a_cancelled_run_jobs_are_taken_up_to_be_cancelled() -> None:
    run, out = rows(WAITING_CHILDREN, COMPLETED), Commands()
    run.cancelling = True
    machine.take_up(run, (0, 1), out)
    assert (list(run.state), told(out), list(run.cascade)) == ([CANCELLED, COMPLETED], {"ended": [0]}, [0])


def test_a_list_released_by_nobody_is_judged_by_all_that_it_was_told() -> None:
    for counts, end in (("skips", SKIPPED), ("cancels", CANCELLED), ("dooms", FAILED)):
        run = rows(WAITING_CHILDREN)
        run.lists[0] = run.begun[0] = 1
        getattr(run, counts)[0] = 1
        machine.take_up(run, [0], Commands())
        assert run.state[0] == end


# Order


def test_a_cascade_goes_by_levels() -> None:
    run, out = rows(ACTIVE, *[WAITING_CHILDREN] * 5, edges=[[1, 2], [3], [4], [5], [], []]), Commands()
    machine.settle(run, 0, FAILED, out)
    assert not machine.sweep(run, ALL, out)
    assert out.ended == [0, 1, 2, 3, 4, 5]
    assert run.ordinal == [1, 2, 3, 4, 5, 6]


def test_what_a_cancel_has_ended_is_swept_before_what_completes_after_it() -> None:
    run, out = rows(ACTIVE, WAITING, WAITING_CHILDREN, edges=[[2], [2], []]), Commands()
    machine.cancel(run, out)
    assert not machine.complete(run, (0,), ALL, out)
    assert run.ordinal == [3, 1, 2]


def test_half_swept_edges_come_before_those_of_what_completes_now() -> None:
    run, out = rows(ACTIVE, ACTIVE, *[WAITING_CHILDREN] * 4, edges=[[2, 3, 4], [5], [], [], [], []]), Commands()
    machine.settle(run, 0, COMPLETED, out)
    assert machine.sweep(run, 1, out)
    assert not machine.complete(run, (1,), ALL, out)
    assert told(out) == {"ended": [0, 1], "ready": [2, 3, 4, 5]}


def test_nothing_is_released_by_a_job_that_completes_in_a_cancelled_run() -> None:
    run, out = rows(ACTIVE, WAITING_CHILDREN, edges=[[1], []]), Commands()
    machine.cancel(run, Commands())
    assert not machine.sweep(run, ALL, Commands())
    assert not machine.complete(run, (0,), ALL, out)
    assert (list(run.state), told(out)) == ([COMPLETED, CANCELLED], {"ended": [0]})


def test_a_delay_begins_when_the_last_of_several_has_completed() -> None:
    run, out = rows(ACTIVE, ACTIVE, WAITING_CHILDREN, edges=[[2], [2], []], delays={2: 5.0}), Commands()
    assert not machine.complete(run, (0, 1), ALL, out)
    assert told(out) == {"ended": [0, 1], "delayed": [(2, 5.0)]}


def test_a_chunk_of_a_job_with_codes_takes_its_own_codes() -> None:
    run, out = rows(ACTIVE, ACTIVE, *[WAITING_CHILDREN] * 3, edges=[[2, 3, 4], [2, 3, 4], [], [], []]), Commands()
    run.effects[0] = [SKIP, FAIL, CONTINUE]
    machine.settle(run, 0, FAILED, out)
    while machine.sweep(run, 1, out):
        pass
    assert list(run.state[2:]) == [WAITING_CHILDREN, FAILED, WAITING]
    assert (run.skips, run.dooms, run.conts, run.cut) == ({2: 1}, {3: 1}, {4: 1}, {4: 1})
