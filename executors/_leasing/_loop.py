"""The event loop that async handlers run on: one thread a process, real tasks.

`loop_thread` is that loop. A crew or a worker puts grants on its line of async jobs; each becomes a task on the loop,
whose outcome goes back to whoever gave it. Cancelling is asyncio's; a task that does not end in its grace is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Final, Protocol

from executors._leasing._attempts import AsyncAttempt
from executors._leasing._line import emptied
from executors._leasing._log import say
from executors._leasing._starts import starting
from executors._leasing._store_clock import StoreClock
from flows._handlers import Clock, cancelled_inside, judge_error
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import JobTimeoutError

if TYPE_CHECKING:
    from executors._store import Store

GRACE_SECONDS: Final = 5.0
"""How long a handler that was cancelled may take to end before it is given up."""


class LoopThread:
    """An event loop in a daemon thread of its own, started when first needed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()
        self.blocked_on: str | None = None
        """The id of the run that an async handler holds this loop up to wait for."""

    def call(self, callback: Callable[[], object]) -> None:
        """Have *callback* called on the loop soon. Thread-safe."""
        if self._loop is None:
            with self._starting:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    threading.Thread(target=self._run, args=(loop,), name="flows-loop", daemon=True).start()
                    self._loop = loop
        self._loop.call_soon_threadsafe(callback, context=Context())  # not the caller's: handlers would see it

    def runs_here(self) -> bool:
        """Whether the calling thread is the one that this loop runs in: to block it is to block all async handlers."""
        return self._loop is not None and asyncio._get_running_loop() is self._loop

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while True:
            try:
                loop.run_forever()
            except BaseException:  # raised in a task that a handler left to itself; other runs need the loop
                say(logging.ERROR, "a task of a handler raised what stops an event loop; it goes on", exc_info=True)


loop_thread = LoopThread()


