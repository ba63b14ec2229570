"""What of the conformance suite runs after every change."""

import pytest

FAST = "TestMemory"
"""The executor that has all of it among the fast tests."""

LONG = {
    *("test_a_long_chain", "test_a_wide_fan_in", "test_a_wide_fan_out"),
    "test_many_small_runs_leave_nothing_behind_that_stops_the_next",
    *("test_a_run_is_cancelled_when_its_deadline_passes", "test_the_deadline_ends_a_run_that_only_waits"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On the others, what starts processes, has thousands of jobs or waits is slow; the engine is the same."""
    from flows.testing._conformance_process import Processes  # by now pytest has loaded it, in its own way

    for item in items:
        if not isinstance(item, pytest.Function) or item.cls is None or item.cls.__name__ == FAST:
            continue
        if issubclass(item.cls, Processes) and (hasattr(Processes, item.originalname) or item.originalname in LONG):
            item.add_marker(pytest.mark.slow)
