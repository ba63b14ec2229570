"""MemoryRun: all that is kept of one run, as columns; at once the worker's brief and the user's record."""

from __future__ import annotations

import dataclasses
import logging
from bisect import insort
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from executors.memory._journal import Entry, expand
from executors.memory._queues import Lane
from executors.memory._teller import Telling, listeners, teller
from flows._binding import Binding
from flows._events import Event
from flows._handlers import Handler
from flows._opts import Settings
from flows._plan import Plan
from flows._state import ACTIVE, CANCELLED, COMPLETED, FAILED, SKIPPED, STATE_NAMES, RunState
from flows._telemetry import trace_run
from flows._verbs import Grant, Settle
from flows._views import Attempt, Outcome, end_state
from flows.errors import Failed, FailedState
from flows.executor import RunOptions

if TYPE_CHECKING:
    from executors._leasing import Crew
    from flows._meters import Depths
    from flows._tracing import RunTrace

log = logging.getLogger("flows")

_OUTCOMES: dict[int, Outcome] = {COMPLETED: "completed", FAILED: "failed", SKIPPED: "skipped", CANCELLED: "cancelled"}


class _Same:
    """A column whose entries are all the same."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value

    def __getitem__(self, job: int) -> int:
        return self._value


def _initial(plan: Plan[Any], distinct: Collection[Settings]) -> RunState:
    size, settings = len(plan), plan.settings
    attempts = {one.attempts for one in distinct}
    delayed = any(one.delay for one in distinct)
    return RunState(
        size=size,
        state=bytearray(size),
        pending=plan.pending.copy(),
        ordinal=[0] * size,
        edges=plan.dependents,
        effects=plan.effects,
        delays={job: one.delay for job, one in enumerate(settings) if one.delay} if delayed else {},
        limits=[one.attempts for one in settings] if len(attempts) > 1 else _Same(settings[0].attempts),
    )


def _alike(plan: Plan[Any], distinct: Collection[Settings]) -> bool:
    """Whether all jobs go to one queue, first come first served."""
    one_queue = plan.queues_of.count(plan.queues_of[0]) == len(plan)
    return one_queue and all(not one.priority and not one.lifo for one in distinct)


class MemoryRun:
    """One run in memory. Written by its store under the store's lock; read by anyone at any time.

    Attributes:
        tracing: The run's trace, where somebody records it.
        telling: How far loggers and meters have heard of it, where there are any.
    """

    tracing: RunTrace | None = None
    telling: Telling | None = None

    def __init__(
        self,
        options: RunOptions,
        plan: Plan[Any],
        handlers: Sequence[Handler],
        bindings: Sequence[Binding],
        clock: Callable[[], float],
        epoch: float,
    ) -> None:
        size = len(plan)
        self.clock, self.epoch = clock, epoch
        self.options = options
        self.id, self.key, self.trace_id = options.run_id, options.key, options.trace_id
        self.plan = plan
        self.handlers = handlers
        self.bindings = bindings
        distinct = {id(one): one for one in plan.settings}.values()
        kinds = {handler.is_async for handler in set(handlers)}
        self.has_async, self.has_sync = True in kinds, False in kinds
        self.has_timeout = self.has_sync and any(one.timeout is not None for one in distinct)
        self.state = _initial(plan, distinct)
        self.values: list[Any] = [None] * size
        self.fences = [0] * size
        self.started: list[float] = [0.0] * size
        self.finished: list[float] = [0.0] * size
        self.workers: list[str | None] = [None] * size
        self.numbers: dict[int, int] = {}
        """The number of a job's last attempt, where it was not the first."""
        self.since: dict[int, float] = {}
        """When the first attempt of a job began, for jobs on another attempt."""
        self.errors: dict[int, Failed] = {}
        self.exceptions: dict[int, BaseException] = {}
        self.earlier: dict[int, list[Attempt]] = {}
        self.progress: dict[int, object] = {}
        self.logs: dict[int, list[str]] = {}
        self.journal: list[Entry] = []
        self.ended = False
        """Whether every job is terminal and the journal says so."""
        self.delayed: list[tuple[float, int, int]] = []
        self.leases: dict[int, tuple[Grant, float]] = {}
        self.reason = ""
        self.watchers: list[Callable[[], None]] = []
        self.interrupters: list[Callable[[], None]] = []
        """Called when the run is cancelled, so that whoever runs its handlers can tell them."""
        self.crew: Crew | None = None
        self.lanes: list[Lane] = []
        self._lane_of: dict[tuple[str, int], Lane] = {}
        self.only_lane = self.lane(plan.queues_of[0], 0) if _alike(plan, distinct) else None
        """The one lane of a run whose jobs all wait in the same place; None where it depends on the job."""

    def lane(self, queue: str, priority: int) -> Lane:
        """Where the run's jobs of that queue and priority wait."""
        lane = self._lane_of.get((queue, priority))
        if lane is None:
            lane = self._lane_of[queue, priority] = Lane(self, queue, priority)
            insort(self.lanes, lane)
        return lane

    def state_of(self, job: int) -> str:
        return STATE_NAMES[self.state.state[job]]

    def value_of(self, job: int) -> Any:
        return self.values[job]

    def exception_of(self, job: int) -> BaseException | None:
        return self.exceptions.get(job)

    def failed(self, job: int) -> Failed:
        """Why a job did not complete: what its handler raised, or what became of its dependencies."""
        name = self.plan.ids[job]
        state = self.state.state[job]
        if state == CANCELLED:  # whatever its handler then raised
            return Failed("RunCancelledError", self.reason or "the run was cancelled", "", name, "cancelled")
        own = self.errors.get(job)
        if own is not None:
            return own
        cause = self.state.cause.get(job)
        if state == FAILED and cause is not None:
            first = self.first_cause(job)
            own = self.failed(first)
            text = f"dependency {self.plan.ids[first]!r} failed: {own.type}: {own.message}"
            return Failed("DependencyFailedError", text, "", name, "failed")
        if state == SKIPPED and cause is not None:
            first = self.first_cause(job)
            what = "failed" if self.state.state[first] == FAILED else f"was {self.state_of(first)}"
            return Failed("Skip", f"because of {self.plan.ids[first]}, which {what}", "", name, "skipped")
        return Failed(
            "PendingError",
            "had not ended when a dependency with policy 'continue' released the job",
            "",
            name,
            "cancelled",
        )

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        attempts = list(self.earlier.get(job, ()))
        state = self.state.state[job]
        if state == ACTIVE:
            attempts.append(self.attempt(job, None, None))
        elif self.finished[job]:
            attempts.append(self.attempt(job, _OUTCOMES[state], self.errors.get(job)))
        return attempts

    def attempt(self, job: int, outcome: Outcome | None, error: Failed | None) -> Attempt:
        """The last attempt of a job as the columns tell it."""
        end = None if outcome is None else self.instant(self.finished[job])
        return Attempt(
            self.numbers.get(job, 1), self.instant(self.started[job]), end, outcome, error, self.workers[job]
        )

    def keep_attempt(self, job: int, outcome: Outcome, error: Failed | None) -> None:
        """File the last attempt among the earlier ones: there will be another."""
        self.earlier.setdefault(job, []).append(self.attempt(job, outcome, error))
        self.finished[job] = 0.0

    def keep_error(self, job: int, settle: Settle) -> None:
        """File why a job ended otherwise than completed."""
        if settle.error is not None and settle.failed is not None:
            state: FailedState = "cancelled" if self.state.state[job] == CANCELLED else settle.failed.state
            self.errors[job] = dataclasses.replace(settle.failed, state=state)
            self.exceptions[job] = settle.error

    def progress_of(self, job: int) -> object:
        return self.progress.get(job)

    def logs_of(self, job: int) -> Sequence[str]:
        return tuple(self.logs.get(job, ()))

    def events(self, position: int) -> tuple[Sequence[Event], int]:
        end = len(self.journal)
        return expand(self, self.journal[position:end]), end

    def report(self, job: int, progress: object) -> None:
        """A handler says how far it is."""
        self.progress[job] = progress
        self.journal.append((self.clock(), "progress", ((job, self.numbers.get(job, 1), progress),)))
        self.notify()

    def record(self, job: int, line: str) -> None:
        """A handler adds a line to its job's log."""
        self.logs.setdefault(job, []).append(line)

    def observe(self, place: Depths) -> None:
        """Decide, once and before the run begins, who will hear of it: a trace, loggers, meters."""
        self.tracing = trace_run(self.plan.name, len(self.plan), self.options)
        if self.tracing is not None:
            self.trace_id = self.tracing.trace_id
        told = listeners(place)
        if told:
            self.telling = Telling(self, told)

    def observe_again(self) -> None:
        """The run has ended and goes on: those who heard of it will hear of that, too."""
        if self.tracing is not None:
            self.tracing.reopen(len(self.plan))
        if self.telling is not None:
            self.telling.go_on(self)

    def dismiss(self) -> None:
        """The run has ended: let go of the crew, so that the run leaves memory with its last handle."""
        self.crew = None
        self._finish_trace()

    def conclude(self) -> None:
        """The run has ended, and somebody who waited for that goes on: by now, those who heard of it have heard all."""
        self._finish_trace()
        if self.telling is not None:
            teller.catch_up(self, self.telling)

    def _finish_trace(self) -> None:
        if self.tracing is not None:
            state = end_state(self)
            wrong = next((root for root in self.plan.roots if self.state_of(root) == state), None)
            self.tracing.finish(state, None if state == "completed" or wrong is None else self.failed(wrong))

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change, from any thread."""
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    def notify(self) -> None:
        """Tell the watchers that something has changed."""
        for changed in tuple(self.watchers):
            try:
                changed()
            except Exception:  # whoever watches must not stop the run
                log.exception("a watcher of run %s failed", self.id)

    def first_cause(self, job: int) -> int:
        """Down the chain of causes to the job that went wrong by itself."""
        seen = job
        while seen not in self.errors and seen in self.state.cause:
            seen = self.state.cause[seen]
        return seen

    def instant(self, seconds: float) -> datetime:
        """An instant of the store's clock as an aware datetime."""
        return datetime.fromtimestamp(self.epoch + seconds, UTC)
