"""The machine case by case: every ending under every policy, and what several dependencies make of one job."""

import itertools

import pytest

from flows import _machine as machine
from flows._state import ACTIVE, COMPLETED, DELAYED, FAILED, STATE_NAMES, WAITING, Commands, Retry, RunState
from tests.flows.naive_run import ENDS, POLICIES, Dag, Edge, columns

ALL = 10**9
CODES = {name: code for code, name in enumerate(STATE_NAMES)}

# What becomes of a job with one dependency, from the table of policies: for each end of the child a row of policies.
#                           fail         skip         continue   ignore     remove
VALUE_EDGE = """
    completed            waiting      waiting      waiting    waiting    waiting
    failed               failed       skipped      waiting    waiting    waiting
    skipped              skipped      skipped      waiting    waiting    waiting
    cancelled            cancelled    cancelled    waiting    waiting    waiting
"""
OPTIONAL_EDGE = """
    completed            waiting      waiting      waiting    waiting    waiting
    failed               waiting      waiting      waiting    waiting    waiting
    skipped              waiting      waiting      waiting    waiting    waiting
    cancelled            waiting      waiting      waiting    waiting    waiting
"""
ORDER_EDGE = """
    completed            waiting      waiting      waiting    waiting    waiting
    failed               failed       skipped      waiting    waiting    waiting
    skipped              waiting      waiting      waiting    waiting    waiting
    cancelled            cancelled    cancelled    waiting    waiting    waiting
"""
ONE_EDGE = {"value": VALUE_EDGE, "optional": OPTIONAL_EDGE, "order": ORDER_EDGE}
# The same while another dependency is still open: only what acts at once has acted.
VALUE_EDGE_AND_ANOTHER = """
    completed            waits        waits        waits      waits      waits
    failed               failed       waits        waiting    waits      waits
    skipped              waits        waits        waiting    waits      waits
    cancelled            cancelled    cancelled    waiting    waits      waits
"""
COLUMNS = ("fail", "skip", "continue", "ignore", "remove")


def rows(table: str, kind: str) -> list[tuple[str, str, str, str]]:
    lines = [line.split() for line in table.strip().splitlines()]
    return [
        (kind, end, policy, expected.replace("waits", "waiting_children"))
        for end, *cells in lines
        for policy, expected in zip(COLUMNS, cells, strict=True)
    ]


def begun(dag: Dag, **options: object) -> RunState:
    """A run whose ready jobs are active."""
    run, out = columns(dag, **options), Commands()  # type: ignore[arg-type]
    machine.begin(run, out)
    machine.grant(run, out.ready)
    return run


def end(run: RunState, *ends: tuple[int, str]) -> Commands:
    """Settle these active jobs, in order, and sweep."""
    out = Commands()
    for job, how in ends:
        assert run.state[job] == ACTIVE
        machine.settle(run, job, CODES[how], out)
    assert not machine.sweep(run, ALL, out)
    return out


def states(run: RunState) -> list[str]:
    return [STATE_NAMES[code] for code in run.state]


def inputs(run: RunState, job: int, *children: int) -> list[int]:
    return list(machine.inputs_of(run, job, children))


@pytest.mark.parametrize("kind", ONE_EDGE)
def test_what_the_end_of_the_only_dependency_makes_of_a_job(kind: str) -> None:
    for row in rows(ONE_EDGE[kind], kind):
        _, how, policy, expected = row
        run = begun(Dag((policy, "fail"), (Edge(0, 1, kind),)))
        out = end(run, (0, how))
        assert states(run) == [how, expected], row
        assert out.ready == ([1] if expected == "waiting" else []), row
        assert out.ended == ([0] if expected == "waiting" else [0, 1]), row
        assert run.open == (1 if expected == "waiting" else 0), row
        assert inputs(run, 1, 0) == [0], row


