"""Hypothesis profiles, and what holds for every test.

`HYPOTHESIS_PROFILE` chooses one. Without it: `ci` where the variable CI is set, else `dev`.
"""

import functools
import gc
import inspect
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

import flows
from flows import _registry
from flows._context import current_grant
from flows._verbs import Grant

# No deadline, and no look at how long examples take to be made: on a busy machine both fail tests that are right. A
# failure prints the line that repeats it.
PATIENT = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("dev", PATIENT, max_examples=50)
# After every change: `make test-fast`. What it misses, `make test` and the others look for.
settings.register_profile("fast", PATIENT, max_examples=10, derandomize=bool(os.environ.get("CI")))
# The same examples every time: a change is not held up by a fault found somewhere else by luck.
settings.register_profile("ci", PATIENT, max_examples=200, derandomize=True)
settings.register_profile("nightly", PATIENT, max_examples=5_000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev")
settings.load_profile(PROFILE)

if PROFILE in ("ci", "fast"):
    # Hypothesis tries the constants of those of our modules that are loaded by then: other ones in each process, which
    # have no place where examples are to be the same, and to find them takes seconds.
    providers._get_local_constants = Constants


WHOLLY_SLOW = re.compile(r"^pytestmark = \[?pytest\.mark\.slow", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which no test is asked for are not even loaded: what they import takes seconds."""
    asked = config.option.markexpr
    if asked not in ("not slow", "alone") or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text("utf-8")
    return ("mark.alone" not in text if asked == "alone" else WHOLLY_SLOW.search(text) is not None) or None


def pytest_collection_finish() -> None:
    """What is there before the first test stays: no collection of garbage, asked for or not, looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def same_examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A property without chance (`derandomize`) has the same examples whatever else has been loaded, as in CI."""
    monkeypatch.setattr(providers, "_get_local_constants", Constants)
    providers.CONSTANTS_CACHE.cache.clear()
    yield
    providers.CONSTANTS_CACHE.cache.clear()


@pytest.fixture(autouse=True)
def _tasks_of_this_test_only(request: pytest.FixtureRequest) -> Iterator[None]:
    """Task names are the process's. A test sees those of its own file and of shared ones, and leaves none behind."""
    before = dict(_registry._tasks)
    here = str(request.path)
    _registry._tasks.clear()
    for name, named in before.items():
        seen = {queue: task for queue, task in named.items() if not _is_of_another_test_file(task, here)}
        if seen:
            _registry._tasks[name] = seen
    yield
    _registry._tasks.clear()
    _registry._tasks.update(before)


@pytest.fixture(autouse=True)
def _no_job_goes_on_in_the_test_s_own_context() -> Iterator[None]:
    """Who performs an attempt gives it a context of its own, or the next test is taken for that job's handler."""
    yield
    left = current_grant.get(None)
    if left is not None:
        current_grant.set(cast("Grant", None))
        raise AssertionError(f"{left!r} was performed in the context of the test")


def _is_of_another_test_file(task: flows.Task[..., object], here: str) -> bool:
    file = _file_of(task)
    return file is not None and file != here


@functools.cache
def _file_of(task: flows.Task[..., object]) -> str | None:
    """The test file that a task is defined in; None for those of shared files."""
    code = getattr(inspect.unwrap(task.fn), "__code__", None)
    file = Path(code.co_filename) if code is not None else Path()
    return str(file) if file.name.startswith("test_") else None
