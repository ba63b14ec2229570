"""Fleets with several runs that lose replies, repeat calls, freeze and die: all end, each result is committed once."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from executors.memory import MemoryRun
from flows._state import LOST_LIMIT, STATE_NAMES
from flows.testing import Fault
from tests.executors.columns import check_counters, plan_of
from tests.executors.fleet import ATTEMPTS, Fleet, check, drawn, fates
from tests.flows.naive_lists import flow_of, scopes
from tests.flows.naive_run import ENDS, Dag, NaiveRun, dags

pytestmark = pytest.mark.slow


def judge(dag: Dag, run: MemoryRun) -> None:
    naive = NaiveRun(dag)
    for event in run.events(0)[0]:
        if event.kind in ENDS and event.attempt is not None:
            naive.settle(int(event.job or 0), event.kind)
    assert [STATE_NAMES[code] for code in run.state.state] == naive.states


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(
    st.lists(dags(max_jobs=8).map(Dag.as_planned), min_size=1, max_size=3).flatmap(
        lambda shapes: st.tuples(st.just(shapes), fates(st.just([plan_of(dag, attempts=ATTEMPTS) for dag in shapes])))
    ),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_every_run_ends_and_each_result_is_committed_once(
    what: tuple[list[Dag], tuple[Any, ...]], slots: int, workers: int
) -> None:
    shapes, fate = what
    fleet = drawn(*fate, workers=workers, slots=slots)
    for dag, run in zip(shapes, fleet.runs, strict=True):
        check(fleet, run)
        if not run.state.cancelling:
            judge(dag, run)


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(fates(scopes().map(lambda steps: [flows.plan(flow_of(steps))])), st.integers(1, 3), st.integers(1, 3))
def test_runs_with_lists_end_whatever_becomes_of_their_workers_and_are_taken_up_again(
    fate: tuple[Any, ...], slots: int, workers: int
) -> None:
    fleet = drawn(*fate, workers=workers, slots=slots)
    (run,) = fleet.runs
    for _ in range(2):
        check_counters(run)
        completed = [job for job, state in enumerate(run.state.state) if STATE_NAMES[state] == "completed"]
        grants = [len(fleet.granted.get((run, job), ())) for job in completed]
        fleet.reopen(run)
        fleet.play_out(1)
        assert [len(fleet.granted.get((run, job), ())) for job in completed] == grants, "what had completed stays so"
    events = [(event.kind, event.job) for event in run.events(0)[0]]
    assert events.count(("ended", None)) == 1 + events.count(("reopened", None))


WIDE = Dag(("fail",) * 20, ())


def wide(*faults: Fault, workers: int = 1, slots: int = 4, **options: Any) -> tuple[Fleet, MemoryRun]:
    fleet = Fleet(None, faults, [plan_of(WIDE, attempts=ATTEMPTS, **options)], slots=slots)
    fleet.play_out(workers)
    (run,) = fleet.runs
    check(fleet, run)
    return fleet, run


@pytest.mark.parametrize(
    "fault",
    [
        Fault.lost_reply(times=10),
        Fault.lost_call(times=10),
        Fault.doubled_call(times=10),
        Fault.late_call("exchange", 2, times=10),
    ],
    ids=lambda fault: fault.kind,
)
def test_a_network_that_fails_ten_times_costs_no_attempt_and_no_second_grant(fault: Fault) -> None:
    fleet, run = wide(fault, slots=2)
    assert (run.state.lost, run.state.made) == ({}, {})
    assert max(len(grants) for grants in fleet.granted.values()) == 1


def test_a_job_that_kills_its_worker_each_time_fails_and_takes_no_other_with_it() -> None:
    _, run = wide(Fault.crash("7", at="mid", times=None), slots=8)
    assert [STATE_NAMES[code] for code in run.state.state] == ["completed"] * 7 + ["failed"] + ["completed"] * 12
    assert (run.failed(7).type, run.state.lost[7]) == ("LeaseLostError", LOST_LIMIT)
    assert all(lost <= 1 for job, lost in run.state.lost.items() if job != 7)


def test_a_handler_that_outlives_its_lease_under_a_working_keeper_keeps_it() -> None:
    _, run = wide(Fault.slow("told", 45, renewed=True, times=None), slots=3, workers=2)
    assert not run.state.lost


def test_a_zombie_is_refused_and_its_job_done_by_another() -> None:
    fleet, run = wide(Fault.slow("0", 45, at="before_start"), slots=1, workers=2)
    first, second = fleet.granted[run, 0]
    assert (first.suspect, second.suspect, second.attempt) == (False, True, 1)
    assert run.state.lost == {0: 1}