class Foreman(Protocol):
    """Who has async jobs run on the loop. All of this is called on the loop, and quick.

    Attributes:
        done: Where outcomes go.
        clock: By which attempts are timed.
        async_attempt: Makes one.
    """

    @property
    def done(self) -> deque[Settle]: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def async_attempt(self) -> AsyncAttempt: ...

    def unrun(self, grant: Grant) -> End | None:
        """How a grant ends that is not to begin any more; None if it is."""
        ...

    def judged(self, grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
        """What becomes of a failed attempt."""
        ...

    def struck(self, grant: Grant, error: BaseException, started_at: float) -> Settle:
        """A handler has raised what is meant for the process."""
        ...

    def turn(self) -> None:
        """There are outcomes."""
        ...

    def hand_over(self) -> None:
        """The turn may have put jobs in line for threads."""
        ...


class LoopLine:
    """The async jobs of one crew: in line, and live on the loop.

    Args:
        crew: Whose they are.
        slots: How many may be live.
        told: The store that is told of starts, where the attempts do not do that themselves.
    """

    def __init__(self, crew: Foreman, slots: int, told: Store | None = None) -> None:
        self._crew = crew
        self._told = told
        clock = crew.clock
        self._steady = clock.steady if isinstance(clock, StoreClock) else None
        self._slots = slots
        self._line: deque[Grant] = deque()
        self._live: dict[Grant, asyncio.Future[None]] = {}
        self._called = False
        self._turning = False

    def put(self, grants: list[Grant]) -> None:
        """Run these as soon as there are slots. Thread-safe."""
        self._line.extend(grants)
        if not self._called:
            self._called = True
            loop_thread.call(self._pump)

    def recall(self) -> list[Grant]:
        """Take out those that have not started. Thread-safe."""
        return emptied(self._line)

    @property
    def live(self) -> int:
        """How many handlers are live."""
        return len(self._live)

    def interrupt(self) -> None:
        """Cancel all live handlers: the run was cancelled. Thread-safe."""
        if self._live or self._line or self._called:
            loop_thread.call(self._cancel_live)

    def cancel(self, grants: Iterable[Grant]) -> None:
        """Cancel the live handlers of these, which have been told why. Thread-safe."""
        loop_thread.call(functools.partial(self._cancel_soon, tuple(grants)))

    def _cancel_live(self) -> None:
        for grant in self._live:
            grant.stop = grant.stop or "the run was cancelled"
        self._cancel_soon(tuple(self._live))

    def _cancel_soon(self, grants: tuple[Grant, ...]) -> None:
        # A task that is cancelled before its first step never runs at all, and its job would never be settled: those
        # just made take that step first, and see that they need not begin.
        asyncio.get_running_loop().call_soon(self._cancel_tasks, grants)

    def _cancel_tasks(self, grants: tuple[Grant, ...]) -> None:
        for grant in grants:
            task = self._live.get(grant)
            if task is not None:
                task.cancel()

    def _pump(self) -> None:
        self._called = False
        loop = asyncio.get_running_loop()
        while self._line and len(self._live) < self._slots:
            try:
                grant = self._line.popleft()
            except IndexError:
                break
            unrun = self._crew.unrun(grant)
            if unrun is not None:
                now = self._crew.clock()
                self._live[grant] = loop.create_future()
                self._finish(grant, Settle(grant, unrun, None, now, now))
                continue
            timeout = grant.run.plan.settings[grant.job].timeout
            attempt = self._attend(grant) if timeout is None else self._attend_timed(grant, timeout)
            task = self._live[grant] = loop.create_task(attempt)
            task.add_done_callback(functools.partial(self._check_settled, grant))

    def _check_settled(self, grant: Grant, task: asyncio.Future[None]) -> None:
        """A task that somebody cancelled before its first step, or amid its last, has settled nothing itself."""
        if self._live.get(grant) is task:
            now = self._crew.clock()
            self._finish(grant, self._crew.judged(grant, cancelled_inside(None), now, now))

    async def _attend(self, grant: Grant) -> None:
        self._finish(grant, await self._attempt(grant))

    async def _attempt(self, grant: Grant) -> Settle:
        crew, clock = self._crew, self._crew.clock if self._steady is None else self._steady()
        task = asyncio.current_task()
        started_at = clock()
        if grant.run.state.cancelling:
            return Settle(grant, End.CANCELLED, None, started_at, started_at)
        try:
            return await crew.async_attempt(
                grant, clock if self._told is None else self._begun(grant, self._told, clock)
            )
        except asyncio.CancelledError as error:
            if grant.stop is not None:
                return FailedSettle(grant, End.CANCELLED, error, started_at, clock())
            return judge_error(grant, cancelled_inside(error), started_at, clock())
        except BaseException as error:
            if isinstance(error, GeneratorExit) and not _steps(task):
                raise  # a task that was given up is collected, in whatever thread and under whatever lock
            return crew.struck(grant, error, started_at)

    def _begun(self, grant: Grant, store: Store, clock: Clock) -> Clock:
        return starting(store, grant, clock) if grant.run.rated else clock

    async def _attend_timed(self, grant: Grant, timeout: float) -> None:
        """As `_attend`, with an inner task that can be given up if it will not be cancelled."""
        clock = self._crew.clock if self._steady is None else self._steady()
        started_at = clock()
        inner = asyncio.get_running_loop().create_task(self._attempt(grant))
        with contextlib.suppress(asyncio.CancelledError):  # the run was cancelled
            await asyncio.wait((inner,), timeout=timeout)
        name = grant.run.plan.ids[grant.job]
        timed_out = not inner.done() and grant.stop is None
        if not inner.done():
            grant.stop = grant.stop or "the attempt timed out"
            await _stop(inner)
        if inner.done() and not timed_out:
            self._finish(grant, inner.result())
            return
        if not inner.done():
            say(
                logging.WARNING,
                "job %r does not end though it was cancelled; it is given up and its result will be dropped",
                name,
            )
        error = JobTimeoutError(f"timeout of {timeout:g} s passed", job=name)
        self._finish(grant, self._crew.judged(grant, error, started_at, clock()))

    def _finish(self, grant: Grant, settle: Settle) -> None:
        del self._live[grant]
        if grant.run.tracing is not None:
            grant.run.tracing.ended(settle)  # before others can see that the job has ended: they will link to its span
        self._crew.done.append(settle)
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn, context=Context())  # not the handler's

    def _turn(self) -> None:
        """Once for all handlers that ended in this round of the loop."""
        self._turning = False
        self._crew.turn()
        self._crew.hand_over()
        self._pump()


async def _stop(attempt: asyncio.Task[Settle]) -> None:
    """Cancel an attempt and give it its grace; being cancelled meanwhile, with the run, ends the grace."""
    attempt.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait((attempt,), timeout=GRACE_SECONDS)


def _steps(task: asyncio.Task[object] | None) -> bool:
    """Whether *task* is at a step of its own at this moment, in this thread."""
    return asyncio._get_running_loop() is not None and asyncio.current_task() is task


def _after_fork() -> None:
    loop_thread.__init__()  # type: ignore[misc]  # its thread does not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