def test_what_it_makes_of_a_job_with_another_dependency_open() -> None:
    alone = {row[1:3]: row[3] for row in rows(VALUE_EDGE, "value")}
    for row in rows(VALUE_EDGE_AND_ANOTHER, "value"):
        kind, how, policy, expected = row
        run = begun(Dag((policy, "fail", "fail"), (Edge(0, 2, kind), Edge(1, 2))))
        end(run, (0, how))
        assert states(run) == [how, "active", expected], row
        final = end(run, (1, "completed"))
        last = alone[how, policy] if expected == "waiting_children" else expected
        assert states(run) == [how, "completed", last], row
        assert (2 in final.ready) == (expected == "waiting_children" and last == "waiting"), row


@pytest.mark.parametrize("state", ["waiting", "delayed", "active", *ENDS])
def test_a_job_that_was_released_is_no_longer_touched_by_its_dependencies(state: str) -> None:
    for cell in itertools.product(["value", "optional", "order"], POLICIES, ENDS):
        check_released(*cell, state)


def check_released(kind: str, policy: str, how: str, state: str) -> None:
    # Job 0 releases job 2 early; what job 1 does then comes too late.
    cell = (kind, policy, how)
    dag = Dag(("continue", policy, "fail"), (Edge(0, 2), Edge(1, 2, kind)))
    run = begun(dag, delays={2: 5.0} if state == "delayed" else {})
    end(run, (0, "failed"))
    if state not in ("waiting", "delayed"):
        machine.grant(run, (2,))
    if state in ENDS:
        end(run, (2, state))
    assert states(run)[2] == state, cell
    out = end(run, (1, how))
    assert states(run) == ["failed", how, state], cell
    assert (out.ready, out.delayed, out.ended, out.interrupt) == ([], [], [1], []), cell
    assert inputs(run, 2, 0, 1) == [0], f"what comes after the release is no input, however it ends: {cell}"


# Several dependencies


def test_a_failure_acts_at_once_and_beats_a_skip() -> None:
    for order in ((0, 1), (1, 0)):
        run = begun(Dag(("skip", "fail", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(2, 3))))
        for child in order:
            end(run, (child, "failed"))
        assert states(run) == ["failed", "failed", "active", "failed"]
        assert run.cause[3] == 1, "the failure is the cause, not the skip before it"


def test_a_skip_waits_for_the_rest() -> None:
    run = begun(Dag(("skip", "fail", "fail"), (Edge(0, 2), Edge(1, 2))))
    end(run, (0, "failed"))
    assert states(run)[2] == "waiting_children"
    end(run, (1, "completed"))
    assert states(run)[2] == "skipped"
    assert run.cause[2] == 0


def test_a_release_beats_a_skip_that_would_have_waited() -> None:
    run = begun(Dag(("skip", "continue", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(2, 3))))
    end(run, (0, "failed"))
    out = end(run, (1, "failed"))
    assert (states(run)[3], out.ready) == ("waiting", [3])
    assert inputs(run, 3, 0, 1, 2) == [0, 1]


def test_a_skip_that_is_complete_beats_a_release_that_comes_last() -> None:
    run = begun(Dag(("skip", "continue", "fail"), (Edge(0, 2), Edge(1, 2))))
    end(run, (0, "failed"))
    end(run, (1, "failed"))
    assert states(run)[2] == "skipped"


def test_a_failure_beats_a_release_that_comes_with_it() -> None:
    for ends in itertools.permutations(((0, "failed"), (1, "failed"))):
        run = begun(Dag(("continue", "fail", "fail", "fail"), (Edge(1, 3), Edge(0, 3), Edge(2, 3))))
        end(run, *ends)
        assert states(run)[3] == ("failed" if ends[0][0] == 1 else "waiting"), "whichever is swept first"


def test_each_dependent_is_released_on_its_own_and_with_its_own_inputs() -> None:
    dag = Dag(
        ("continue", "fail", "fail", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(0, 4), Edge(1, 4), Edge(2, 4))
    )
    run = begun(dag)
    end(run, (1, "completed"))
    out = end(run, (0, "failed"))
    assert out.ready == [3, 4]
    assert inputs(run, 3, 0, 1) == [0, 1]
    assert inputs(run, 4, 0, 1, 2) == [0, 1]
    end(run, (2, "completed"))
    assert inputs(run, 4, 0, 1, 2) == [0, 1], "the same for every attempt"
    assert 3 not in run.cut, "all it waited for had ended"


