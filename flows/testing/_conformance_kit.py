"""What the parts of the conformance suite share: which tests apply to an executor, and a few words for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

import pytest

import flows
from flows import _registry
from flows.executor import Executor

Where = Executor | str
"""What a test runs its flows on: an executor or its URL."""

QUEUE: Final = "conformance"
"""The queue of the suite's tasks: on one of their own they cannot clash with those of the project under test."""

SOON: Final = 20.0
"""Seconds after which a test that waits for another thread gives up; never reached where all is well."""

PAUSE: Final = 0.03
"""Seconds of waits and timeouts: long enough to be told from none, short enough to be waited for."""

CAPABILITIES: Final = frozenset(
    {
        "cancel",
        "delays",
        "embedded",
        "events",
        "keys",
        "lifo",
        "limits",
        "operating",
        "priorities",
        "process",
        "sharing",
        "timeouts",
    }
)

_DERIVED: Final = frozenset({"overlap", "one at a time"})

_Test = TypeVar("_Test", bound=Callable[..., Any])


def needs(*capabilities: str) -> Callable[[_Test], _Test]:
    """The test applies to executors that have all of *capabilities*."""
    return _marked("needs", capabilities)


def lacks(capability: str) -> Callable[[_Test], _Test]:
    """The test applies to executors without *capability*."""
    return _marked("lacks", (capability,))


def _marked(mark: str, capabilities: tuple[str, ...]) -> Callable[[_Test], _Test]:
    unknown = set(capabilities) - CAPABILITIES - _DERIVED
    if unknown:
        raise TypeError(f"no such capability: {', '.join(sorted(unknown))}")

    def mark_test(test: _Test) -> _Test:
        setattr(test, f"conformance_{mark}", frozenset(capabilities))
        return test

    return mark_test


class Suite:
    """The ground of each part of the suite: the fixture to be given, and the choice of the tests that apply.

    Attributes:
        capabilities: What the executor can do beyond the ground that all of them share.
        concurrency: How many handlers the executor of the fixture runs at once.
        wide: Jobs of a wide or long flow: far above any batch, chunk or recursion limit.
        pause: Seconds in which a job that is ready has ended, however busy the machine is.
    """

    capabilities: ClassVar[frozenset[str]] = CAPABILITIES
    concurrency: ClassVar[int] = 32
    wide: ClassVar[int] = 10_000
    pause: ClassVar[float] = PAUSE

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = cls.capabilities - CAPABILITIES
        if unknown:
            raise TypeError(
                f"{cls.__name__}.capabilities has {', '.join(sorted(unknown))}; "
                f"there are {', '.join(sorted(CAPABILITIES))}"
            )
        has = cls.capabilities | {"one at a time" if cls.concurrency == 1 else "overlap"}
        for name, test in _tests_above(cls).items():
            wanted: frozenset[str] = getattr(test, "conformance_needs", frozenset())
            unwanted: frozenset[str] = getattr(test, "conformance_lacks", frozenset())
            # Not skipped: what does not apply is no test of this executor, and pytest collects no None.
            setattr(cls, name, test if wanted <= has and not unwanted & has else None)

    @pytest.fixture
    def executor(self) -> Where:
        """A fresh executor, or the URL of one: nothing that another test did may show in it."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `executor` that gives a fresh executor")


def _tests_above(cls: type) -> dict[str, Any]:
    """The marked tests that *cls* inherits and does not define, or switch off, itself."""
    found: dict[str, Any] = {}
    for ancestor in cls.__mro__[1:]:
        for name, value in vars(ancestor).items():
            if name not in vars(cls) and (hasattr(value, "conformance_needs") or hasattr(value, "conformance_lacks")):
                found.setdefault(name, value)
    return found


class Oops(Exception):
    """What handlers raise that are meant to fail."""


def failing(name: str = "broken", **options: Any) -> flows.Task[..., Any]:
    """A task that raises `Oops` whenever it is run. Its name is its own: stored jobs find their tasks by name."""
    spare = (name, *(f"{name}-{number}" for number in range(2, 100)))
    named = next(one for one in spare if (found := _registry.find(one, QUEUE)) is None or found.queue != QUEUE)

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise Oops(f"{name} is broken")

    return flows.task(broken, name=named, queue=QUEUE, **options)


def states(run: flows.Run[Any]) -> dict[str, str]:
    """The state of each job by its id."""
    return {job_id: view.state for job_id, view in run.jobs.items()}
