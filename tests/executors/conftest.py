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
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> list[pytest.Item] | None:
    """What is slow is not even made an item where nobody asks for it: there are two thousand of them."""
    cls = collector.obj if isinstance(collector, pytest.Class) else None
    passed_over = collector.config.option.markexpr == "not slow" and cls is not None and is_slow(cls, obj)
    return [] if passed_over else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and item.cls is not None and is_slow(item.cls, item.function):
            item.add_marker(pytest.mark.slow)


def is_slow(cls: type, test: object) -> bool:
    """Whether a class's test is one of the suite that does not run after every change."""
    name = getattr(test, "__name__", "")
    if not issubclass(cls, Suite) or not name.startswith("test_"):
        return False
    if cls.__name__ == WHOLE:
        return name in SLOW
    return getattr(test, "__module__", "") not in TOPICS or name in LONG | SLOW
