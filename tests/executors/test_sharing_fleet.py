"""Fleets whose jobs share keys over runs: everything ends, and nothing is done twice that need not be."""

from collections import Counter
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from executors.memory import MemoryRun
from flows import Job, Opts
from flows._plan import Plan
from flows._state import STATE_NAMES
from tests.executors.fleet import Fleet, drawn, fates

pytestmark = pytest.mark.slow


@flows.task(name="sharing-told")
def told(what: str) -> None:
    """Its attempts end as the test says."""


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


def shapes(data: str) -> st.SearchStrategy[tuple[Any, ...]]:
    job = st.tuples(st.sampled_from("klm"), st.sampled_from(data), st.frozensets(st.integers(0, 4), max_size=2))
    plans = st.lists(job, min_size=1, max_size=5).map(tuple).map(Shape).map(Shape.plan)
    return fates(st.lists(plans, min_size=1, max_size=4))


def check(fleet: Fleet) -> None:
    lost: Counter[str | None] = Counter()
    values: dict[str | None, set[Any]] = {}
    for run in fleet.runs:
        plan = run.plan
        for job, key in enumerate(one.idempotency_key for one in plan.settings):
            lost[key] += run.state.lost.get(job, 0)
            if STATE_NAMES[run.state.state[job]] == "completed":
                values.setdefault(key, set()).add(tuple(run.values[job]))
    for key, effects in fleet.effects.items():
        assert effects <= 1 + lost[key], f"{key}: done {effects} times though {lost[key]} leases were lost"
    for key, found in values.items():
        assert len(found) == 1, f"{key}: different results {found}"
        assert fleet.effects[key] >= 1
    assert not any(not entry.done for entry in fleet.store._shared.values()), "something stays reserved"


def replayed(run: MemoryRun) -> int:
    return sum(event.kind == "replayed" for event in run.events(0)[0])


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(shapes("a") | shapes("aab"), st.integers(1, 4), st.integers(1, 4))
def test_runs_that_share_keys_or_quarrel_about_them_end_with_one_effect_a_key(
    fate: tuple[Any, ...], slots: int, workers: int
) -> None:
    check(drawn(*fate, workers=workers, slots=slots))


def test_without_misfortune_each_key_is_done_once_and_the_rest_replay() -> None:
    shape = Shape((("k", "a", frozenset()), ("l", "a", frozenset((0,))), ("k", "a", frozenset((1,)))))
    fleet = drawn([shape.plan() for _ in range(4)], (), None, workers=3, slots=2)
    check(fleet)
    assert fleet.effects == {"k": 1, "l": 1}
    assert sum(replayed(run) for run in fleet.runs) == 4 * 3 - 2
