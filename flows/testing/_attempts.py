"""One simulated attempt: who makes it, what happens in it at which point, and what became of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from flows._children import Children
from flows._handlers import Handler, cancelled_inside, handler_of
from flows._idempotency import job_key
from flows.testing._faults import Fault, Raised
from flows.testing._ledger import attempt_here
from flows.testing._payloads import Receiver, written
from flows.testing._virtual_time import BEGINNING

if TYPE_CHECKING:
    from flows._task import Task
    from flows._verbs import Grant
    from flows.testing._mishaps import Fate
    from flows.testing._simulated_worker import SimulatedWorker
    from flows.testing._world import World

OUTCOMES: Final = (
    *("completed", "failed", "retrying", "skipped", "cancelled", "released", "replayed"),
    *("crashed", "lost", "refused"),
)


NOTHING: Final[Fate] = {}
"""What may happen in an attempt where no fault is meant for it."""

__tracebackhide__ = True  # pytest shows where a handler has raised, and not how it came to be called


class Died(BaseException):
    """The process that ran the handler is no more; nothing that it does from here on counts."""


class SimulatedAttempt:
    """One start of a handler, or of what comes before it.

    Attributes:
        job, task: The job's id and its task's name.
        number: Which attempt it is, counted from 1; one that lost its worker is made again under the same number.
        worker: Who made it.
        fence: Grows with every lease that the store gives.
        key: The idempotency key that the handler saw.
        began_at, ended_at: In seconds since the simulation began; `ended_at` is None where nobody saw its end.
        outcome: ``completed``, ``failed``, ``retrying`` (another will follow), ``skipped``, ``cancelled``,
            ``released`` (given back), ``replayed`` (it took the result of another job), ``crashed`` (its worker died),
            ``lost`` (its worker lost its lease, and stopped it) or ``refused`` (it came too late: its lease was
            another's). None where it had not ended.
        error: What it raised, as text; empty where it raised nothing.
        backoff: Seconds that it asked to wait before the next one, where that follows.
        called: Whether the handler was called.
        saw: Of which jobs it was given results, and of which failures, where it takes `Children`.
        settled_at: When the store heard of its end; None where it never did.
        steps_before: How many of the trace's steps had been noted when it began.
    """

    __slots__ = (
        *("job", "task", "number", "worker", "fence", "key", "began_at", "ended_at", "outcome", "error", "backoff"),
        *(
            "steps_before",
            "reached",
            "called",
            "saw",
            "by",
            "fate",
            "dead",
            "extra",
            "spent",
            "settled_at",
            "store_began_at",
            "store_settled_at",
        ),
    )

    def __init__(self, by: SimulatedWorker, grant: Grant) -> None:
        plan, job, world = grant.run.plan, grant.job, by.world
        self.job, self.task = plan.ids[job], plan.names[job]
        self.number, self.fence, self.worker = grant.attempt, grant.fence, by.name
        self.key = job_key(grant.run, job)
        self.began_at, self.store_began_at = world.now - BEGINNING, world.told
        self.ended_at: float | None = None
        self.settled_at: float | None = None
        self.store_settled_at = 0.0
        self.outcome: str | None = None
        self.error = ""
        self.backoff: float | None = None
        self.called = self.dead = False
        self.saw: tuple[frozenset[str], frozenset[str]] | None = None
        self.spent = self.extra = 0.0
        self.steps_before = len(world.steps)
        self.by = by
        self.fate = NOTHING
        self.reached: dict[str, int] = {}

    def reach(self, point: str) -> None:
        """The handler is at *point*: what is to happen there happens now.

        Raises:
            Died: Its worker dies here, or has died before.
            BaseException: What a `Fault.fail` asks for.
        """
        if self.dead:
            raise Died
        count = self.reached[point] = self.reached.get(point, 0) + 1
        if point in self.fate:
            self._befall(point, count)

    def _befall(self, point: str, count: float) -> None:
        """What is to happen at *point*, when that was reached so often, happens; once."""
        here = self.fate.pop(point, [])
        self.fate[point] = [one for one in here if (one[1].nth or 1) > count]
        for place, fault in here:
            if (fault.nth or 1) > count or not self.by.world.mishaps.strikes(place):
                continue
            if fault.kind in ("slow", "duplicate"):
                self.by.hang(self, fault)
            elif fault.kind == "crash":
                self.dead = True
                self.by.world.note(self.worker, "crashes", self, point.replace("_", " "))
                raise Died
            else:
                raise _made(fault.exc)

    def pause(self) -> float:
        """Seconds until the handler is called, where it is to be late."""
        wait = 0.0
        if not self.fate:
            return wait
        for fault in self._taken("slow", "before_start"):
            self.by.hang(self, fault)
            wait += fault.seconds or 0.0 if fault.renewed else 0.0
        return wait

    def crashes(self, point: str) -> bool:
        """Whether its worker is to die at *point*, which no handler sees."""
        if not self.fate or not self._taken("crash", point):
            return False
        self.dead = True
        self.by.world.note(self.worker, "crashes", self, point.replace("_", " "))
        return True

    def clock(self) -> float:
        """What the store's clock will say when what the handler has done up to now is over."""
        return self.by.world.told + self.spent

    def elapsed(self) -> float:
        """Seconds since the simulation began."""
        return self.by.world.elapsed() + self.spent

    def simulation(self) -> int:
        """Which simulation of this process it is."""
        return self.by.world.number

    def returned(self) -> None:
        """The handler has returned: what was to happen inside it and did not, happens now."""
        if self.dead:
            raise Died
        if not self.fate:
            return
        for point in ("mid", "await", "after_effect"):
            if point in self.fate:
                self._befall(point, math.inf)
        for fault in self._taken("fail", "before_settle"):
            raise _made(fault.exc)

    def _taken(self, kind: str, point: str) -> list[Fault]:
        """Faults of one kind that strike at *point*; they will not again."""
        if point not in self.fate:
            return []
        here = self.fate[point]
        taken = [one for one in here if one[1].kind == kind]
        for one in taken:
            here.remove(one)
        return [fault for place, fault in taken if self.by.world.mishaps.strikes(place)]

    def __repr__(self) -> str:
        number = f" (attempt {self.number})" if self.number > 1 else ""
        return f"<{self.job}{number} on {self.worker}: {self.outcome or 'runs'}>"


def failure_of(error: BaseException) -> RuntimeError:
    """What counts in the place of SystemExit and its like: a failure like others, as a worker serves other jobs, too.

    Raises:
        BaseException: *error* is meant for whoever simulates: KeyboardInterrupt, what ends or skips a test.
    """
    if type(error).__name__ == "CancelledError":  # of asyncio, which a simulation need not load
        return cancelled_inside(error)
    if not isinstance(error, SystemExit | GeneratorExit):
        raise error
    failure = RuntimeError(f"the handler raised {type(error).__name__}, which would have ended the worker")
    failure.__cause__ = error
    return failure


def _made(exc: Raised | None) -> BaseException:
    """A fresh exception for each attempt, where only its class was given."""
    assert exc is not None
    return exc if isinstance(exc, BaseException) else exc("injected by Fault.fail")


class SimulatedHandler(Handler):
    """A handler whose data is written down and read back, and in which things happen that a simulation asks for."""

    __slots__ = ("_receiver", "_target", "name", "world")

    def __init__(self, world: World, task: Task[..., Any]) -> None:
        self.world = world
        self.name = task.name
        self.become(task)

    def become(self, task: Task[..., Any]) -> None:
        """From now on it is *task* that is run."""
        real = handler_of(task)
        self.task, self.parameters, self.plain = task, real.parameters, real.plain
        self.is_async = real.is_async
        self._receiver, self._target = Receiver(real.parameters), task.fn
        self.fn = self._call_async if self.is_async else self._call

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        attempt, args, kwargs = self._entered(args, kwargs)
        guard = self.world.guard
        guard.begin()
        try:
            value = self._target(*args, **kwargs)
        finally:
            guard.end()
        return self._left(attempt, value)

    async def _call_async(self, *args: Any, **kwargs: Any) -> Any:
        attempt, args, kwargs = self._entered(args, kwargs)
        guard = self.world.guard
        guard.begin()
        try:
            coro = self._target(*args, **kwargs)
        finally:
            guard.end()
        return self._left(attempt, await attempt.by.loop_here().watched(coro, lambda: attempt.reach("await")))

    def _entered(self, args: Any, kwargs: Any) -> tuple[SimulatedAttempt, Any, Any]:
        attempt = self.world.entered
        assert attempt is not None
        if args or kwargs:
            args, kwargs = self._receiver.receive(args, kwargs, f"job {attempt.job!r}")
        if self.parameters.injected:
            for value in kwargs.values():
                if type(value) is Children:
                    attempt.saw = frozenset(value.values), frozenset(value.failures)
        if attempt.dead or attempt.fate:
            attempt.reach("before_start")
        attempt_here.set(attempt)
        attempt.called = True
        attempt.spent = attempt.extra
        return attempt, args, kwargs

    def _left(self, attempt: SimulatedAttempt, value: Any) -> Any:
        attempt.returned()
        return written(value, f"job {attempt.job!r}")
