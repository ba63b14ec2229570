"""Attempts of a worker that serves any run: each grant is looked at, as no two need be of the same run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from executors._leasing._hands import hands
from executors._leasing._sharing import Sharing
from flows._control import control
from flows._handlers import Clock, perform, perform_async
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from executors._leasing._attempts import AsyncAttempt, Attempt
    from executors._leasing._seats import Seats
    from executors._store import Store

AWAY_SECONDS: Final = 1.0
"""When a job is tried again whose inputs could not be had because the store was away; it costs no attempt."""

_T = TypeVar("_T")


class GrantRun:
    """The run of one grant, as a conversation with a child process sees it: over when the grant is to stop."""

    ended = False

    def __init__(self, grant: Grant) -> None:
        self._grant = grant
        self.interrupters: list[Callable[[], None]] = []

    @property
    def state(self) -> GrantRun:
        """What says whether it is `cancelling`."""
        return self

    @property
    def cancelling(self) -> bool:
        """Whether the handler should stop."""
        return self._grant.stop is not None or self._grant.run.state.cancelling

    def interrupt(self) -> None:
        """Tell the child."""
        for one in tuple(self.interrupters):
            one()


class AnyAttempts:
    """Makes the attempts of one worker.

    Args:
        store: Where the runs live.
        worker: The worker's name.
        seats: How many processes at once.
        over: Set when nothing that is made here counts any more.
    """

    def __init__(self, store: Store, worker: str, seats: Seats, over: threading.Event) -> None:
        self._store = store
        self._worker = worker
        self._seats = seats
        self._over = over
        self._sharing = Sharing(store)
        writing = getattr(store, "writing", None)  # where a store takes nothing but bytes, hands make them
        around: Callable[[Attempt], Attempt] = _as_it_is if writing is None else writing.around
        self._perform, self._control = around(perform), around(control)
        self._in_child = around(self._in_process)
        self._perform_async: AsyncAttempt = perform_async if writing is None else writing.around_async(perform_async)
        self.stops: dict[Grant, GrantRun] = {}
        """The attempts in child processes, to be told when they are to stop."""

    def make(self, grant: Grant, clock: Clock) -> Settle:
        """One attempt in this thread.

        Raises:
            BaseException: What a handler raised that is meant for a process.
        """
        run = grant.run
        try:
            if grant.fetch is not None:
                grant.fetch()
            if grant.control:
                return self._looked_at(grant, clock)
            settings = run.plan.settings[grant.job]
            plain = settings.run_in != "process" and settings.idempotency_key is None
            if plain and run.tracing is None and not run.rated:
                return self._perform(grant, clock)
            return self._special(grant, clock)
        except UnavailableError:
            return _away(grant, clock)

    def simply(self, grant: Grant, clock: Clock) -> Settle:
        """As `make`, where the attempt is a call of a handler and nothing else."""
        return self._perform(grant, clock)

    async def make_async(self, grant: Grant, clock: Clock) -> Settle:
        """One attempt as a task on the loop; what may block goes to a thread."""
        run = grant.run
        try:
            if grant.fetch is not None:
                await aside(grant.fetch)
            attempt = self._perform_async
            if run.tracing is not None:
                attempt = run.tracing.around_async(attempt, self._worker)
            if run.plan.settings[grant.job].idempotency_key is not None:
                ended = await aside(lambda: self._sharing.before(grant, clock))
                if ended is not None:
                    return ended
            if run.rated:
                clock = _first(await aside(lambda: self._store.began(grant)), clock)
            settle = await attempt(grant, clock)
            if settle.end is End.COMPLETED and run.plan.settings[grant.job].idempotency_key is not None:
                settle = await aside(lambda: self._filed(settle))
            return settle
        except UnavailableError:
            return _away(grant, clock)

    def _special(self, grant: Grant, clock: Clock) -> Settle:
        run = grant.run
        settings = run.plan.settings[grant.job]
        attempt = self._in_child if settings.run_in == "process" else self._perform
        if run.tracing is not None:
            attempt = run.tracing.around(attempt, self._worker)
        shares = settings.idempotency_key is not None
        if shares:
            ended = self._sharing.before(grant, clock)
            if ended is not None:
                return ended
        if run.rated:
            clock = _first(self._store.began(grant), clock)
        settle = attempt(grant, clock)
        return self._filed(settle) if shares else settle

    def _looked_at(self, grant: Grant, clock: Clock) -> Settle:
        """A control job; what it reads may be in a store that is away just now, and that is no fault of the flow's."""
        settle = self._control(grant, clock)
        return _away(grant, clock) if isinstance(settle.error, UnavailableError) else settle

    def _in_process(self, grant: Grant, clock: Clock) -> Settle:
        from executors._leasing._process_attempts import ProcessAttempts  # it loads what most workers do not need

        run = self.stops[grant] = GrantRun(grant)
        try:
            return ProcessAttempts(run, self._worker, self._seats)(grant, clock)
        finally:
            del self.stops[grant]

    def _filed(self, settle: Settle) -> Settle:
        """File a result that others share. The effect has been made: where the store is away, it is waited for."""
        while True:
            try:
                return self._sharing.after(settle)
            except UnavailableError:
                if settle.grant.stop is not None or self._over.wait(AWAY_SECONDS):
                    return settle


async def aside(work: Callable[[], _T]) -> _T:
    """Have *work*, which may block, done by a thread; awaited on the loop."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            result = work()
        except Exception as error:
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    hands.run(run)
    return await done


def _as_it_is(attempt: Attempt) -> Attempt:
    return attempt


def _away(grant: Grant, clock: Clock) -> Settle:
    now = clock()
    return FailedSettle(grant, End.RELEASED, None, now, now, AWAY_SECONDS)


def _first(instant: float, clock: Clock) -> Clock:
    """A clock that begins at *instant*, the start as the store has counted it, and goes on exactly from there."""
    ahead, instants = instant - clock(), [instant]
    return lambda: instants.pop() if instants else clock() + ahead