def test_two_early_releases_release_once() -> None:
    run = begun(Dag(("continue", "continue", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(2, 3))))
    out = end(run, (0, "failed"), (1, "failed"))
    assert out.ready == [3]
    assert inputs(run, 3, 0, 1, 2) == [0]


def test_a_cancelled_dependency_cancels_at_once_and_a_failure_beats_it() -> None:
    dag = Dag(("fail", "fail", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(2, 3)))
    run = begun(dag)
    end(run, (0, "cancelled"))
    assert states(run)[3] == "cancelled"
    run = begun(dag)
    end(run, (0, "failed"), (1, "cancelled"))
    assert states(run)[3] == "failed"


def test_a_doomed_cascade_runs_up_to_the_end_and_names_each_cause() -> None:
    depth = 1000
    dag = Dag(("fail",) * depth, tuple(Edge(job, job + 1) for job in range(depth - 1)))
    run = begun(dag)
    out = end(run, (0, "failed"))
    assert set(states(run)) == {"failed"}
    assert (out.ended, out.ready, run.open) == (list(range(depth)), [], 0)
    assert [run.cause[job] for job in range(1, depth)] == list(range(depth - 1))


def test_a_doomed_job_acts_by_its_own_policy() -> None:
    run = begun(Dag(("fail", "ignore", "fail"), (Edge(0, 1), Edge(1, 2))))
    out = end(run, (0, "failed"))
    assert states(run) == ["failed", "failed", "waiting"]
    assert out.ready == [2]


def test_a_cascade_is_swept_whole_before_the_next_settle() -> None:
    run = begun(Dag(("fail", "ignore", "continue", "fail"), (Edge(0, 1), Edge(1, 3), Edge(2, 3))))
    end(run, (0, "failed"), (2, "failed"))
    assert list(run.ordinal)[:3] == [1, 2, 3]
    assert inputs(run, 3, 1, 2) == [1, 2]


# Attempts


def test_attempts_are_counted_and_the_last_one_fails_the_job() -> None:
    run, out = begun(Dag(("fail",), ()), limits=[3]), Commands()
    assert machine.retry(run, 0, Retry(0.0), out)
    assert (run.state[0], out.ready, run.made) == (WAITING, [0], {0: 1})
    machine.grant(run, (0,))
    assert machine.retry(run, 0, Retry(2.5), out)
    assert (run.state[0], out.delayed) == (DELAYED, [(0, 2.5)])
    machine.wake(run, 0, out)
    machine.grant(run, (0,))
    assert machine.retry(run, 0, Retry(1.0, counted=False), out)
    machine.wake(run, 0, out)
    machine.grant(run, (0,))
    assert not machine.retry(run, 0, Retry(1.0), out)
    assert (run.state[0], out.ended, run.made[0], run.open) == (FAILED, [0], 3, 0)


def test_lost_workers_have_a_budget_of_their_own() -> None:
    run, out = begun(Dag(("fail",), ()), limits=[1]), Commands()
    for _ in range(2):
        assert machine.lose(run, 0, out)
        assert run.state[0] == WAITING
        assert machine.grant(run, (0,)) == [0]
    assert not machine.lose(run, 0, out)
    assert (run.state[0], run.lost, run.made, out.ended) == (FAILED, {0: 3}, {}, [0])


def test_only_what_waits_is_granted_and_only_what_is_delayed_wakes() -> None:
    run, out = columns(Dag(("fail", "fail"), (Edge(0, 1),))), Commands()
    machine.begin(run, out)
    assert machine.grant(run, (0, 1, 0)) == [0]
    machine.wake(run, 0, out)
    machine.wake(run, 1, out)
    assert (states(run), out.ready) == (["active", "waiting_children"], [0])


# Cancelling


