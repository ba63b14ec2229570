"""Solo: a small run worked off by its caller alone, a job after another, for as long as that goes well.

A crew costs a run of four jobs more than the jobs do. Here the caller's thread asks the store for a job, runs it, and
settles it with the same call that claims the next. The monitor looks on: a handler that takes long while others wait
brings a crew, which takes the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._monitor import TICK_SECONDS, monitor
from flows._handlers import cancelled_inside, judge_error, perform
from flows._verbs import End, Settle

if TYPE_CHECKING:
    from executors._leasing._crew import Crew
    from executors._store import Store

SOLO_JOBS: Final = 24
"""Runs up to this size are begun alone; in larger ones a crew's batches pay."""


class Solo:
    """Works one run off in the calling thread.

    Args:
        store: Where the run lives.
        run: The run; it has no async jobs, timeouts, limits, or attempts that are more than a call.
        name: The worker's name, shown beside attempts.
        crew: Makes the run's crew when there is work for more than one.
    """

    __slots__ = ("_crew", "_mark", "_name", "_run", "_steps", "_store")

    def __init__(self, store: Store, run: Any, name: str, crew: Callable[[], Crew]) -> None:
        self._store = store
        self._run = run
        self._name = name
        self._crew: Callable[[], Crew] = crew
        self._steps = 0
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
        if self._mark == self._steps and any(lane.jobs for lane in self._run.lanes):
            monitor.unwatch(self)
            self._crew().start()
        self._mark = self._steps
        return now + TICK_SECONDS

    def _work(self) -> None:
        run, name, step, clock = self._run, self._name, self._store.step, self._store.clock
        state = run.state
        grant = step(run, None, name)
        while grant is not None:
            if state.cancelling:
                now = clock()
                settle = Settle(grant, End.CANCELLED, None, now, now)
            else:
                try:
                    settle = perform(grant, clock)
                except BaseException as error:
                    if type(error).__name__ != "CancelledError":  # of asyncio, which this module does not load
                        raise
                    now = clock()
                    settle = judge_error(grant, cancelled_inside(error), now, now)
            self._steps += 1
            grant = step(run, settle, name)
