"""Solo: a small run worked off by its caller alone, a job after another, for as long as that goes well.

A crew costs a run of four jobs more than the jobs do. Here the caller's thread asks the store for a job, runs it, and
settles it with the same call that claims the next. The monitor looks on: a handler that takes long while others wait
brings a crew, which takes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol

from executors._leasing._monitor import TICK_SECONDS, monitor
from flows._handlers import cancelled_inside, judge_error, outcome_of
from flows._verbs import End, Grant, Settle

if TYPE_CHECKING:
    from executors._leasing._crew import Crew

SOLO_JOBS: Final = 24
"""Runs up to this size are begun alone; in larger ones a crew's batches pay."""


class Stepping(Protocol):
    """A store in whose runs one job after another can be settled and claimed; see `executors.memory.MemoryStore`."""

    @property
    def clock(self) -> Callable[[], float]: ...
    def step(self, run: Any, settle: Settle | None, worker: str, /) -> Grant | None: ...
    def complete(self, grant: Grant, value: Any, ended_at: float, worker: str, /) -> Grant | None: ...
    def abandon(self, run: Any, reason: str, /) -> None: ...


class Solo:
    """Works one run off in the calling thread.

    Args:
        store: Where the run lives.
        run: The run; it has no async jobs, timeouts, limits, or attempts that are more than a call.
        name: The worker's name, shown beside attempts.
        crew: Makes the run's crew when there is work for more than one.
    """

    __slots__ = ("_crew", "_mark", "_name", "_run", "_store")

    def __init__(self, store: Stepping, run: Any, name: str, crew: Callable[[], Crew]) -> None:
        self._store = store
        self._run = run
        self._name = name
        self._crew: Callable[[], Crew] = crew
        self._mark = -1

    def work(self) -> None:
        """Run jobs until none waits at the moment, or the run has ended.

        Raises:
            BaseException: What a handler raised that was meant for the process, or what interrupted this thread; the
                run has been ended.
        """
        monitor.watch(self)
        try:
            Context().run(self._work)
        except BaseException as error:
            self._store.abandon(self._run, f"{type(error).__name__} was raised")
            raise
        finally:
            monitor.unwatch(self)

    def tick(self, now: float) -> float:
        """The monitor's look: has the same job been running since the last one, while others wait?"""
        turn = self._run.state.turn
        if self._mark == turn and any(lane.jobs for lane in self._run.lanes):
            monitor.unwatch(self)
            self._crew().start()
        self._mark = turn
        return now + TICK_SECONDS

    def _work(self) -> None:
        run, name, complete, clock = self._run, self._name, self._store.complete, self._store.clock
        state = run.state
        grant = self._store.step(run, None, name)
        while grant is not None:
            if state.cancelling:
                now = clock()
                grant = self._store.step(run, Settle(grant, End.CANCELLED, None, now, now), name)
                continue
            try:
                value = outcome_of(grant)
            except BaseException as error:
                grant = self._store.step(run, self._judged(grant, error), name)
            else:
                grant = complete(grant, value, clock(), name)

    def _judged(self, grant: Grant, error: BaseException) -> Settle:
        if not isinstance(error, Exception):
            if type(error).__name__ != "CancelledError":  # of asyncio, which this module does not load
                raise error
            error = cancelled_inside(error)
        return judge_error(grant, error, self._run.started[grant.job], self._store.clock())