def test_a_cancelled_run_releases_nothing_and_tries_nothing_again() -> None:
    dag = Dag(("ignore",) * 6, (Edge(0, 3), Edge(1, 4), Edge(2, 5)))
    run, out = begun(dag, delays={3: 1.0}), Commands()
    machine.cancel(run, out)
    machine.cancel(run, out)
    assert states(run) == ["active"] * 3 + ["cancelled"] * 3
    assert (out.interrupt, out.ended) == ([0, 1, 2], [3, 4, 5]), "each is told once"
    end(run, (0, "completed"))
    out = Commands()
    assert not machine.retry(run, 1, Retry(0.0), out)
    machine.release(run, 2, out)
    assert (states(run)[:3], out.ready, out.delayed) == (["completed", "cancelled", "cancelled"], [], [])
    assert run.open == 0


def test_a_lost_job_of_a_cancelled_run_is_cancelled() -> None:
    run, out = begun(Dag(("fail",), ())), Commands()
    machine.cancel(run, out)
    assert not machine.lose(run, 0, out)
    assert states(run) == ["cancelled"]


# Chunks


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_a_sweep_applies_no_more_edges_than_it_may(limit: int) -> None:
    width = 50
    run = begun(Dag(("fail",) * (width + 1), tuple(Edge(0, job) for job in range(1, width + 1))))
    out = Commands()
    machine.settle(run, 0, COMPLETED, out)
    assert out.ready == [], "a settle alone releases nothing"
    released = 0
    while machine.sweep(run, limit, out):
        assert len(out.ready) == released + limit
        released = len(out.ready)
    assert out.ready == list(range(1, width + 1))
    assert not machine.sweep(run, limit, out)


def test_nothing_that_a_failure_will_fail_can_start_between_two_chunks() -> None:
    # Both dependencies of job 3 have ended; that the second one failed has not been swept yet.
    dag = Dag(("fail",) * 4, (Edge(0, 2), Edge(0, 3), Edge(1, 3)))
    run, out = begun(dag), Commands()
    machine.settle(run, 0, COMPLETED, out)
    machine.settle(run, 1, FAILED, out)
    assert machine.sweep(run, 2, out)
    assert (states(run)[3], out.ready) == ("waiting_children", [2])
    assert not machine.sweep(run, 2, out)
    assert states(run)[3] == "failed"


def test_completing_many_sweeps_within_the_limit_and_leaves_the_rest() -> None:
    dag = Dag(("fail",) * 8, (Edge(0, 3), Edge(0, 4), Edge(1, 5), Edge(1, 6), Edge(2, 7)))
    run, out = begun(dag), Commands()
    assert not machine.complete(run, (0, 1, 1, 2), 3, out), "two edges, and then three with the call's sweep"
    assert out.ended == [0, 1, 2]
    assert out.ready == [3, 4, 5, 6, 7]
    assert list(run.ordinal)[:3] == [1, 2, 3]


def test_who_completes_while_others_are_to_be_swept_comes_after_them() -> None:
    run, out = begun(Dag(("fail",) * 3, (Edge(0, 2), Edge(1, 2)))), Commands()
    assert machine.complete(run, (0,), 0, out), "there is no room left in this call"
    assert not machine.complete(run, (1,), ALL, out)
    assert list(run.ordinal)[:2] == [1, 2]


# Followers


def test_the_follower_is_the_one_dependent_that_a_completion_releases_at_once() -> None:
    assert machine.follower(begun(CHAIN), 0) == 1
    fork = begun(Dag(("fail",) * 3, (Edge(0, 1), Edge(0, 2))))
    join = begun(Dag(("fail",) * 3, (Edge(0, 2), Edge(1, 2))))
    delayed = begun(CHAIN, delays={1: 1.0})
    not_granted = columns(CHAIN)
    machine.begin(not_granted, Commands())
    doomed = begun(Dag(("fail",) * 4, (Edge(0, 1), Edge(2, 3))))
    end(doomed, (2, "failed"))
    unswept = begun(Dag(("fail",) * 4, (Edge(0, 1), Edge(2, 3))))
    machine.settle(unswept, 2, COMPLETED, Commands())
    assert [machine.follower(run, 0) for run in (fork, join, delayed, not_granted, doomed, unswept)] == [-1] * 6
    assert machine.follower(begun(CHAIN), 1) == -1, "which does not run"


CHAIN = Dag(("fail", "fail"), (Edge(0, 1),))
