"""What of the conformance suite runs after every change."""

import pytest

FAST = "TestMemory"
"""The executor that has all of it among the fast tests."""

LARGE = ("test_a_long_chain", "test_a_wide_fan_in", "test_a_wide_fan_out")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On the others, what starts processes or has thousands of jobs is slow; the engine is the same."""
    from flows.testing._conformance_process import Processes  # by now pytest has loaded it, in its own way

    for item in items:
        if not isinstance(item, pytest.Function) or item.cls is None or item.cls.__name__ == FAST:
            continue
        if issubclass(item.cls, Processes) and (hasattr(Processes, item.originalname) or item.originalname in LARGE):
            item.add_marker(pytest.mark.slow)
