"""What of the conformance suite runs after every change."""

import pytest

from flows.testing._conformance_kit import Suite

WHOLE = "TestMemory"
"""The executor that has all of it among the fast tests."""

TOPICS = {"flows.testing._conformance_order", "flows.testing._conformance_keys"}
"""What the others have there: stores differ in what they keep, the engine that works it off is the same."""

SLOW = {"test_a_handler_that_always_kills_its_process_fails", "test_a_handler_that_takes_too_long_is_killed"}
"""What is slow whoever does it."""

LONG = {
    *("test_a_long_chain", "test_a_wide_fan_in", "test_a_wide_fan_out"),
    "test_many_small_runs_leave_nothing_behind_that_stops_the_next",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or item.cls is None:
            continue
        if item.cls.__name__ == WHOLE and item.originalname not in SLOW:
            continue
        if issubclass(item.cls, Suite) and (item.function.__module__ not in TOPICS or item.originalname in LONG | SLOW):
            item.add_marker(pytest.mark.slow)
