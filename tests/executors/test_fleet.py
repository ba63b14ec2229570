"""Fleets that lose replies, repeat calls, freeze and die: every run ends, and each result is committed once."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executors.memory import MemoryRun
from flows._state import LOST_LIMIT, STATE_NAMES
from tests.executors.columns import check_counters, plan_of, put, put_lists
from tests.executors.fleet import Choose, Fleet
from tests.flows.naive_lists import Step, flow_of, scopes
from tests.flows.naive_run import ENDS, Dag, NaiveRun, dags

pytestmark = pytest.mark.slow

ATTEMPTS = 3
LUCK = 60
"""Choices drawn before all goes well, so that every example comes to its end."""


def shapes_of(jobs: int, runs: int) -> st.SearchStrategy[list[Dag]]:
    return st.lists(dags(max_jobs=jobs).map(Dag.as_planned), min_size=1, max_size=runs)


def luck(data: st.DataObject, amount: int = LUCK) -> Choose:
    """Choices of hypothesis; harmless ones once *amount* have been drawn."""
    drawn = 0

    def choose(what: str, options: Sequence[Any]) -> Any:
        nonlocal drawn
        drawn += 1
        return options[0] if drawn > amount else data.draw(st.sampled_from(options), label=what)

    return choose


def check(fleet: Fleet, dag: Dag, run: MemoryRun) -> None:
    """What must be true of a run that has ended, whatever became of its workers."""
    events = run.events(0)[0]
    ends = [event for event in events if event.kind in ENDS]
    assert sorted(event.job or "" for event in ends) == sorted(run.plan.ids), "each job ends once"
    for job, job_id in enumerate(run.plan.ids):
        grants = fleet.granted.get((run, job), [])
        mine = [event.kind for event in events if event.job == job_id]
        assert mine.count("lost") == run.state.lost.get(job, 0) <= LOST_LIMIT
        assert mine.count("retrying") < ATTEMPTS
        assert mine.count("started") == len(grants)
        assert len(grants) <= ATTEMPTS + LOST_LIMIT + mine.count("released")
        assert all(grant.attempt <= ATTEMPTS for grant in grants)
        if STATE_NAMES[run.state.state[job]] == "completed":
            assert run.values[job] == (job, grants[-1].fence), "committed by the newest fence"
        if run.errors.get(job) is not None and run.errors[job].type == "LeaseLostError":
            assert mine.count("lost") == LOST_LIMIT
    if not run.state.cancelling:
        judge(dag, run)


def judge(dag: Dag, run: MemoryRun) -> None:
    naive = NaiveRun(dag)
    for event in run.events(0)[0]:
        if event.kind in ENDS and event.attempt is not None:
            naive.settle(int(event.job or 0), event.kind)
    assert [STATE_NAMES[code] for code in run.state.state] == naive.states


def simulate(data: st.DataObject, shapes: Sequence[Dag], *, chunk: int, workers: int, slots: int) -> Fleet:
    choose = luck(data)
    fleet = Fleet(choose, chunk=chunk, workers=workers, slots=slots)
    for dag in shapes:
        fleet.runs.append(put(fleet.store, plan_of(dag, attempts=ATTEMPTS)))
    fleet.tell_others(None)
    for run in fleet.runs:
        if choose("cancel", (False, False, False, True)):
            fleet.at(choose("when", (0.5, 20.0)), lambda run=run: fleet.cancel(run))  # type: ignore[misc]
    fleet.play()
    for dag, run in zip(shapes, fleet.runs, strict=True):
        check(fleet, dag, run)
    return fleet


@pytest.mark.parametrize("workers", [1, 3])
@given(st.data(), shapes_of(6, 2), st.integers(1, 3), st.integers(1, 3))
def test_every_run_ends_and_each_result_is_committed_once(
    workers: int, data: st.DataObject, shapes: list[Dag], chunk: int, slots: int
) -> None:
    simulate(data, shapes, chunk=chunk, workers=workers, slots=slots)


def unlucky(kind: str, bad: Any, times: int) -> Choose:
    """All goes well but for one kind of choice, *times* times."""
    left = times

    def choose(what: str, options: Sequence[Any]) -> Any:
        nonlocal left
        if what == kind and left:
            left -= 1
            return bad
        return options[0]

    return choose


def alone(choose: Choose, dag: Dag, **options: int) -> tuple[Fleet, MemoryRun]:
    fleet = Fleet(choose, **({"chunk": 500, "workers": 1, "slots": 4} | options))
    run = put(fleet.store, plan_of(dag, attempts=ATTEMPTS))
    fleet.runs.append(run)
    fleet.tell_others(None)
    fleet.play()
    check(fleet, dag, run)
    return fleet, run


@pytest.mark.parametrize("workers", [1, 3])
@given(st.data(), scopes(), st.sampled_from([1, 3, 500]), st.integers(1, 3))
def test_runs_with_lists_end_whatever_becomes_of_their_workers(
    workers: int, data: st.DataObject, steps: list[Step], chunk: int, slots: int
) -> None:
    choose = luck(data)
    fleet = Fleet(choose, chunk=chunk, workers=workers, slots=slots)
    run = put_lists(fleet.store, flow_of(steps))
    fleet.runs.append(run)
    fleet.tell_others(None)
    if choose("cancel", (False, False, False, True)):
        fleet.at(choose("when", (0.5, 20.0)), lambda: fleet.cancel(run))
    for _ in range(2):
        fleet.play(30_000.0)
        check_counters(run)
        completed = {job for job, state in enumerate(run.state.state) if STATE_NAMES[state] == "completed"}
        grants = {job: len(fleet.granted.get((run, job), ())) for job in completed}
        fleet.store.reopen(run, None, anew=False)
        fleet.tell_others(None)
    fleet.play(30_000.0)
    assert {job: len(fleet.granted.get((run, job), ())) for job in completed} == grants
    events = [(event.kind, event.job) for event in run.events(0)[0]]
    assert events.count(("ended", None)) == 1 + events.count(("reopened", None))


WIDE = Dag(("fail",) * 20, ())


@pytest.mark.parametrize("fate", ["no reply", "no request", "doubled", "late"])
def test_a_network_that_fails_ten_times_costs_no_attempt_and_no_second_grant(fate: str) -> None:
    fleet, run = alone(unlucky("network", fate, 10), WIDE, slots=2)
    assert not run.state.lost
    assert not run.state.made
    assert max(len(grants) for grants in fleet.granted.values()) == 1


def test_a_job_that_kills_its_worker_each_time_fails_and_takes_no_other_with_it() -> None:
    def choose(what: str, options: Sequence[Any]) -> Any:
        return options[0]

    fleet = Fleet(choose, chunk=500, workers=1, slots=8)
    run = put(fleet.store, plan_of(WIDE, attempts=ATTEMPTS))
    fleet.runs.append(run)
    deaths = []

    def deadly(what: str, options: Sequence[Any]) -> Any:
        worker = fleet.workers[-1]
        if what == "handler" and any(grant.job == 7 for grant in worker.running) and not worker.gone:
            deaths.append([grant.job for grant in worker.running])
            worker.die()
        return options[0]

    fleet.choose = deadly
    fleet.tell_others(None)
    fleet.play()
    assert [STATE_NAMES[code] for code in run.state.state] == ["completed"] * 7 + ["failed"] + ["completed"] * 12
    assert run.failed(7).type == "LeaseLostError"
    assert len(deaths) == LOST_LIMIT
    assert all(lost <= 1 for job, lost in run.state.lost.items() if job != 7)


def test_a_handler_that_outlives_its_lease_under_a_working_keeper_keeps_it() -> None:
    _, run = alone(unlucky("handler", 45.0, 20), WIDE, slots=3, workers=2)
    assert not run.state.lost


def test_a_zombie_is_refused_and_its_job_done_by_another() -> None:
    def frozen_at_first(what: str, options: Sequence[Any]) -> Any:
        early = fleet.clock.now < 1040.0
        return {"extend": not early, "heeds": not early, "handler": 45.0 if early else 0.0}.get(what, options[0])

    fleet = Fleet(lambda what, options: options[0], chunk=500, workers=2, slots=1)
    run = put(fleet.store, plan_of(Dag(("fail",), ()), attempts=1))
    fleet.runs.append(run)
    fleet.choose = frozen_at_first
    fleet.tell_others(None)
    fleet.play()
    check(fleet, Dag(("fail",), ()), run)
    first, second = fleet.granted[run, 0]
    assert (first.suspect, second.suspect, second.attempt) == (False, True, 1)
    assert (run.values[0], run.state.lost) == ((0, second.fence), {0: 1})


@settings(max_examples=1000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), shapes_of(8, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_a_thousand_unlucky_fleets(
    data: st.DataObject, shapes: list[Dag], chunk: int, slots: int, workers: int
) -> None:
    simulate(data, shapes, chunk=chunk, workers=workers, slots=slots)
