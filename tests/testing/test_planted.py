"""Planted bugs: the kit finds each within 200 examples, and shrinks it to three faults at most."""

import importlib
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from flows.testing import Fault, simulate
from flows.testing.strategies import FAULTS, fault_plans, schedules
from tests.testing.planted.catalogue import CATALOGUE, Planted

for module in ("effects", "waits", "data"):
    importlib.import_module(f"tests.testing.planted.{module}")

pytestmark = pytest.mark.usefixtures("same_examples")

FOUND_WITHIN = 200
MOST_FAULTS = 3

SLOW = {
    *("marked_as_done_before_it_is", "counts_lost_workers_as_attempts", "skipped_in_place_of_failed"),
    *("siblings_in_order", "charge_without_a_key", "key_of_the_attempt", "last_attempt_is_off_by_one"),
    *("all_published_again_after_a_part", "key_that_counts_what_was_done", "waits_that_grow_without_end"),
    *("every_error_is_swallowed", "reads_a_sibling_without_an_edge"),
}
"""Bugs that take long to shrink; with the others the fast tests have enough."""

_STEADY = settings(
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)

BUGS = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CATALOGUE]


def hunted(bug: Planted, *, right: bool, examples: int) -> list[tuple[tuple[Fault, ...], Exception]]:
    """The failures of the bug's property, the minimal one last."""
    failures: list[tuple[tuple[Fault, ...], Exception]] = []

    @settings(_STEADY, max_examples=examples)
    @given(fault_plans(bug.build(right=right)[0], kinds=bug.kinds or FAULTS), schedules())
    def holds(faults: tuple[Fault, ...], schedule: dict[int, int]) -> None:
        flow, holds_for = bug.build(right=right)
        try:
            holds_for(simulate(flow, faults=faults, schedule=schedule, workers=2))
        except Exception as error:
            failures.append((faults, error))
            raise

    try:
        holds()
    except Exception:
        assert failures
    return failures


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_found_and_shrinks(name: str) -> None:
    bug = CATALOGUE[name]
    failures = hunted(bug, right=False, examples=FOUND_WITHIN)
    assert failures, f"not found within {FOUND_WITHIN} examples"
    faults, error = failures[-1]
    assert bug.found_by in str(error)
    assert len(faults) <= bug.faults, faults


@pytest.mark.slow
@pytest.mark.parametrize("name", CATALOGUE)
def test_done_right_the_same_flow_passes(name: str) -> None:
    failures: list[Any] = hunted(CATALOGUE[name], right=True, examples=25)
    assert not failures, failures[-1]


def test_there_are_enough_of_them() -> None:
    assert len(CATALOGUE) >= 30
    assert max(bug.faults for bug in CATALOGUE.values()) <= MOST_FAULTS
    assert max(bug.faults for bug in CATALOGUE.values()) <= MOST_FAULTS
    assert set(CATALOGUE) >= SLOW
