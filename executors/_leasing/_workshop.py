"""Workshop: the thread driver of a worker that serves any run of a store, near or far.

State and flow. One thread, the *exchange*, owns the `WorkerCore`: it alone feeds it and calls ``store.exchange``, so
that no handler waits for the network. Handlers run on the *floor*. Outcomes that have gathered there while a call was
under way are settled by the next call, together with what is claimed: early outcomes of a batch do not wait for its
slowest job. Short jobs are run by the exchange's thread itself, while the store works on a call where there is one; if
one of them turns out to be long, another thread becomes the exchange. A second thread, the *keeper*, extends leases and
looks after those of dead workers. With nothing to do, all of them rest until the store, which is listened to, has
something.

Each grant is *held* until its outcome is taken from ``done``, once: what a handler that was given up brings later is
dropped here. Then it is *settling* until the store has answered. Leases of both are kept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from executors._leasing._any_attempts import AnyAttempts
from executors._leasing._bell import Bell
from executors._leasing._ending import Ending, reconsidered
from executors._leasing._floor import RUN_CANCELLED, Floor
from executors._leasing._hands import hands
from executors._leasing._lease_keeper import LeaseKeeper
from executors._leasing._log import say
from executors._leasing._monitor import monitor
from executors._leasing._relay import Relay
from executors._leasing._reports import Reports
from executors._leasing._seats import Seats
from executors._leasing._store_clock import StoreClock
from executors._store import Flight, Store
from flows._typeset import count
from flows._verbs import End, Grant, Reply, Settle
from flows._worker import Due, Exchange, Log, Recall, Start, Unanswered, Woken, WorkerCore
from flows.errors import UnavailableError

UNWELL: Final = 4
"""A worker gives up when every so manieth of its slots is held by a thread that was left behind."""

LOG_SECONDS: Final = 2.0
"""How long the end waits for the last lines of the log."""


class Workshop:
    """Works jobs of any run off, in background threads.

    Args:
        store: Where the runs live.
        name: The worker's name, shown beside attempts; unique among the workers of the store.
        queues: Whose jobs.
        slots: How many handlers may run at once.
        grace: Seconds that running handlers have to end, once it drains.
        processes: How many child processes may run handlers at once.
        ahead: Whether more may be claimed than there are slots; not where some handlers are async and others not.
        logs_jobs: Whether to log jobs one by one; not where the store's own journal is told.

    Attributes:
        error: What has ended the worker, if that was no drain.
        unwell: Whether it drains because too many handlers were left behind in their threads.
    """

    floor_type: type[Floor] = Floor

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        queues: frozenset[str],
        slots: int,
        grace: float,
        processes: int,
        ahead: bool,
        logs_jobs: bool,
    ) -> None:
        self.store = store
        self.name = name
        self.queues = queues
        self.slots = slots
        self.clock = StoreClock(store.clock)
        self.core = WorkerCore(slots=slots, queues=queues, ahead=ahead)
        self.error: BaseException | None = None
        self.unwell = False
        self._over = threading.Event()
        self._loop = f"{name}#{time.time_ns():x}"
        self._held: dict[Grant, float] = {}
        self._settling: dict[Grant, float] = {}
        self._told: dict[Grant, End] = {}
        self._bell = Bell()
        self._woken = True
        self._stopped = False
        self._asked = (0, 0.0)
        self._granted = 0.0
        self._begin: Callable[..., Flight] | None = getattr(store, "begin_exchange", None)
        self._resting: Callable[[], None] = getattr(store, "resting", lambda: None)
        self._flight: tuple[Exchange, float, Flight] | None = None
        self._unlisten: Callable[[], None] | None = None
        attempts = self.new_attempts(Seats(processes), self._over)
        self._reports = Reports(name, jobs=logs_jobs)
        self._ending = Ending(grace)
        self._keeper = LeaseKeeper(store, self._leases, self._lose, name)
        told = (self._abandoned, self._keeper.rescue_by, self._may_begin, self._succeed)
        self._floor = self.floor_type(name, slots, attempts, self.clock, self._bell, *told)
        held = self._held, self._settling
        self._relay = Relay(self.core, self._floor, *held, self._ask, self._begun, self._is_pressing)
        self._thread = threading.Thread(target=self._run, name=f"flows-exchange-{name}", daemon=True)

    def new_attempts(self, seats: Seats, over: threading.Event) -> AnyAttempts:
        """What makes the attempts."""
        return AnyAttempts(self.store, self.name, seats, over)

    # For whoever runs the worker; from any thread, and from signal handlers.

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def drain(self) -> None:
        """Claim nothing more, give back what has not started, end when the last handler has, or its grace is over."""
        self._ending.drain()
        self._bell.ring()

    def quit(self) -> None:
        """End now. What runs is told to stop and not waited for; its leases run out, and others take the jobs over."""
        self._ending.quit()
        self._bell.ring()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; says whether it has come."""
        return self._over.wait(timeout)

    # For the store, which is listened to.

    def wake(self) -> None:
        """There may be something to claim."""
        self._woken = True
        self._bell.ring()

    def stop(self, run_id: str) -> None:
        """A run is being cancelled."""
        grants = [grant for grant in self._held.copy() if grant.run.id == run_id]
        self._told.update(dict.fromkeys(grants, End.CANCELLED))
        self._floor.tell(grants, RUN_CANCELLED)

    def overdue(self, instant: float) -> None:
        """A run may be overdue by then."""
        self._keeper.rescue_by(self.clock.monotonic(instant))

    # The exchange thread.

    def _run(self) -> None:
        self._guarded(self._open)

    def _succeed(self) -> None:
        """A handler holds the exchange's thread up: another one is the exchange from now on."""
        hands.run(lambda: self._guarded(self._go_on))

    def _guarded(self, be_exchange: Callable[[], bool]) -> None:
        over = True
        try:
            over = be_exchange()
        except BaseException as error:
            self.error = error
            say(logging.ERROR, "worker %s cannot go on: %s: %s", self.name, type(error).__name__, error)
        finally:
            if over:
                self._close(self._unlisten)

    def _open(self) -> bool:
        self._unlisten = self.store.listen(self.name, self.queues, self)
        monitor.watch(self._floor)
        self._keeper.start()
        say(logging.INFO, "worker %s serves %s", self.name, ", ".join(sorted(self.queues)))
        return self._go_on()

    def _go_on(self) -> bool:
        """Be the exchange until the worker is to end; False when another thread is it instead."""
        while not self._stopped and not self._ending.now:
            if not self._round():
                return False
            self._resting()
            self._bell.rest(self._is_idle, self._seconds())
        return True

    def _round(self) -> bool:
        """Whatever there is to do now; under load there is always something, so that each look is at everything.

        Returns:
            Whether this thread is still the exchange.
        """
        core, floor = self.core, self._floor
        busy = True
        while busy and not self._stopped and not self._ending.now:
            now = self.clock()
            busy = self._ending.look(self, core, now)
            if core.wake_at is not None and now >= core.wake_at:
                core.feed(Due(), now)
                busy = True
            if floor.done:
                self._take_outcomes(now)
                busy = True
            elif self._woken:
                self._woken = False
                core.feed(Woken(), now)
                busy = True
            self._carry_out()
            lent = self._lent()
            if lent is False:
                return False
            if lent:
                busy = True
            elif self._flight is not None:
                self._land(*self._flight)
                busy = True
            self._reports.health(floor.active, self.slots, len(self._held))
        return True

    def _lent(self) -> bool | None:
        """See `Floor.lend`."""
        if not self._floor.has_line or (self._flight is not None and self._flight[2].is_answered()):
            return None
        relayed = None if self._begin is None else self._relay.run()
        return self._floor.lend() if relayed is None else relayed

    def _take_outcomes(self, now: float) -> None:
        """Feed what has ended to the core; of each grant once."""
        done, held, settling = self._floor.done, self._held, self._settling
        self._floor.taken += 1
        settles = []
        for _ in range(len(done)):
            settle = done.popleft()
            grant = settle.grant
            asked_at = held.get(grant)
            if asked_at is None:
                say(logging.INFO, "worker %s: the late result of %s was dropped", self.name, grant.said)
                continue
            settling[grant] = asked_at  # first: the keeper must find it in one of them
            del held[grant]
            settles.append(settle if grant.stop is None else reconsidered(settle, self._told.pop(grant, None)))
        if settles:
            self.core.ended(settles, now)

    def _carry_out(self) -> None:
        core = self.core
        late: list[Start] = []
        for effect in core.effects():
            if isinstance(effect, Exchange):
                self._exchange(effect)
            elif isinstance(effect, Start) and self._begin is not None:
                late.append(effect)  # what else is to be sent is sent first: the store works while we do
            elif isinstance(effect, Start):
                self._start(effect.grants)
            elif isinstance(effect, Recall):
                self._floor.recall()
            elif isinstance(effect, Log):
                say(logging.getLevelNamesMapping()[effect.level.upper()], "worker %s: %s", self.name, effect.text)
            else:
                self._stopped = True
        for start in late:
            self._start(start.grants)

    def _exchange(self, call: Exchange) -> None:
        if call.want.limit:
            self._woken = False  # this very call is the look that was asked for
        sent = time.monotonic()
        if self._asked[0] != call.seq:
            self._asked = call.seq, sent  # leases run from the first time that they were asked for
        asked = self._loop, call.seq, call.settles, call.want, self.name
        try:
            if self._begin is not None:
                self._flight = call, sent, self._begin(*asked)
                return
            reply = self.store.exchange(*asked)
        except (UnavailableError, OSError) as error:
            self.core.feed(Unanswered(call.seq, error), self.clock())
            return
        self._answered(call, sent, reply)

    def _land(self, call: Exchange, sent: float, flight: Flight, *, tells: bool = True) -> Reply | None:
        """Wait for the answer to the call that is under way, and tell the core; None where there is none."""
        self._flight = None
        try:
            reply = flight.land()
        except (UnavailableError, OSError) as error:
            self.core.feed(Unanswered(call.seq, error), self.clock())
            return None
        self._answered(call, sent, reply, tells=tells)
        return reply

    def _ask(self, call: Exchange) -> Reply | None:
        """Make a call. The core is told only where it is not answered."""
        self._exchange(call)
        return None if self._flight is None else self._land(*self._flight, tells=False)

    def _answered(self, call: Exchange, sent: float, reply: Reply, *, tells: bool = True) -> None:
        self.clock.heard(sent, time.monotonic(), reply.now)
        self._granted = self._asked[1]
        for settle in call.settles:
            del self._settling[settle.grant]
        if call.settles:
            self._reports.ended(call.settles, reply.refused)
        if tells:
            self.core.replied(call.seq, reply, self.clock())

    def _start(self, granted: Sequence[Grant]) -> None:
        grants = list(granted)
        self._begun(grants)
        self._floor.place(grants)
        if self.core.ahead and self._floor.has_async:
            self.core.ahead = False  # each of two lines would be filled up to the slots

    def _begun(self, grants: Sequence[Grant]) -> None:
        self._held.update(dict.fromkeys(grants, self._granted))
        self._reports.started(grants)

    def _is_pressing(self) -> bool:
        return self._stopped or self._ending.pressing

    def _is_idle(self) -> bool:
        return not (self._floor.done or self._woken or self._is_pressing())

    def _seconds(self) -> float:
        """How long there is nothing to do, unless something comes."""
        now = time.monotonic()
        wake_at = self.core.wake_at
        until = min(self._reports.health_at, self._ending.next_at)
        return (until if wake_at is None else min(until, self.clock.monotonic(wake_at))) - now

    def _close(self, unlisten: Callable[[], None] | None) -> None:
        try:
            try:
                if unlisten is not None:
                    unlisten()
            finally:
                self._clear_up()
        except Exception:
            say(logging.ERROR, "worker %s could not clear up", self.name, exc_info=True)
        finally:
            self._over.set()

    def _clear_up(self) -> None:
        monitor.unwatch(self._floor)
        self.withdraw(self.held(), "the worker has ended")
        self._keeper.close()
        try:
            self.store.close_loop(self._loop)
        except (UnavailableError, OSError):
            pass  # it is forgotten in time
        done, failed = self._reports.totals
        say(logging.INFO, "worker %s has ended; %s done, %d failed", self.name, count(done, "job"), failed)
        self._reports.close(LOG_SECONDS)

    # What the floor and the end of the worker ask for.

    def held(self) -> tuple[Grant, ...]:
        """The grants whose outcome is open."""
        return tuple(self._held.copy())

    def withdraw(self, grants: Iterable[Grant], why: str) -> None:
        """These are to stop for the worker's sake: what has not completed goes back, and costs no attempt."""
        grants = tuple(grants)
        for grant in grants:
            self._told.setdefault(grant, End.RELEASED)
        self._floor.tell(grants, why)

    def _lose(self, grant: Grant, why: str) -> None:
        """Its lease is lost: where its handler has begun, that counts; else it goes back."""
        self._told.setdefault(grant, End.LOST)
        self._floor.tell((grant,), why)

    def give_up(self) -> None:
        """Let go of all that is held, whatever its handlers do."""
        now = self.clock()
        for grant in self.held():
            text = "worker %s: %s does not stop; it goes back, and its result will be dropped"
            say(logging.WARNING, text, self.name, grant.said)
            self._floor.done.append(Settle(grant, End.RELEASED, None, now, now))

    def _abandoned(self, threads: int) -> None:
        """So many threads are left behind: they hold slots for nothing, and cannot be had back."""
        self.core.slots = self.slots - threads
        if threads * UNWELL >= self.slots and not self.unwell:
            self.unwell = True
            text = "worker %s: %d of %d slots are held by handlers that timed out and run on; it ends, to be restarted"
            say(logging.ERROR, text, self.name, threads, self.slots)
            self.drain()

    def _may_begin(self, grant: Grant) -> bool:
        since = self._held.get(grant)
        return since is None or self._keeper.lasts(grant, since)

    def _leases(self) -> dict[Grant, float]:
        """For the keeper: what is held or being settled, and since when."""
        return self._held.copy() | self._settling.copy()
