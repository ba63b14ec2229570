"""What of the conformance suite runs after every change."""

import pytest

from flows.testing._conformance_kit import Suite

WHOLE = "TestMemory"
"""The executor that has all of it among the fast tests."""

TOPICS = {"flows.testing._conformance_order", "flows.testing._conformance_keys"}
"""What the others have there: stores differ in what they keep, the engine that works it off is the same."""

LONG = {"test_a_long_chain", "test_a_wide_fan_in", "test_a_wide_fan_out"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or item.cls is None or item.cls.__name__ == WHOLE:
            continue
        if issubclass(item.cls, Suite) and (item.function.__module__ not in TOPICS or item.originalname in LONG):
            item.add_marker(pytest.mark.slow)
