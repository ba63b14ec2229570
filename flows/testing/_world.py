"""The world of a simulation: time, the network, the store, the workers, and a record of what happened.

One loop over a heap of (instant, tie). Nothing in it decides what a run means: the store and the cores of the workers
are the real ones, only what moves events between them is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flows._handlers import Handler
from flows._keeper import LEASE_SECONDS, KeeperCore
from flows._verbs import End, Grant, Reply, Settle
from flows._worker import Exchange
from flows.testing._attempts import SimulatedAttempt, SimulatedHandler
from flows.testing._choices import Choices
from flows.testing._faults import Fault
from flows.testing._memory import (
    Sharing,
    SimulatedLine,
    SimulatedRun,
    SimulatedStore,
    StaleCallError,
    make_run,
    retarget,
    starting,
)
from flows.testing._ledger import attempt_here
from flows.testing._real_time import RealTimeGuard, Violation, violation_error
from flows.testing._simulated_worker import HIRED_AFTER, TAKES, AsyncJobs, SimulatedWorker

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows._task import Task
    from flows.executor import RunOptions
    from flows.testing._virtual_loop import VirtualLoop

BEGINNING: Final = 1000.0
"""The clock of workers and store at first: not 0.0, so that an instant is never false."""

EPOCH: Final = 946_684_800.0 - BEGINNING
"""Simulations begin with the year 2000, UTC."""

POLL_SECONDS: Final = 5.0
"""How long a worker waits that nobody wakes before it looks by itself."""

STEPS: Final = 300_000
AFTERMATH_STEPS: Final = 2_000

_CHUNKS: Final = (500, 1, 2, 3)
_LATE_SECONDS: Final = 2.0
_ENDS: Final = {
    End.COMPLETED: "completed",
    End.FAILED: "failed",
    End.RETRY: "retrying",
    End.SKIPPED: "skipped",
    End.CANCELLED: "cancelled",
    End.RELEASED: "released",
    End.REPLAYED: "replayed",
    End.LOST: "lost",
}


class Step(NamedTuple):
    """One thing that happened in a simulation, besides the run's own events.

    Attributes:
        at: Seconds since the simulation began.
        worker: Whom it happened to; None: the store, or the world.
        what: What happened.
        job, attempt: With which job, where there is one.
        detail: What else there is to say.
    """

    at: float
    worker: str | None
    what: str
    job: str | None = None
    attempt: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        job = "" if self.job is None else f" {self.job}"
        number = f" (attempt {self.attempt})" if self.attempt is not None and self.attempt > 1 else ""
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.at:12.3f} s  {self.worker or '-'}  {self.what}{job}{number}{detail}"


class World:
    """Time, a store, workers, and all that may go wrong between them.

    Attributes:
        now: The time, in seconds, as clocks tell it that never go back.
        steps: What happened, in order.
        attempts: Every start of a handler, in order.
        raised: What is to be raised out of the simulation.
    """

    def __init__(
        self,
        choices: Choices,
        faults: Sequence[Fault] = (),
        *,
        slots: int = 4,
        lease: float = LEASE_SECONDS,
        allow: frozenset[str] = frozenset(),
        replaced: Mapping[str, Task[..., Any]] | None = None,
    ) -> None:
        self.choices, self.faults, self.slots, self.lease = choices, tuple(faults), slots, lease
        self.now = BEGINNING
        self.steps: list[Step] = []
        self.attempts: list[SimulatedAttempt] = []
        self.workers: list[SimulatedWorker] = []
        self.runs: list[SimulatedRun] = []
        self.ended_at: dict[SimulatedRun, float] = {}
        self.raised: BaseException | None = None
        self.entered: SimulatedAttempt | None = None
        self.mixed = False
        self.guard = RealTimeGuard(allow, self._noticed)
        self._replaced = dict(replaced or {})
        self._handlers: dict[Any, SimulatedHandler] = {}
        self._offset, self._told = 0.0, BEGINNING
        self._down_until = 0.0
        self._heap: list[tuple[float, int, SimulatedWorker | None, Callable[[], None]]] = []
        self._ties = itertools.count()
        self._beats = self._idle_beats = 0
        self._due: float | None = None
        self._left = {place: fault.times for place, fault in enumerate(self.faults)}
        self._calls: dict[str, int] = {}
        self.store = SimulatedStore(self.clock, EPOCH, lease, choices(_CHUNKS), self._repeats)
        self.sharing = Sharing(self.store)

    # Time

    def clock(self) -> float:
        """The store's clock, in seconds."""
        told = self.now + self._offset
        if told > self._told:
            self._told = told
        return self._told

    def elapsed(self) -> float:
        """Seconds since the simulation began."""
        return self.now - BEGINNING

    def at(self, delay: float, what: Callable[[], None], worker: SimulatedWorker | None = None) -> None:
        """Have *what* done after *delay* seconds; in *worker*, if that lives then, and when it hangs no more."""
        heappush(self._heap, (self.now + delay, next(self._ties), worker, what))

    def at_beat(self, delay: float, worker: SimulatedWorker) -> None:
        """As `at`, for the keeper of *worker*: if nothing else is to come, nothing will."""
        self._beats += 1
        self.at(delay, worker.beat, worker)

    def play(self, limit: float) -> None:
        """Let time pass until all runs have ended, nothing can happen any more, or *limit* seconds are over."""
        end, steps, polls = self.now + limit, 0, 0
        while not all(run.ended for run in self.runs) and self.now < end and steps < STEPS:
            seen = len(self.attempts)
            if self._step():
                steps += 1
                if len(self.attempts) > seen:
                    polls = 0
            elif polls < 3:
                polls += 1
                self.at(POLL_SECONDS, self._poll)
            else:
                break
        self._finish()
        for worker in self.workers:
            worker.close()

    def _finish(self) -> None:
        """What was under way when the last run ended still turns up."""
        end = self.now + 3 * self.lease
        for _ in range(AFTERMATH_STEPS):
            if not self._heap or self._heap[0][0] > end or not self._step():
                break

    def _step(self) -> bool:
        heap = self._heap
        if not heap:
            return False
        if len(heap) == self._beats:
            self._idle_beats += 1
            if self._idle_beats > 8 * len(self.workers):  # any lease that was lost has been taken back by now
                return False
        else:
            self._idle_beats = 0
        instant, _, worker, what = heappop(heap)
        beat = worker is not None and what == worker.beat
        if beat:
            self._beats -= 1
        if worker is not None:
            if worker.gone:
                return True
            if worker.frozen_until > instant:
                self._beats += beat
                heappush(heap, (worker.frozen_until, next(self._ties), worker, what))
                return True
        if instant > self.now:
            self.now = instant
        what()
        if self.raised is not None:
            raise self.raised
        return True

    def _poll(self) -> None:
        for worker in self.workers:
            if not worker.gone and worker.frozen_until <= self.now:
                worker.wake()

    # Workers

    def hire(self) -> SimulatedWorker:
        """A new worker, which looks for work at once."""
        worker = SimulatedWorker(self, f"worker-{len(self.workers) + 1}")
        self.workers.append(worker)
        worker.woken = True
        self.at(0.0, worker.wake, worker)
        if self.store.watched or self._overdue():
            self._start_beats()
        return worker

    def left(self, worker: SimulatedWorker) -> None:
        """A worker is gone: another takes its place."""
        self.at(self.choices(HIRED_AFTER), self._hire_after)

    def _hire_after(self) -> None:
        self.note(self.hire().name, "joins")

    def have_another(self, worker: SimulatedWorker) -> None:
        """See to it that there is a worker besides this one."""
        if all(one is worker for one in self._living()):
            self._hire_after()

    def _living(self) -> list[SimulatedWorker]:
        return [worker for worker in self.workers if not worker.gone]

    def _start_beats(self) -> None:
        for worker in self.workers:
            if not worker.gone and not worker.beating:
                worker.beating = True
                if worker.keeper.wake_at <= self.now:  # it has had nothing to keep for a while
                    worker.keeper = KeeperCore(self.now, self.lease)
                self.at_beat(worker.keeper.wake_at - self.now, worker)

    def rescue(self, worker: SimulatedWorker) -> None:
        """A keeper takes up the jobs of the dead, and cancels what is overdue."""
        if not self.down and self.delivery("rescue", ())[0] != "lost_call":
            rescued, overdue = self.store.rescue(), self.store.deadline_at
            if rescued:
                self.note(worker.name, f"rescues {rescued} jobs" if rescued > 1 else "rescues a job")
            if rescued or overdue != self.store.deadline_at:
                self.tell(None)

    def tell(self, who: SimulatedWorker | None) -> None:
        """Wake the others where something can be claimed, or will be sooner than they know."""
        if len(self.workers) == 1 and who is not None:
            return
        store = self.store
        due = store.due_at
        sooner, self._due = due is not None and (self._due is None or due < self._due), due
        if sooner or store.claimable:
            others = [one for one in self.workers if one is not who and not one.gone and not one.woken]
            if len(others) > 1:
                first = self.choices(range(len(others)))
                others = others[first:] + others[:first]
            for one in others:
                one.woken = True
                self.at(0.0, one.wake, one)

    # The network and the store

    @property
    def down(self) -> bool:
        """Whether the store is away."""
        return self.now < self._down_until

    def delivery(self, verb: str, kinds: Sequence[str]) -> tuple[str, float]:
        """What becomes of a call, and after how many seconds it reaches the store.

        Args:
            verb: The call.
            kinds: What may become of it by chance.
        """
        if self.down:
            return "lost_call", 0.0
        number = self._calls[verb] = self._calls.get(verb, 0) + 1
        for place, fault in enumerate(self.faults):
            if fault.verb == verb and number >= (fault.nth or 1) and self.strikes(place):
                return fault.kind, fault.seconds or 0.0
        kind = self.choices(kinds) if kinds else "fine"
        return kind, _LATE_SECONDS if kind == "late_call" else 0.0

    def _repeats(self, verb: str) -> bool:
        return self.delivery(verb, ())[0] in ("lost_reply", "doubled_call", "late_call")

    def exchange(self, worker: SimulatedWorker, call: Exchange) -> Reply | None:
        """The call reaches the store; None when it is stale, or the worker is no more."""
        store = self.store
        try:
            reply = store.exchange(worker.name, call.seq, call.settles, call.want, worker.name)
        except StaleCallError:
            return None
        for settle in call.settles:
            attempt = worker.attempts.get(settle.grant)
            if attempt is not None and attempt.settled_at is None:
                self._settled(worker, attempt, settle, settle in reply.refused)
        if reply.grants:
            self._start_beats()
        self.tell(worker)
        return None if worker.gone else reply

    def _settled(self, worker: SimulatedWorker, attempt: SimulatedAttempt, settle: Settle, refused: bool) -> None:
        attempt.settled_at = self.elapsed()
        attempt.outcome = "refused" if refused else _ENDS[settle.end]
        if refused:
            self.note(worker.name, "is refused", attempt, _ENDS[settle.end])
        if attempt.crashes("after_settle"):
            worker.die()

    # Runs and attempts

    def submit(self, plan: Plan[Any], options: RunOptions) -> SimulatedRun:
        """Put a run of *plan* into the store."""
        run = make_run(plan, options, self.store, self._handler_of)
        self.runs.append(run)
        kinds = {handler.is_async for handler in run.handlers}
        self.mixed = self.mixed or len(kinds) > 1
        run.interrupters.append(lambda: self._interrupt(run))
        run.on_end = lambda: self.ended_at.setdefault(run, self.elapsed())
        self._arm_deadlines()
        return run

    def _handler_of(self, name: str, task: Task[..., Any] | None) -> Handler | None:
        task = self._replaced.get(name, task)
        if task is None:
            return None
        handler = self._handlers.get(task)
        if handler is None:
            handler = self._handlers[task] = SimulatedHandler(self, task)
        return handler

    def deploy(self, handlers: Mapping[str, Task[..., Any]]) -> None:
        """Other handlers run the jobs that start from now on."""
        for run in self.runs:
            retarget(run, lambda handler: _become(handler, handlers))

    def _interrupt(self, run: SimulatedRun) -> None:
        for worker in self.workers:
            worker.interrupted(run)

    def begin(self, worker: SimulatedWorker, grant: Grant) -> SimulatedAttempt:
        """An attempt begins."""
        plan, job = grant.run.plan, grant.job
        fate = self._fate(plan.ids[job], plan.names[job], grant.attempt) if self.faults else {}
        attempt = SimulatedAttempt(worker, grant, fate)
        self.attempts.append(attempt)
        timeout = plan.settings[job].timeout
        takes = self.choices(TAKES)
        attempt.extra = takes if timeout is None else min(takes, timeout / 2)
        return attempt

    def _fate(self, job: str, task: str, number: int) -> dict[str, list[tuple[int, Fault]]]:
        """What may happen in an attempt, by point; each fault with its place among all."""
        fate: dict[str, list[tuple[int, Fault]]] = {}
        for place, fault in enumerate(self.faults):
            if fault.job in (job, task) and fault.attempt in (None, number) and self._left[place] != 0:
                if fault.probability is None or self.choices.happens(fault.probability):
                    fate.setdefault(fault.at or "after_effect", []).append((place, fault))
        return fate

    def strikes(self, place: int) -> bool:
        """Whether a fault strikes that would now; it has one time less left."""
        left = self._left[place]
        if left is not None:
            self._left[place] = max(0, left - 1)
        return left != 0

    def concluded(self, attempt: SimulatedAttempt, settle: Settle) -> None:
        """An attempt has ended, and its worker is about to say so."""
        attempt.outcome, attempt.ended_at = _ENDS[settle.end], self.elapsed()
        if settle.failed is not None:
            attempt.error = f"{settle.failed.type}: {settle.failed.message}".removesuffix(": ")
        if settle.end is End.RETRY:
            attempt.backoff = settle.after

    def before(self, grant: Grant) -> Settle | None:
        """How a job ends that shares its result, without an attempt; None when it is to run."""
        run: Any = grant.run
        return self.sharing.before(grant, self.clock) if run.shares else None

    def after(self, settle: Settle) -> Settle:
        """What a handler came to, as it counts for all that share it."""
        run: Any = settle.grant.run
        return self.sharing.after(settle) if run.shares else settle

    def starting(self, grant: Grant, clock: Callable[[], float]) -> Callable[[], float]:
        """Tell the store of a start that a rate counts."""
        run: Any = grant.run
        return starting(self.store, grant, clock) if run.rated else clock

    def tracing(self, perform: Any, worker: SimulatedWorker) -> Any:
        """*perform*, with a span where the run is traced."""
        tracing = self.runs[0].tracing
        return perform if tracing is None else tracing.around(perform, worker.name)

    def tracing_async(self, perform: Any, worker: SimulatedWorker) -> Any:
        """As `tracing`, for async handlers."""
        tracing = self.runs[0].tracing
        return perform if tracing is None else tracing.around_async(perform, worker.name)

    def new_loop(self, worker: SimulatedWorker) -> VirtualLoop:
        """An event loop for a worker that has async handlers to run."""
        from flows.testing._virtual_loop import VirtualLoop

        return VirtualLoop(lambda delay, what: self.at(delay, what, worker), lambda: self.now, self.guard)

    def line(self, jobs: AsyncJobs, call: Any) -> SimulatedLine:
        """A line of async jobs on a worker's loop."""
        return SimulatedLine(jobs, self.slots, call)

    def loop_of(self, attempt: SimulatedAttempt) -> VirtualLoop:
        """The event loop that an attempt is made on."""
        loop = attempt.by.loop
        assert loop is not None
        return loop

    # What happens to the world

    def _arm_deadlines(self) -> None:
        deadline_at = self.store.deadline_at
        if deadline_at is not None:
            self.at(max(0.0, deadline_at - self.clock()), self._pass_deadline)

    def _overdue(self) -> bool:
        deadline_at = self.store.deadline_at
        return deadline_at is not None and deadline_at <= self.clock()

    def _pass_deadline(self) -> None:
        living = [worker for worker in self._living() if worker.frozen_until <= self.now]
        if self._overdue() and living:
            self.rescue(self.choices(living))
        elif self._overdue():
            self._start_beats()
        else:
            self._arm_deadlines()

    def arm_faults(self) -> None:
        """Have happen what is to happen at an instant."""
        for fault in self.faults:
            if fault.job is None and fault.verb is None:
                self.at(fault.at, lambda fault=fault: self._strike(fault))  # type: ignore[misc]

    def _strike(self, fault: Fault) -> None:
        living = self._living()
        if fault.kind == "cancel":
            self.note(None, "cancels the run", detail=fault.reason or "")
            for run in self.runs:
                self.store.cancel(run, fault.reason or "")
            self.tell(None)
        elif fault.kind == "worker_joins":
            self._hire_after()
        elif fault.kind == "worker_leaves":
            for worker in [one for one in living if fault.worker in (None, one.name)][:1]:
                if fault.drain:
                    self.at(0.0, worker.drain, worker)
                else:
                    self.note(worker.name, "crashes")
                    worker.die()
        elif fault.kind == "clock_step":
            self.note(None, f"the store's clock steps by {fault.seconds:g} s")
            self._offset += fault.seconds or 0.0
            for worker in living:
                self.at(0.0, worker.rearm, worker)
            self._arm_deadlines()
        elif fault.kind == "store_restart":
            self.note(None, f"the store is away for {fault.seconds:g} s")
            self._down_until = self.now + (fault.seconds or 0.0)
        elif fault.kind == "deploy":
            self.note(None, "deploys", detail=", ".join(sorted(fault.handlers or ())))
            self.deploy(as_tasks(fault.handlers or {}))

    def note(
        self, worker: str | None, what: str, attempt: SimulatedAttempt | None = None, detail: str = ""
    ) -> None:
        """Write down that something happened."""
        job, number = (None, None) if attempt is None else (attempt.job, attempt.number)
        self.steps.append(Step(self.elapsed(), worker, what, job, number, detail))

    def _noticed(self, violation: Violation) -> None:
        attempt = attempt_here.get()
        assert isinstance(attempt, SimulatedAttempt)
        self.raised = self.raised or violation_error(violation, attempt.job, attempt.number)


def as_tasks(handlers: Mapping[str, Callable[..., Any]]) -> dict[str, Task[..., Any]]:
    """Tasks made of what a test gives in the place of handlers; they are registered nowhere."""
    from flows._opts import Opts
    from flows._task import DEFAULT_QUEUE, Task

    return {
        name: fn if isinstance(fn, Task) else Task(fn, name, DEFAULT_QUEUE, Opts()) for name, fn in handlers.items()
    }


def _become(handler: Handler, tasks: Mapping[str, Task[..., Any]]) -> None:
    if isinstance(handler, SimulatedHandler) and handler.task.name in tasks:
        handler.become(tasks[handler.task.name])
