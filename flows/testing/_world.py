"""The world of a simulation: time, the network, the store, the workers, and a record of what happened.

Nothing in it decides what a run means: the store and the cores of the workers are the real ones, only what moves
events between them is not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flows._handlers import Handler
from flows._keeper import LEASE_SECONDS, KeeperCore
from flows._verbs import End, Grant, Reply, Settle
from flows._worker import Exchange
from flows.testing._attempts import SimulatedAttempt, SimulatedHandler
from flows.testing._calm import pass_calm
from flows.testing._choices import Choices
from flows.testing._faults import Fault
from flows.testing._ledger import attempt_here
from flows.testing._memory import (
    Sharing,
    SimulatedRun,
    SimulatedStore,
    StaleCallError,
    make_run,
    retarget,
    starting,
)
from flows.testing._mishaps import Mishaps
from flows.testing._real_time import RealTimeGuard, Violation, violation_error
from flows.testing._simulated_worker import HIRED_AFTER, TAKES, SimulatedWorker
from flows.testing._step import STOPPED, Step
from flows.testing._virtual_time import BEGINNING, EPOCH, VirtualTime

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows._task import Task
    from flows.executor import RunOptions
    from flows.testing._virtual_loop import VirtualLoop

POLL_SECONDS: Final = 5.0
"""How long a worker waits that nobody wakes before it looks by itself."""

POLLS: Final = 3
STEPS: Final = 300_000
STRETCH: Final = 50
STILL_STRETCHES: Final = 1_000
"""So many stretches of so many steps without a new attempt, and a simulation is stopped: a handler goes in circles.
"""

AFTERMATH_STEPS: Final = 2_000

_CHUNKS: Final = (500, 1, 2, 3)
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

_RETRY: Final = End.RETRY

_numbers: Final = itertools.count(1)


class World(VirtualTime):
    """A store, workers, and all that may go wrong between them.

    Attributes:
        steps: What happened, in order.
        attempts: Every start of a handler, in order.
        entered: The attempt whose handler is about to be called.
        ended_at: When each run ended, in seconds since the simulation began.
        mixed: Whether some jobs run on the event loop, and others do not.
        down_until: When the store is back.
        number: Which simulation of this process it is.
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
        super().__init__()
        self.number = next(_numbers)
        self.choices, self.slots, self.lease = choices, slots, lease
        self.mishaps = Mishaps(faults, choices)
        self.steps: list[Step] = []
        self.attempts: list[SimulatedAttempt] = []
        self.workers: list[SimulatedWorker] = []
        self.runs: list[SimulatedRun] = []
        self.ended_at: dict[SimulatedRun, float] = {}
        self.entered: SimulatedAttempt | None = None
        self.mixed = False
        self.down_until = 0.0
        self.guard = RealTimeGuard(allow, self._noticed)
        self._raised: BaseException | None = None
        self._replaced = dict(replaced or {})
        self._handlers: dict[Any, SimulatedHandler] = {}
        self._due: float | None = None
        self._until = self.now
        self.store = SimulatedStore(self.clock, EPOCH, lease, choices(_CHUNKS), self._repeats)
        self._sharing = Sharing(self.store)

    def play(self, limit: float) -> None:
        """Let time pass until all runs have ended, nothing can happen any more, or *limit* seconds are over."""
        __tracebackhide__ = True
        self._until = self.now + limit
        self.halted = len(self.ended_at) >= len(self.runs)
        polls = seen = still = 0
        for _ in range(STEPS // STRETCH):
            before = len(self.attempts)
            going_on = self.go_on(STRETCH, self._until, self.workers)
            if self._raised is not None:
                raise self._raised
            if not going_on:
                polls, seen = polls + 1 if before == seen else 1, len(self.attempts)
                if polls > POLLS:
                    break
                self.at(POLL_SECONDS, self._poll)
            elif self._is_over():
                break
            elif len(self.attempts) > before:
                still = 0
            elif still < STILL_STRETCHES + len(self.workers):
                still += 1
                pass_calm(self, self._until)
            else:
                self.note(None, STOPPED, detail=f"no job has begun in {still * STRETCH:,} steps of it")
                break
        else:
            self.note(None, STOPPED, detail=f"it has not ended in {STEPS:,} steps")
        self._finish()

    def _is_over(self) -> bool:
        return len(self.ended_at) >= len(self.runs) or self.now >= self._until

    def _finish(self) -> None:
        """What was under way when the last run ended still turns up."""
        end = self.now + 3 * self.lease
        for _ in range(AFTERMATH_STEPS):
            following, self.halted = self.next_at(), False
            if following is None or following > end or not self.step(len(self.workers)):
                break
            if self._raised is not None:
                raise self._raised
        for worker in self.workers:
            worker.close()

    def _poll(self) -> None:
        for worker in self.workers:
            if not worker.gone and worker.frozen_until <= self.now:
                worker.wake()

    def fall(self, error: BaseException) -> None:
        """Something is to be raised out of the simulation."""
        self._raised = self._raised or error
        self.halted = True

    def note(self, worker: str | None, what: str, attempt: SimulatedAttempt | None = None, detail: str = "") -> None:
        """Write down that something happened."""
        job, number = (None, None) if attempt is None else (attempt.job, attempt.number)
        self.steps.append(Step(self.elapsed(), worker, what, job, number, detail))

    def _noticed(self, violation: Violation) -> None:
        attempt = attempt_here.get()
        assert isinstance(attempt, SimulatedAttempt)
        self.fall(violation_error(violation, attempt.job, attempt.number))

    def hire(self) -> SimulatedWorker:
        """A new worker, which looks for work at once."""
        worker = SimulatedWorker(self, f"worker-{len(self.workers) + 1}")
        self.workers.append(worker)
        worker.woken = True
        self.at(0.0, worker.wake, worker)
        if self.overdue:
            self.rescue(worker)
        self.stirred[worker] = None
        return worker

    def left(self, worker: SimulatedWorker) -> None:
        """A worker is gone: another takes its place."""
        self.at(self.choices(HIRED_AFTER), self.join)

    def join(self) -> None:
        """A worker comes while the simulation goes on."""
        self.note(self.hire().name, "joins")

    def have_another(self, worker: SimulatedWorker) -> None:
        """See to it that there is a worker besides this one."""
        if all(one is worker for one in self.living()):
            self.join()

    def living(self) -> list[SimulatedWorker]:
        """The workers that are not gone."""
        return [worker for worker in self.workers if not worker.gone]

    def calm_down(self) -> None:
        stirred = tuple(self.stirred)
        self.stirred.clear()
        for worker in stirred:
            if not worker.gone:
                worker.arm()
        if self.store.watched or self.overdue:
            self._start_beats()

    def _start_beats(self) -> None:
        for worker in self.workers:
            if not worker.gone and not worker.beating:
                worker.beating = True
                if worker.keeper.wake_at <= self.now:  # it has had nothing to keep for a while
                    worker.keeper = KeeperCore(self.now, self.lease)
                self.at_beat(worker.keeper.wake_at - self.now, worker)

    @property
    def down(self) -> bool:
        """Whether the store is away."""
        return self.now < self.down_until

    def delivery(self, verb: str, kinds: Sequence[str]) -> tuple[str, float]:
        """What becomes of a call, and after how many seconds it reaches the store."""
        return ("lost_call", 0.0) if self.now < self.down_until else self.mishaps.of_call(verb, kinds)

    def _repeats(self, verb: str) -> bool:
        return self.delivery(verb, ())[0] in ("lost_reply", "doubled_call", "late_call")

    def exchange(self, worker: SimulatedWorker, call: Exchange) -> Reply | None:
        """The call reaches the store; None when it is stale."""
        try:
            reply = self.store.exchange(worker.name, call.seq, call.settles, call.want, worker.name)
        except StaleCallError:
            return None
        settles, grants = call.settles, reply.grants
        for settle in settles:
            attempt = worker.attempts.get(settle.grant)
            if attempt is not None and attempt.settled_at is None:
                self._settled(worker, attempt, settle, settle in reply.refused)
        if grants:
            self.stirred[worker] = None
        # A look that has changed nothing wakes nobody, and where there is nobody else nothing does.
        if len(self.workers) > 1 and (settles or grants or self.store.unswept):
            self.tell(worker)
        return reply

    def _settled(self, worker: SimulatedWorker, attempt: SimulatedAttempt, settle: Settle, refused: bool) -> None:
        attempt.settled_at, attempt.store_settled_at = self.now - BEGINNING, self.told
        attempt.outcome = "refused" if refused else _ENDS[settle.end]
        if refused:
            self.note(worker.name, "comes too late", attempt, _ENDS[settle.end])
        if attempt.fate and attempt.crashes("after_settle"):
            worker.die()

    def rescue(self, worker: SimulatedWorker) -> None:
        """A keeper takes up the jobs of the dead, and cancels what is overdue."""
        if self.delivery("rescue", ())[0] != "lost_call":
            rescued, overdue = self.store.rescue(), self.store.deadline_at
            if rescued:
                self.note(worker.name, f"rescues {rescued} jobs" if rescued > 1 else "rescues a job")
            if rescued or overdue != self.store.deadline_at:
                self.tell(None)

    def tell(self, who: SimulatedWorker | None) -> None:
        """Wake the others where something can be claimed, or will be sooner than they know."""
        due = self.store.due_at
        sooner, self._due = due is not None and (self._due is None or due < self._due), due
        if sooner or self.store.claimable:
            others = [one for one in self.workers if one is not who and not one.gone and not one.woken]
            if len(others) > 1:
                first = self.choices(range(len(others)))
                others = others[first:] + others[:first]
            for one in others:
                one.woken = True
                self.at(0.0, one.wake, one)

    def submit(self, plan: Plan[Any], options: RunOptions) -> SimulatedRun:
        """Put a run of *plan* into the store."""
        run = make_run(plan, options, self.store, self._handler_of)
        self.runs.append(run)
        self.mixed = self.mixed or (run.has_async and run.has_sync)
        run.interrupters.append(lambda: self._interrupt(run))
        run.on_end = lambda: self._ended(run)
        self.arm_deadlines()
        return run

    def _ended(self, run: SimulatedRun) -> None:
        self.ended_at.setdefault(run, self.elapsed())
        self.halted = self.halted or len(self.ended_at) >= len(self.runs)

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

        def change(handler: Handler) -> None:
            if isinstance(handler, SimulatedHandler) and handler.name in handlers:
                handler.become(handlers[handler.name])

        for run in self.runs:
            retarget(run, change)

    def _interrupt(self, run: SimulatedRun) -> None:
        for worker in self.workers:
            worker.interrupted(run)

    def begin(self, worker: SimulatedWorker, grant: Grant) -> SimulatedAttempt:
        """An attempt begins."""
        attempt = SimulatedAttempt(worker, grant)
        if self.mishaps.faults:
            attempt.fate = self.mishaps.of_attempt(attempt.job, attempt.task, attempt.number)
        self.attempts.append(attempt)
        takes, timeout = self.choices(TAKES), grant.run.plan.settings[grant.job].timeout
        attempt.extra = takes if timeout is None else min(takes, timeout / 2)
        return attempt

    def concluded(self, attempt: SimulatedAttempt, settle: Settle) -> None:
        """An attempt has ended, and its worker is about to say so."""
        attempt.outcome, attempt.ended_at = _ENDS[settle.end], self.now - BEGINNING
        if settle.failed is not None:
            attempt.error = f"{settle.failed.type}: {settle.failed.message}".removesuffix(": ")
        if settle.end is _RETRY:
            attempt.backoff = settle.after

    def before(self, grant: Grant) -> Settle | None:
        """How a job ends that shares its result, without an attempt; None when it is to run."""
        run: Any = grant.run
        return self._sharing.before(grant, self.clock) if run.shares else None

    def after(self, settle: Settle) -> Settle:
        """What a handler came to, as it counts for all that share it."""
        run: Any = settle.grant.run
        if not run.shares:
            return settle
        settle = self._sharing.after(settle)
        self.tell(None)  # those who waited for it
        return settle

    def starting(self, grant: Grant, clock: Callable[[], float]) -> Callable[[], float]:
        """Tell the store of a start that a rate counts."""
        run: Any = grant.run
        return starting(self.store, grant, clock) if run.rated else clock

    def new_loop(self, worker: SimulatedWorker) -> VirtualLoop:
        """An event loop for a worker that has async handlers to run."""
        from flows.testing._virtual_loop import VirtualLoop

        return VirtualLoop(  # type: ignore[abstract]  # what it lacks raises NotImplementedError
            lambda delay, what: self.at(delay, what, worker), lambda: self.now, self.guard
        )

    def arm_deadlines(self) -> None:
        """See to it that overdue runs are cancelled in time."""
        deadline_at = self.store.deadline_at
        if deadline_at is not None:
            self.at_clock(deadline_at, self._pass_deadline)

    @property
    def overdue(self) -> bool:
        """Whether a run's deadline has passed, and nobody has cancelled it."""
        deadline_at = self.store.deadline_at
        return deadline_at is not None and deadline_at <= self.clock()

    def _pass_deadline(self) -> None:
        if not self.overdue:
            self.arm_deadlines()
            return
        awake = [worker for worker in self.living() if worker.frozen_until <= self.now]
        if awake:
            self.rescue(self.choices(awake))
        if self.overdue:
            self._start_beats()
