"""Floor: where the handlers of a worker run, whatever run they are of: hands for sync jobs, the loop for async ones.

What is placed stands in ``line``; hands pop one job, run it, and append the outcome to ``done``, where the exchange
finds it. How many hands there are is the monitor's look-out: a handler that blocks while others wait calls for more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._any_attempts import AnyAttempts
from executors._leasing._bell import Bell
from executors._leasing._deadlines import Deadlines
from executors._leasing._gate import Gate
from executors._leasing._lending import Lending
from executors._leasing._line import Lookout, emptied
from executors._leasing._log import say
from executors._leasing._long_tasks import LONG_SECONDS, LongTasks
from executors._leasing._monitor import monitor
from executors._leasing._store_clock import StoreClock
from executors._leasing._strangers import Strangers
from flows._handlers import cancelled_inside, judge_error
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import JobTimeoutError, UnknownTaskError, UnsupportedError

if TYPE_CHECKING:
    from executors._leasing._loop import LoopLine


RUN_CANCELLED: Final = "the run was cancelled"
"""Why a handler is to stop, if not for the worker's sake."""


class Floor:
    """Runs jobs in background threads.

    Args:
        name: The worker's.
        slots: How many handlers at once.
        attempts: Makes the attempts.
        clock: The store's, estimated.
        bell: Rung when there is an outcome.
        on_abandoned: Told how many threads are left behind with handlers that nobody waits for, when that changes.
        rescue_by: Has the store look at overdue runs, by the monotonic clock, and calls something after that.
        may_begin: Asked before each start whether the lease still holds.
        succeed: Has another thread be the exchange, when the one that is has not come back from `lend`.

    Attributes:
        distant: Whether all handlers run elsewhere, so that they are only waited for, on the loop.
        done: Outcomes. Of a handler that was given up there may be two; the first counts.
        taken: How often the outcomes were fetched; for the look-out.
    """

    distant = False

    def __init__(
        self,
        name: str,
        slots: int,
        attempts: AnyAttempts,
        clock: StoreClock,
        bell: Bell,
        on_abandoned: Callable[[int], None],
        rescue_by: Callable[[float, Callable[[], None] | None], None],
        may_begin: Callable[[Grant], bool],
        succeed: Callable[[], None],
    ) -> None:
        self.name = name
        self.slots = slots
        self.clock = clock
        self.done: deque[Settle] = deque()
        self.taken = 0
        self.async_attempt = attempts.make_async
        self._attempts = attempts
        self._bell = bell
        self._line: deque[Grant] = deque()
        self._on_loop: LoopLine | None = None
        self._on_abandoned = on_abandoned
        self._rescue_by = rescue_by
        self._may_begin = may_begin
        self._abandoned = 0
        self._counting = threading.Lock()
        self._long = LongTasks()
        self._lookout = Lookout()
        self._deadlines = Deadlines(self, time.monotonic)
        self._gate = Gate(slots, self._help)
        self._lending = Lending(self._line, self._work, succeed)
        self._strangers = Strangers(name)

    @property
    def active(self) -> int:
        """How many handlers run at the moment, about."""
        return self._gate.hands + (0 if self._on_loop is None else self._on_loop.live)

    @property
    def has_async(self) -> bool:
        """Whether there has been an async job; they have a line of their own."""
        return self._on_loop is not None

    @property
    def has_line(self) -> bool:
        """Whether jobs for threads have not started."""
        return bool(self._line)

    def place(self, grants: Sequence[Grant]) -> None:
        """Put granted jobs in line, async ones on the loop; call hands where it is known that they are needed.

        What no hand is called for is for `lend`.
        """
        line: list[Grant] = []
        on_loop: list[Grant] = []
        apart = False
        for grant in grants:
            if self.is_simple(grant):
                line.append(grant)
                continue
            if grant.run.deadline_at is not None:
                self._rescue_by(self.clock.monotonic(grant.run.deadline_at), None)
            if grant.control:
                line.append(grant)
                apart = apart or grant.fetch is not None
                continue
            try:
                handler = grant.run.handlers[grant.job]
            except (UnknownTaskError, UnsupportedError) as error:
                self.done.append(self._strangers.turned_away(grant, error, self.clock()))
                continue
            (on_loop if handler.is_async or self.distant else line).append(grant)
            apart = apart or _is_apart(grant)
        if on_loop:
            if self._on_loop is None:
                self._on_loop = self.new_line()
            self._on_loop.put(on_loop)
        if line:
            self._line.extend(line)
            long = self._long.waiting(self._line.copy()) if self._long else 0
            if long or apart:
                self._gate.call(max(1, long), self._line)
            if monitor.napping:
                monitor.ring()

    def new_line(self) -> LoopLine:
        """Where async jobs stand in line."""
        from executors._leasing._loop import LoopLine  # asyncio takes long to load

        return LoopLine(self, self.slots)

    def lend(self) -> bool | None:
        """Have the calling thread, the exchange's, run some of the jobs in line, if no hand is at work.

        Returns:
            Whether the caller is still the exchange: False where a job has held it up, and another thread is it now.
            None where hands do the work.
        """
        if not self._gate.enter_alone():
            self._gate.call(1, self._line)
            return None
        return Context().run(self._lend)

    def _lend(self) -> bool:
        if self._lending.run():
            self._gate.leave()
            return True
        self._help()
        return False

    # For `Relay`.

    def enter_alone(self, count: int) -> bool:
        """Whether just *count* jobs stand in line, simple ones, which the calling thread, the exchange's, is to run."""
        line = self._line
        return len(line) == count and all(map(self.is_simple, line.copy())) and self._gate.enter_alone()

    def leave(self) -> None:
        """The calling thread runs jobs no longer."""
        self._gate.leave()

    def is_simple(self, grant: Grant) -> bool:
        """Whether an attempt is a call of a handler here and nothing else, and not known to take long."""
        run: Any = grant.run
        if self.distant or grant.control or grant.suspect or grant.fetch is not None:
            return False
        if not getattr(run, "simple", False):
            return False
        if run.deadline_at is not None or run.tracing is not None or run.rated:
            return False
        return not (self._long and self._long.waiting((grant,)))

    def stand(self, grants: Sequence[Grant]) -> None:
        """Put jobs in line for the calling thread."""
        self._line.extend(grants)

    def run_line(self) -> bool:
        """Run the jobs in line, simple ones, in the calling thread, as `lend` does.

        Returns:
            Whether it is still the exchange: False where a job has held it up, and another thread is it by now.
        """
        if monitor.napping:
            monitor.ring()
        if self._lending.run(self._work_simply):
            return True
        self._help()
        return False

    def _work_simply(self, grant: Grant) -> None:
        """As `_work`, for a simple job."""
        if grant.stop is not None or grant.run.state.cancelling or not self._may_begin(grant):
            now = self.clock()
            self.put(Settle(grant, self.unrun(grant) or End.RELEASED, None, now, now))
            return
        try:
            settle = self._attempts.simply(grant, self.clock.steady())
        except BaseException as error:
            settle = self.struck(grant, error, self.clock())
        self.put(settle)
        self._note(settle)

    def recall(self) -> None:
        """Give back what has not started."""
        now = self.clock()
        recalled = emptied(self._line) + (self._on_loop.recall() if self._on_loop is not None else [])
        self.done.extend([Settle(grant, End.RELEASED, None, now, now) for grant in recalled])

    def tell(self, grants: Iterable[Grant], why: str) -> None:
        """These should stop: async handlers are cancelled, processes told and then killed, threads can ask."""
        grants = tuple(grants)
        stops = self._attempts.stops
        for grant in grants:
            grant.stop = grant.stop or why
            run = stops.get(grant)
            if run is not None:
                run.interrupt()
        if self._on_loop is not None and grants:
            self._on_loop.cancel(grants)

    def tick(self, now: float) -> float | None:
        """The monitor's look: is anything stuck, or out of time?"""
        self._deadlines.expire(now)
        lent_until = self._lending.tick(now)
        if self._line:
            more = self._lookout.more(self.taken, len(self.done))
            if more:
                self._gate.call(self._gate.hands + more, self._line)
            return now + self._lookout.pause
        next_at = self._deadlines.next_at
        return next_at if lent_until is None else lent_until if next_at is None else min(next_at, lent_until)

    def put(self, settle: Settle) -> None:
        """An attempt has ended."""
        self.done.append(settle)
        if self._bell.resting:
            self._bell.ring()

    def _help(self) -> None:
        """A hand's work: run jobs while there are any."""
        line, gate = self._line, self._gate
        while True:
            try:
                grant = line.popleft()
            except IndexError:
                if gate.leave_unless(line):
                    return
            else:
                self._work(grant)

    def _work(self, grant: Grant) -> None:
        """Run one job."""
        run = grant.run
        if grant.stop is not None or run.state.cancelling or not self._may_begin(grant):
            now = self.clock()
            self.put(Settle(grant, self.unrun(grant) or End.RELEASED, None, now, now))
            return
        may_end = run.deadline_at is not None or run.plan.settings[grant.job].timeout is not None
        timed = may_end and not grant.control and self._deadlines.note(grant)
        try:
            settle = self._attempts.make(grant, self.clock.steady())
        except BaseException as error:
            settle = self.struck(grant, error, self.clock())
        if timed and not self._deadlines.met(grant):
            say(logging.INFO, "worker %s: the late result of %s was dropped", self.name, grant.said)
            self._abandon(-1)
            return
        self.put(settle)
        self._note(settle)

    def _note(self, settle: Settle) -> None:
        """See whether the task is one that takes long."""
        grant = settle.grant
        if settle.ended_at - settle.started_at > LONG_SECONDS:
            if self._long.was_long(grant):
                self._gate.call(self._long.waiting(self._line.copy()), self._line)  # placed before it was known
        elif self._long:
            self._long.was_short(grant)

    # What the loop asks of those whose jobs it runs.

    def turn(self) -> None:
        """There are outcomes."""
        self._bell.ring()

    def hand_over(self) -> None:
        """Nothing: who places jobs calls hands for them."""

    def unrun(self, grant: Grant) -> End | None:
        """How a grant ends that is not to begin any more; None if it is."""
        if grant.run.state.cancelling or grant.stop == RUN_CANCELLED:
            return End.CANCELLED
        return None if grant.stop is None and self._may_begin(grant) else End.RELEASED

    def judged(self, grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
        """As `judge_error`, whatever the rules of a user may raise."""
        try:
            return judge_error(grant, error, started_at, ended_at)
        except BaseException as raised:
            return self.struck(grant, raised, started_at)

    def struck(self, grant: Grant, error: BaseException, started_at: float) -> Settle:
        """A handler has raised what is meant for a process: a failure like others, as this one serves others, too."""
        if type(error).__name__ == "CancelledError":  # of asyncio, which this module does not load
            failure = cancelled_inside(error)
        else:
            failure = RuntimeError(f"the handler raised {type(error).__name__}, which would have ended the worker")
            failure.__cause__ = error
        try:
            return judge_error(grant, failure, started_at, self.clock())
        except BaseException:  # of the user's rules
            return FailedSettle(grant, End.FAILED, failure, started_at, self.clock())

    # What deadlines ask of those whose hands they watch.

    def deadline_of(self, grant: Grant) -> float | None:
        """When the run of *grant* is to be cancelled, by the monotonic clock."""
        deadline_at = grant.run.deadline_at
        return None if deadline_at is None else self.clock.monotonic(deadline_at)

    def expire(self, grant: Grant, error: JobTimeoutError, started_at: float, now: float) -> None:
        """A hand is left behind with its attempt, which has failed. It keeps its slot: a thread cannot be stopped."""
        self._abandon(1)
        deadline = self.deadline_of(grant)
        ended_at = self.clock.of(now)
        started_at += ended_at - now
        if deadline is None or now < deadline:
            self._settle(grant, self.judged(grant, error, started_at, ended_at))
        else:  # the run's, which is cancelled first: it knows why
            settle = FailedSettle(grant, End.CANCELLED, error, started_at, ended_at)
            self._rescue_by(deadline, lambda: self._settle(grant, settle))

    def _settle(self, grant: Grant, settle: Settle) -> None:
        if grant.run.tracing is not None:
            grant.run.tracing.ended(settle)
        self.put(settle)

    def _abandon(self, threads: int) -> None:
        """So many more threads are left behind; or have come back."""
        with self._counting:
            self._abandoned += threads
            self._on_abandoned(self._abandoned)


def _is_apart(grant: Grant) -> bool:
    """Whether an attempt waits for more than its handler: for the store, or for a process."""
    run = grant.run
    settings = run.plan.settings[grant.job]
    waits = settings.run_in == "process" or settings.idempotency_key is not None or run.rated
    return waits or grant.fetch is not None
