"""PoolExecutor: the ground for executors over something that runs calls by itself: a pool, a cluster, a service.

Runs live in this process's memory and are decided there; only how one attempt is made is the subclass's. Strangers may
build on it: see the page on executors.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from typing import Any, ClassVar

from executors._leasing import Crew
from executors._leasing._attempts import attempts_of
from executors.memory import MemoryExecutor, MemoryRun
from executors.memory._executor import tasks_of
from flows import _handlers
from flows._bodies import bodies_of
from flows._handlers import Clock, Handler
from flows._plan import Plan
from flows._verbs import Grant, Settle
from flows.errors import UnsupportedError
from flows.executor import RunOptions

__all__ = ["Clock", "Grant", "PoolExecutor", "Settle", "call_for", "perform_async"]

perform_async = _handlers.perform_async


def call_for(grant: Grant, clock: Clock) -> Callable[[], Settle]:
    """What makes an attempt with a sync handler, in whatever thread it is called; that thread's context is not seen."""
    return functools.partial(copy_context().run, _handlers.perform, grant, clock)


class PoolHandler(Handler):
    """A handler that is only waited for here, so for the crew it is an async one."""

    __slots__ = ("awaits",)

    def __init__(self, task: Any) -> None:
        super().__init__(task)
        self.awaits, self.is_async = self.is_async, True


class PoolExecutor(MemoryExecutor):
    """Runs whose attempts are made by `attempt`.

    Args:
        slots: How many attempts of a run may be under way at once.

    Attributes:
        lacks: Which of the capabilities ``limits``, ``process`` and ``timeouts`` there are not; flows that ask for them
            are refused. ``process`` is always among them.
    """

    lacks: ClassVar[frozenset[str]] = frozenset({"process"})

    def __init__(self, slots: int) -> None:
        super().__init__("memory://?private=1")
        self.slots = slots

    @abstractmethod
    async def attempt(self, grant: Grant, clock: Clock) -> Settle:
        """Make one attempt, from grant to settle; called on an event loop, which is not to be blocked.

        It is cancelled when the run is, or when the attempt has run out of time, and may then still settle.
        """

    @staticmethod
    def awaits(grant: Grant) -> bool:
        """Whether the handler of an attempt is an async one."""
        handler = grant.run.handlers[grant.job]
        return isinstance(handler, PoolHandler) and handler.awaits

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
        """Accept a run: all of it or, if this raises, nothing.

        Raises:
            UnsupportedError: The flow asks for something that there is not here.
        """
        for capability, spot in _asked(plan, options):
            if capability in self.lacks | {"process"}:
                raise UnsupportedError(f"{spot}: {type(self).__name__} has no {capability}")
        return super().submit(plan, options, background=background)

    def handlers(self, plan: Plan[Any]) -> Sequence[Handler]:
        """The handler of each job."""
        tasks = tasks_of(plan)
        made = {task: PoolHandler(task) for task in dict.fromkeys(tasks)}
        return [made[task] for task in tasks]

    @property
    def crew_type(self) -> Callable[..., Crew]:  # type: ignore[override]
        """Who works a run off."""
        return self._new_crew

    def _new_crew(self, store: Any, run: MemoryRun, **options: Any) -> Crew:
        crew = Crew(store, run, **options)
        _, crew.async_attempt = attempts_of(crew, self.attempt)
        return crew


def _asked(plan: Plan[Any], options: RunOptions) -> Iterator[tuple[str, str]]:
    """The capabilities that a run needs, and what needs them."""
    for queue, limits in plan.limits.items():
        if limits != (None, None):
            yield "limits", f"queue {queue!r}"
    if options.timeout is not None:
        yield "timeouts", "the run"
    for part in (plan, *[body.plan for body in bodies_of(plan)]):
        for settings, job_id in zip(part.settings, part.ids, strict=True):
            if settings.run_in == "process":
                yield "process", f"job {job_id!r}"
            if settings.timeout is not None:
                yield "timeouts", f"job {job_id!r}"
