"""A fleet of workers around one store, in one thread, under virtual time: real cores, a made-up network, chosen luck.

One loop over a heap of (instant, tie). Each choice is the test's: the first of the options is always the harmless one.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from executors._store import StaleCallError
from executors.memory import MemoryRun, MemoryStore
from flows._control import control
from flows._keeper import Beat, Dropped, Extend, Extended, Held, Interrupt, KeeperCore, Unconfirmed
from flows._verbs import End, FailedSettle, Grant, Reply, Settle
from flows._worker import (
    Drain,
    Due,
    Ended,
    Event,
    Exchange,
    Recall,
    Replied,
    Start,
    Stop,
    Unanswered,
    Woken,
    WorkerCore,
)
from tests.executors.columns import Clock

LEASE = 30.0

Choose = Callable[[str, Sequence[Any]], Any]


class Fleet:
    """The world: time, the store, the workers, and a record of all that was granted and run."""

    @property
    def worker(self) -> "type[Worker]":
        return Worker

    def __init__(self, choose: Choose, *, chunk: int, workers: int, slots: int) -> None:
        self.choose = choose
        self.slots = slots
        self.clock = Clock()
        self.store = MemoryStore(clock=self.clock, epoch=0.0, lease_seconds=LEASE, chunk=chunk)
        self.runs: list[MemoryRun] = []
        self.workers: list[Worker] = []
        self.granted: dict[tuple[MemoryRun, int], list[Grant]] = {}
        self.running: dict[tuple[MemoryRun, int], dict[Grant, bool]] = {}
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._ties = itertools.count()
        self._due: float | None = None
        for _ in range(workers):
            self.hire()

    def at(self, delay: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.clock.now + delay, next(self._ties), what))

    def hire(self) -> None:
        """A new worker, which looks for work at once."""
        worker = self.worker(self, f"worker-{len(self.workers)}")
        self.workers.append(worker)
        worker.feed(Woken())
        worker.beat()

    def play(self, limit: float = 3_000.0) -> None:
        """Let time pass until all runs have ended."""
        end = self.clock.now + limit
        while not all(run.ended for run in self.runs):
            assert self.clock.now < end, f"no end: {[list(run.state.state) for run in self.runs]}"
            self.step()
        for _ in range(200):  # what was under way may still turn up
            self.step()

    def step(self) -> None:
        instant, _, what = heapq.heappop(self._heap)
        self.clock.now = max(self.clock.now, instant)
        what()

    def cancel(self, run: MemoryRun) -> None:
        self.store.cancel(run, "chosen")
        for worker in self.workers:
            for grant in (*worker.line, *worker.running):
                if grant.run is run:
                    worker.stop(grant, "the run was cancelled")

    def exchange(self, worker: "Worker", call: Exchange) -> Reply | None:
        """The call reaches the store: checked for all that a store promises; None when it is stale."""
        before = self.snapshot()
        known = self.store._loops.get(worker.name)
        try:
            reply = self.store.exchange(worker.name, call.seq, call.settles, call.want, worker.name)
        except StaleCallError:
            assert known is not None
            assert call.seq < known[0]
            assert self.snapshot() == before
            return None
        if known is not None and known[0] == call.seq:
            assert reply is known[1], "the same call gets the same reply"
            assert self.snapshot() == before, "and changes nothing"
            return reply
        for settle in call.settles:
            grants = self.granted[settle.grant.run, settle.grant.job]  # type: ignore[index]
            assert grants[-1] is settle.grant or settle in reply.refused, "a zombie was heard"
        for grant in reply.grants:
            history = self.granted.setdefault((grant.run, grant.job), [])  # type: ignore[arg-type]
            assert all(grant.fence > former.fence for former in history)
            history.append(grant)
        assert len(reply.grants) <= call.want.limit
        assert sum(grant.suspect for grant in reply.grants) == reply.suspects <= 1
        self.tell_others(worker)
        return reply

    def snapshot(self) -> list[tuple[Any, ...]]:
        return [
            (bytes(run.state.state), list(run.values), list(run.fences), len(run.journal), dict(run.leases))
            for run in self.runs
        ]

    def tell_others(self, who: "Worker | None") -> None:
        """Wake the others where something may be claimed, or will be sooner; a worker must know its own needs."""
        queues, due = self.store._claims.queues, min((run.delayed[0][0] for run in self.store._timed), default=None)
        sooner, self._due = due is not None and (self._due is None or due < self._due), due
        if sooner or queues.waiting(None) or any(queues._suspects.values()) or self.store._unswept:
            for worker in self.workers:
                if worker is not who and not worker.gone:
                    self.at(0.01, lambda worker=worker: worker.feed(Woken()))  # type: ignore[misc]


class Worker:
    """The driver of one `WorkerCore` and its `KeeperCore`; the handlers are entries in the heap."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.core = WorkerCore(slots=fleet.slots)
        self.keeper = KeeperCore(fleet.clock.now, LEASE)
        self.line: deque[Grant] = deque()
        self.running: dict[Grant, bool] = {}
        """Grant -> whether its handler heeds being told to stop."""
        self.held: set[Grant] = set()
        self.gone = False
        self._asked: dict[int, float] = {}
        self._asked_at = 0.0

    def feed(self, event: Event) -> None:
        if self.gone:
            return
        self.core.feed(event, self.fleet.clock.now)
        for effect in self.core.effects():
            if isinstance(effect, Exchange):
                self.send(effect)
            elif isinstance(effect, Start):
                self.line.extend(effect.grants)
                self.held.update(effect.grants)
                assert sum(grant.suspect for grant in self.held) <= 1, "two suspects at once"
                # A lease runs from the moment of asking, however late the answer.
                self.keeper.feed(Held(effect.grants), self._asked_at)
                self.look_after()
            elif isinstance(effect, Recall):
                recalled = list(self.line)
                self.line.clear()
                self.give_back(recalled)
            elif isinstance(effect, Stop):
                assert not self.held
                self.gone = True
                self.fleet.hire()
        self.start_handlers()
        if self.core.wake_at is not None:
            self.fleet.at(max(0.0, self.core.wake_at - self.fleet.clock.now), self.wake)

    def wake(self) -> None:
        if self.core.wake_at is not None and self.core.wake_at <= self.fleet.clock.now:
            self.feed(Due())

    def die(self) -> None:
        """From one moment to the next; another is hired some time later."""
        self.gone = True
        for grant in self.running:
            del self.fleet.running[grant.run, grant.job][grant]  # type: ignore[index]
        self.fleet.at(self.fleet.choose("hire", (1.0, 50.0)), self.fleet.hire)

    def send(self, call: Exchange) -> None:
        """Hand a call to the network."""
        fleet = self.fleet
        self._asked.setdefault(call.seq, fleet.clock.now)
        fate = fleet.choose("network", ("fine", "no reply", "no request", "doubled", "late"))
        if fate != "no request":
            fleet.at(2.0 if fate == "late" else 0.01, lambda: self.arrive(call, fate != "no reply"))
        if fate == "doubled":
            fleet.at(fleet.choose("again", (0.01, 0.02, 3.0)), lambda: self.arrive(call, True))
        if fate in ("no reply", "no request", "late"):
            fleet.at(1.0, lambda: self.feed(Unanswered(call.seq, TimeoutError("no answer"))))

    def arrive(self, call: Exchange, answered: bool) -> None:
        reply = self.fleet.exchange(self, call)
        if reply is not None and answered:
            self.fleet.at(0.01, lambda: self.replied(call, reply))

    def replied(self, call: Exchange, reply: Reply) -> None:
        if not self.gone and self.core._flying is call:
            self.held.difference_update(settle.grant for settle in call.settles)
        self._asked_at = self._asked[call.seq]
        self.feed(Replied(call.seq, reply))

    def start_handlers(self) -> None:
        fleet = self.fleet
        while self.line and len(self.running) < fleet.slots and not self.gone:
            grant = self.line.popleft()
            early = self.before(grant)
            if early is not None:
                self.conclude(early)
                continue
            heeds = fleet.choose("heeds", (True, False))
            self.running[grant] = heeds
            others = fleet.running.setdefault((grant.run, grant.job), {})  # type: ignore[arg-type]
            assert not any(others.values()), "runs twice at once, though the first heeds its keeper"
            others[grant] = heeds
            seconds = fleet.choose("handler", (0.0, 0.3, 5.0, 45.0))
            fleet.at(seconds, lambda grant=grant: self.end(grant))  # type: ignore[misc]
            if fleet.choose("life", ("lives", "lives", "dies", "drains")) != "lives":
                fate = self.die if fleet.choose("death", ("drains", "dies")) == "dies" else lambda: self.feed(Drain())
                fleet.at(fleet.choose("moment", (0.0, 0.2, 4.0)), lambda fate=fate: None if self.gone else fate())  # type: ignore[misc]

    def before(self, grant: Grant) -> Settle | None:
        """How a job ends without a handler being called; None: it is called."""
        return None

    def after(self, settle: Settle) -> Settle:
        """What is done between a handler's return and the settle."""
        return settle

    def conclude(self, settle: Settle) -> None:
        """Report how a job ended that no handler was called for."""
        self.keeper.feed(Dropped([settle.grant]), self.fleet.clock.now)
        self.fleet.at(0.0, lambda: self.feed(Ended([settle])))

    def end(self, grant: Grant) -> None:
        """A handler returns, raises, or stops as it was told."""
        if self.gone or grant not in self.running:
            return
        fleet, now = self.fleet, self.fleet.clock.now
        heeds = self.running.pop(grant)
        del fleet.running[grant.run, grant.job][grant]  # type: ignore[index]
        self.keeper.feed(Dropped([grant]), now)
        if grant.control:
            self.feed(Ended([control(grant, fleet.clock)]))
            return
        if grant.run.state.cancelling and heeds:
            end = End.CANCELLED
        else:
            end = fleet.choose("end", (End.COMPLETED, End.COMPLETED, End.RETRY, End.FAILED, End.SKIPPED))
        if end is End.COMPLETED:
            settle = self.after(Settle(grant, end, (grant.job, grant.fence), now, now))
        else:
            after = fleet.choose("after", (0.0, 10.0)) if end is End.RETRY else 0.0
            settle = FailedSettle(grant, end, ValueError("chosen"), now, now, after)
        self.feed(Ended([settle]))

    def stop(self, grant: Grant, why: str) -> None:
        """Tell a handler to stop; one that has not begun goes back."""
        grant.stop = grant.stop or why
        if grant in self.line:
            self.line.remove(grant)
            self.give_back([grant])
        elif self.running.get(grant):
            self.end(grant)

    def give_back(self, grants: list[Grant]) -> None:
        if grants:
            now = self.fleet.clock.now
            self.keeper.feed(Dropped(grants), now)
            self.fleet.at(0.0, lambda: self.feed(Ended([Settle(one, End.RELEASED, None, now, now) for one in grants])))

    def beat(self) -> None:
        """The keeper's thread."""
        if not self.gone:
            self.keeper.feed(Beat(), self.fleet.clock.now)
            self.look_after()
            self.fleet.at(max(0.0, self.keeper.wake_at - self.fleet.clock.now), self.beat)

    def look_after(self) -> None:
        fleet = self.fleet
        while effects := self.keeper.effects():
            for effect in effects:
                if isinstance(effect, Extend):
                    if fleet.choose("extend", (True, True, False)):
                        self.keeper.feed(Extended(fleet.store.extend(effect.grants)), fleet.clock.now)
                    else:
                        self.keeper.feed(Unconfirmed(), fleet.clock.now)
                elif isinstance(effect, Interrupt):
                    self.stop(effect.grant, effect.why)
                elif fleet.store.rescue():
                    fleet.tell_others(None)
