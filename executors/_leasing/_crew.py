"""Crew: the thread driver of one `WorkerCore`; moves events and effects between the store and those who run handlers.

State and flow. Granted sync jobs stand in the deque ``line``; any *hand* (the caller's thread, threads of `hands`)
pops one, runs it and appends the outcome to the deque ``done``. Whoever is free makes a *turn*: takes the lock, feeds
all outcomes to the core at once and carries out what it asks for, so that a batch of jobs costs one exchange. Async
jobs go to the event loop, which makes turns of its own.

Nobody looks at a clock between jobs. A handler that blocks is noticed by the monitor: no progress since its last tick
and jobs in line means that more hands are needed, first 1, then 2, 4 ... up to the slots. Tasks that took long twice
in a row get hands at once.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING

from executors._leasing._attempts import attempts_of
from executors._leasing._calls import abandoned, exchanged
from executors._leasing._crew_run import CrewRun
from executors._leasing._deadlines import Deadlines
from executors._leasing._gate import Gate
from executors._leasing._line import Lookout, emptied
from executors._leasing._log import say
from executors._leasing._long_tasks import COSTLY_SECONDS, LONG_SECONDS, LongTasks
from executors._leasing._monitor import PAUSE_SECONDS, TICK_SECONDS, monitor
from executors._leasing._starts import telling
from executors._store import Store
from flows._control import control
from flows._handlers import cancelled_inside, judge_error
from flows._verbs import End, Grant, Settle
from flows._worker import Drain, Due, Event, Exchange, Log, Recall, Start, Woken, WorkerCore
from flows.errors import JobTimeoutError

if TYPE_CHECKING:
    from executors._leasing._loop import LoopLine

_COMPLETED = End.COMPLETED


class Crew:
    """Works one run off in this process.

    Args:
        store: Where the run lives; its verbs must be quick, they are called between jobs.
        run: The run.
        slots: How many handlers may run at once.
        name: The worker's name, shown beside attempts.
        on_end: Called once when the run has ended.
    """

    def __init__(self, store: Store, run: CrewRun, *, slots: int, name: str, on_end: Callable[[], None]) -> None:
        self.store, self.clock = store, store.clock
        self.run = run
        self.name = name
        one_line = not (run.has_async and run.has_sync)
        self.core = WorkerCore(slots=slots, run=run, ahead=one_line, costly=run.costly)
        self.done: deque[Settle] = deque()
        self.fallen: BaseException | None = None
        self._line: deque[Grant] = deque()
        self._events: deque[Event] = deque()
        self._opening = run.openings
        self._on_end = on_end
        self._turn_lock, self._close_lock = threading.Lock(), threading.Lock()
        self._turns = 0
        self.interrupted = self._closed = self._tells = self._in_store = False
        self._long, self._long_seconds = LongTasks(), COSTLY_SECONDS if run.costly else LONG_SECONDS
        self._deadlines = Deadlines(self, self.clock)
        self._lookout = Lookout()
        self.gate = Gate(slots, self._help)
        self._attempt, self.async_attempt = attempts_of(self)
        self._control = control if run.writing is None else run.writing.around(control)
        self._on_loop: LoopLine | None = None
        if run.has_async:
            from executors._leasing._loop import LoopLine  # asyncio takes longer to load than most flows to run

            self._on_loop = LoopLine(self, slots, self.store)
        run.interrupters.append(self._interrupt)
        run.wakers.append(self._wake)

    @property
    def over(self) -> bool:
        """Whether the run has ended; if it was reopened since, another crew works on it."""
        return self.run.ended or self.run.openings != self._opening

    def unrun(self, grant: Grant) -> End | None:
        """What becomes of a grant that is not to begin: the run was cancelled; one reopened since is another crew's."""
        return None if not self.interrupted else End.RELEASED if self.over else End.CANCELLED

    def start(self) -> None:
        """Begin in background threads; returns at once, and raises what the store's first answer was, if an error."""
        monitor.watch(self)
        self.turn(Woken())
        if isinstance(self.fallen, Exception):  # what a handler raised that is none is for those who wait
            raise self.fallen
        self.hand_over()

    def lend(self) -> None:
        """Work in the calling thread until the run has ended.

        Raises:
            BaseException: What a handler raised that was meant for the process, or what interrupted this thread; the
                run has been cancelled.
        """
        monitor.watch(self)
        self.gate.enter()
        try:
            # An empty context, as threads have: handlers see the same whoever runs them, and nothing of the caller's.
            Context().run(self._lend)
        except BaseException as error:
            self.fall(error)
        finally:
            self.gate.leave()
            self.turn()
            self.hand_over()
        if self.fallen is not None:
            raise self.fallen

    def _lend(self) -> None:
        line = self._line
        self.turn(Woken())
        while not self.over and self.fallen is None:
            if line:
                try:
                    self._work(line.popleft())
                except IndexError:
                    continue  # another hand was quicker
            elif self.done and not self._in_store:
                self.turn()
            else:
                self.gate.park(self._idle)

    def await_end(self, deadline: float | None) -> bool:
        """As `lend`, but the calling thread only waits, and what interrupts it does not touch the run.

        Args:
            deadline: When to stop waiting, by the store's clock; the crew goes on.

        Returns:
            Whether the run has ended.
        """
        self.start()
        while self._going() and self.gate.wait(self._going, deadline, self.clock):
            pass
        if self.fallen is not None:
            raise self.fallen
        return self.over

    def turn(self, event: Event | None = None) -> None:
        """Feed what has ended to the core and carry out what it wants.

        One thread at a time does so, for all: whoever finds the lock taken leaves its outcome to the one who has it.
        """
        done, events, lock = self.done, self._events, self._turn_lock
        if event is not None:
            events.append(event)
        while (done or events) and lock.acquire(blocking=False):
            try:
                self._turns += 1
                while events:
                    self.core.feed(events.popleft(), self.clock())
                    self._carry_out()
                while done:
                    settles = [done.popleft() for _ in range(len(done))]  # others may add meanwhile, but not take
                    self.core.ended(settles, self.clock())
                    self._carry_out()
            finally:
                lock.release()
            # What came between the last look and the release is still ours to feed: look again.
        if self.over:
            self._close()

    def rouse(self) -> None:
        """Jobs have become ready by what another run did: look for them."""
        with self._turn_lock:  # waited for: who holds it may have looked already
            if not self.run.ended:
                self.core.feed(Woken(), self.clock())
                self._carry_out()
        self.turn()
        self.hand_over()

    def hand_over(self) -> None:
        """See to it that jobs in line have a hand; for those who make turns but run no jobs."""
        if self._line:
            self.gate.call(1, self._line)

    def tick(self, now: float) -> float | None:
        """The monitor's look: is anything stuck, due or out of time?"""
        deadline_at = self.run.deadline_at
        if deadline_at is not None and now >= deadline_at and not self.run.state.cancelling:
            self.store.rescue()
        if self._deadlines.expire(now):
            self.turn()
            self.hand_over()
        wake_at = now if self._events else self.core.wake_at
        if wake_at is not None and now >= wake_at:
            self.turn(Due())
            self.hand_over()
            wake_at = now + TICK_SECONDS if self._events else self.core.wake_at
        if self._line or self.done:
            if self._in_store:  # what takes long is no handler, and more hands would only be in the way
                return now + PAUSE_SECONDS
            more = self._lookout.more(self._turns, len(self.done))  # what has ended, not what was begun
            if more:
                self.turn()
                self.gate.call(self.gate.hands + more, self._line)
            return now + self._lookout.pause
        if deadline_at is not None and self.run.state.cancelling:
            deadline_at = None
        return min((one for one in (wake_at, deadline_at, self._deadlines.next_at) if one is not None), default=None)

    def struck(self, grant: Grant, error: BaseException, started_at: float) -> Settle:
        """A handler has raised what is meant for the process."""
        self.fall(error)
        return Settle(grant, End.RELEASED, None, started_at, self.clock())

    def fall(self, error: BaseException) -> None:
        """Something was raised that is meant for the process: end the run at once and have the caller raise it.

        What was raised may have struck anywhere, so nothing that this crew holds is counted on any more.
        """
        self.fallen = self.fallen or error
        abandoned(self, error)
        self._close()

    def _carry_out(self) -> None:
        core = self.core
        for effect in core.effects():
            if isinstance(effect, Exchange):
                self._in_store = self.run.costly
                reply = exchanged(self, effect)
                self._in_store = False
                if reply is None:
                    return
                core.replied(effect.seq, reply, reply.now)
                if reply.due_at is not None:
                    monitor.ring_before(reply.due_at)
            elif isinstance(effect, Start):
                self._place(effect.grants)
            elif isinstance(effect, Recall):
                now, on_loop = self.clock(), [] if self._on_loop is None else self._on_loop.recall()
                self.done.extend(Settle(grant, End.RELEASED, None, now, now) for grant in emptied(self._line) + on_loop)
            elif isinstance(effect, Log):
                say(logging.getLevelNamesMapping()[effect.level.upper()], "%s: %s", self.name, effect.text)

    def _place(self, grants: list[Grant]) -> None:
        """Put granted jobs in line, async ones on the loop; call hands where it is known that they are needed."""
        handlers = self.run.handlers
        if self.run.rated and not self._tells:
            self._tells = True
            self._attempt = telling(self._attempt, self.store)
        if self._on_loop is not None:
            on_loop = [grant for grant in grants if not grant.control and handlers[grant.job].is_async]
            if on_loop:
                self._on_loop.put(on_loop)
                grants = [grant for grant in grants if grant.control or not handlers[grant.job].is_async]
        if grants:
            self._line.extend(grants)
            if self._long and self._long.waiting(grants):
                # Of all that wait, not only of these: where jobs come one by one, as items of a list with a limit do.
                self.gate.call(self._long.waiting(self._line.copy()), self._line)
            monitor.ring_before(0.0)

    def _help(self) -> None:
        """A hand's work: run jobs while there are any."""
        line = self._line
        while True:
            try:
                grant = line.popleft()
            except IndexError:
                self.turn()
                if not line and self.gate.leave_unless(line):
                    return
            else:
                if not self._work(grant):
                    return

    def _work(self, grant: Grant) -> bool:
        """Run one job, and then those that follow as links of a chain.

        Returns:
            False when the job was given up meanwhile, so that this thread's place has been taken.
        """
        while True:
            if self.interrupted and (unrun := self.unrun(grant)) is not None:
                now = self.clock()
                self.done.append(Settle(grant, unrun, None, now, now))
                return True
            timed = self.run.has_timeout and not grant.control and self._deadlines.note(grant)
            settle = self._settled(grant)
            if timed and not self._deadlines.met(grant):
                say(logging.INFO, "worker %s: the late result of %s was dropped", self.name, grant.said)
                return False
            if settle.ended_at - settle.started_at > self._long_seconds:
                self._took_long(settle)
                return True
            if self._long:
                self._long.was_short(grant)
            following = None if self._line or self.done else self._pass_on(settle)
            if following is None:
                self.done.append(settle)
                return True
            if self._on_loop is not None and self.run.handlers[following.job].is_async:
                self._on_loop.put([following])
                return True
            grant = following

    def _took_long(self, settle: Settle) -> None:
        """Others may wait for this outcome, and jobs of the same task for hands."""
        self.done.append(settle)
        self.turn()
        if self._long.was_long(settle.grant):
            self.gate.call(self._long.waiting(self._line.copy()), self._line)  # placed before it was known

    def _settled(self, grant: Grant) -> Settle:
        """Make the attempt."""
        try:
            return self._control(grant, self.clock) if grant.control else self._attempt(grant, self.clock)
        except BaseException as error:
            now = self.clock()
            if type(error).__name__ == "CancelledError":  # of asyncio, which this module does not load
                return judge_error(grant, cancelled_inside(error), now, now)
            return self.struck(grant, error, now)

    def _pass_on(self, settle: Settle) -> Grant | None:
        """Settle a lone outcome and take up the one job that it released, so that a link of a chain costs no turn.

        Returns:
            That job; None when there is more or less to do than that, and nothing has changed.
        """
        if settle.end is not _COMPLETED or not self._turn_lock.acquire(False):
            return None
        try:
            taken = self.store.pass_on(settle, self.name) if self.core.idle_but_for(1) else None
            if taken is not None:
                self._turns += 1
            return taken
        finally:
            self._turn_lock.release()

    def deadline_of(self, grant: Grant) -> float | None:
        """When the run is to be cancelled."""
        return self.run.deadline_at

    def expire(self, grant: Grant, error: JobTimeoutError, started_at: float, now: float) -> None:
        """A hand is left behind with its attempt, which has failed; its slot is free."""
        settle = self.judged(grant, error, started_at, now)
        if self.run.tracing is not None:
            self.run.tracing.ended(settle)
        self.done.append(settle)
        self.gate.leave()

    def judged(self, grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
        """As `judge_error`, where no hand stands by to take what the rules of a user may raise."""
        try:
            return judge_error(grant, error, started_at, ended_at)
        except BaseException as raised:
            self.fall(raised)
            return Settle(grant, End.RELEASED, None, started_at, ended_at)

    def _wake(self) -> None:
        """Another run has made room: the monitor is to look, as a turn of this run is not the caller's work."""
        self._events.append(Woken())
        monitor.ring()

    def _interrupt(self) -> None:
        """The run was cancelled: handlers on the loop are cancelled, those in threads can ask their context."""
        self.interrupted = True
        if self._on_loop is not None:
            self._on_loop.interrupt()
        self.turn(Woken())
        self.hand_over()

    def _idle(self) -> bool:
        return not self._line and (self._in_store or not self.done) and self._going()

    def _going(self) -> bool:
        return not self.over and self.fallen is None

    def _close(self) -> None:
        monitor.unwatch(self)
        self.gate.open()
        with self._close_lock:
            closed, self._closed = self._closed, True
        if not closed:
            self.turn(Drain())  # if the run is reopened, this crew claims nothing of it
        self.store.close_loop(self.name)
        if not closed:
            self.run.interrupters.remove(self._interrupt)
            self.run.wakers.remove(self._wake)
            self._on_end()
            self.run.notify()
        if self.run.openings != self._opening:
            # Reopened: a last call of this crew may have claimed jobs, given them back and ended the run with that.
            for wake in tuple(self.run.wakers):
                wake()
