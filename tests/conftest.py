"""Hypothesis profiles; nothing else.

`HYPOTHESIS_PROFILE` chooses one. Without it: `ci` where the variable CI is set, else `dev`.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from flows import _registry

# No deadline: on a busy machine it fails tests that are right. A failure prints the line that repeats it.
settings.register_profile("dev", deadline=None, print_blob=True, max_examples=50)
# The same examples every time: a change is not held up by a fault found somewhere else by luck.
settings.register_profile("ci", deadline=None, print_blob=True, max_examples=200, derandomize=True)
settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(autouse=True)
def _tasks_of_this_test_only() -> Iterator[None]:
    """Task names are the process's: those that a test registers go with it, so that files may use the same names."""
    before = {name: dict(named) for name, named in _registry._tasks.items()}
    yield
    _registry._tasks.clear()
    _registry._tasks.update(before)
