"""Fleets whose jobs share keys over runs: everything ends, and nothing is done twice that need not be."""

import functools
from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from executors._leasing._sharing import Sharing
from executors.memory import MemoryRun
from flows import Job, Opts
from flows._plan import Plan
from flows._state import STATE_NAMES
from flows._verbs import Grant, Settle
from tests.executors.columns import put
from tests.executors.fleet import Fleet, Worker
from tests.executors.test_fleet import luck

pytestmark = pytest.mark.slow


@flows.task(name="sharing-told")
def told(what: str) -> None:
    """Its attempts end as the test says."""


class SharingWorker(Worker):
    """Its jobs share their results as those of a crew do; a result that counts is an effect, noted by key."""

    fleet: "SharingFleet"

    @functools.cached_property
    def sharing(self) -> Sharing:
        return Sharing(self.fleet.store)

    def before(self, grant: Grant) -> Settle | None:
        return self.sharing.before(grant, self.fleet.clock)

    def after(self, settle: Settle) -> Settle:
        self.fleet.effects[_key(settle.grant)] += 1
        settled = self.sharing.after(settle)
        self.fleet.tell_others(None)
        return settled


class SharingFleet(Fleet):
    """A fleet that counts effects by key."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.effects: Counter[str | None] = Counter()
        super().__init__(*args, **options)

    @property
    def worker(self) -> type[Worker]:
        return SharingWorker


def _key(grant: Grant) -> str | None:
    return grant.run.plan.settings[grant.job].idempotency_key


class Shape(NamedTuple):
    """A run: for each job its key and data, and the earlier jobs that it waits for."""

    jobs: tuple[tuple[str, str, frozenset[int]], ...]

    def plan(self) -> Plan[Any]:
        jobs: list[Job[Any]] = []
        for number, (key, data, after) in enumerate(self.jobs):
            job = Job("sharing-told", id=str(number), data={"what": data}, opts=Opts(idempotency_key=key, attempts=3))
            jobs.append(job.after(*[jobs[earlier] for earlier in after if earlier < number]))

        @flows.flow(name="sharing-told")
        def all_of_them() -> Any:
            return tuple(jobs)

        return flows.plan(all_of_them())


def shapes(data: str) -> st.SearchStrategy[list[Shape]]:
    job = st.tuples(st.sampled_from("klm"), st.sampled_from(data), st.frozensets(st.integers(0, 4), max_size=2))
    return st.lists(st.lists(job, min_size=1, max_size=5).map(tuple).map(Shape), min_size=1, max_size=4)


def simulate(data: st.DataObject, shapes: list[Shape], *, workers: int, slots: int) -> SharingFleet:
    choose = luck(data)
    fleet = SharingFleet(choose, chunk=500, workers=workers, slots=slots)
    for shape in shapes:
        fleet.runs.append(put(fleet.store, shape.plan()))
    fleet.tell_others(None)
    for run in fleet.runs:
        if choose("cancel", (False, False, False, True)):
            fleet.at(choose("when", (0.5, 20.0)), lambda run=run: fleet.cancel(run))  # type: ignore[misc]
    fleet.play()
    return fleet


def check(fleet: SharingFleet) -> None:
    lost: Counter[str | None] = Counter()
    values: dict[str | None, set[Any]] = {}
    for run in fleet.runs:
        plan = run.plan
        for job, key in enumerate(one.idempotency_key for one in plan.settings):
            lost[key] += run.state.lost.get(job, 0)
            if STATE_NAMES[run.state.state[job]] == "completed":
                values.setdefault(key, set()).add(run.values[job])
    for key, effects in fleet.effects.items():
        assert effects <= 1 + lost[key], f"{key}: done {effects} times though {lost[key]} leases were lost"
    for key, found in values.items():
        assert len(found) == 1, f"{key}: different results {found}"
        assert fleet.effects[key] >= 1
    assert not any(not entry.done for entry in fleet.store._shared.values()), "something stays reserved"


def replayed(run: MemoryRun) -> int:
    return sum(event.kind == "replayed" for event in run.events(0)[0])


@settings(max_examples=30)
@given(st.data(), shapes("a"), st.integers(1, 4), st.integers(1, 3))
def test_runs_that_share_keys_end_with_one_effect_a_key(
    data: st.DataObject, shapes: list[Shape], slots: int, workers: int
) -> None:
    check(simulate(data, shapes, workers=workers, slots=slots))


@settings(max_examples=30)
@given(st.data(), shapes("ab"), st.integers(1, 4), st.integers(1, 3))
def test_runs_that_quarrel_about_keys_end_too(
    data: st.DataObject, shapes: list[Shape], slots: int, workers: int
) -> None:
    check(simulate(data, shapes, workers=workers, slots=slots))


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data(), shapes("aab"), st.integers(1, 4), st.integers(1, 4))
def test_hundreds_of_fleets_that_share(data: st.DataObject, shapes: list[Shape], slots: int, workers: int) -> None:
    check(simulate(data, shapes, workers=workers, slots=slots))


def test_without_misfortune_each_key_is_done_once_and_the_rest_replay() -> None:
    fleet = SharingFleet(lambda what, options: options[0], chunk=500, workers=3, slots=2)
    shape = Shape((("k", "a", frozenset()), ("l", "a", frozenset((0,))), ("k", "a", frozenset((1,)))))
    for _ in range(4):
        fleet.runs.append(put(fleet.store, shape.plan()))
    fleet.tell_others(None)
    fleet.play()
    check(fleet)
    assert fleet.effects == {"k": 1, "l": 1}
    assert sum(replayed(run) for run in fleet.runs) == 4 * 3 - 2
