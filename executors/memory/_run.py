"""MemoryRun: all that is kept of one run, as columns; at once the worker's brief and the user's record."""

from __future__ import annotations

import dataclasses
import logging
from bisect import insort
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from executors.memory._growth import Lists, Mould, gathered
from executors.memory._journal import Entry, expand
from executors.memory._queues import Lane
from flows import _reopening
from flows._binding import Binding
from flows._events import Event
from flows._handlers import Handler
from flows._plan import Plan
from flows._state import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, SKIPPED, STATE_NAMES, RunState
from flows._verbs import Grant, Settle
from flows._views import Attempt, Outcome
from flows.errors import Failed, FailedState
from flows.executor import RunOptions

if TYPE_CHECKING:
    from executors._leasing import Crew
    from flows._bodies import Body
    from flows._opts import Settings

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
        gated=set(plan.conditions),
        limits=[one.attempts for one in settings] if len(attempts) > 1 else _Same(settings[0].attempts),
    )


def _distinct(plan: Plan[Any], moulds: Mapping[Body, Mould]) -> Collection[Settings]:
    """The different options of all jobs, those that lists will bring included."""
    return [one for each in (plan, *(body.plan for body in moulds)) for one in each.distinct]


def _alike(plan: Plan[Any]) -> bool:
    """Whether all jobs go to one queue, first come first served."""
    one_queue = plan.queues_of.count(plan.queues_of[0]) == len(plan)
    simple = not plan.conditions and not plan.lists
    return one_queue and simple and all(not one.priority and not one.lifo for one in plan.distinct)


class MemoryRun:
    """One run in memory. Written by its store under the store's lock; read by anyone at any time."""

    def __init__(
        self,
        options: RunOptions,
        plan: Plan[Any],
        handlers: Sequence[Handler],
        bindings: Sequence[Binding],
        clock: Callable[[], float],
        epoch: float,
        moulds: Mapping[Body, Mould] | None = None,
    ) -> None:
        size = len(plan)
        self.clock, self.epoch, self._submitted = clock, epoch, clock()
        self.options = options
        self.id, self.key, self.trace_id = options.run_id, options.key, options.trace_id
        self.plan = plan
        self.handlers: list[Handler] = handlers if isinstance(handlers, list) else list(handlers)
        self.bindings: list[Binding] = bindings if isinstance(bindings, list) else list(bindings)
        self.lists = Lists(moulds or {})
        distinct = _distinct(plan, self.lists.moulds)
        every = set(handlers).union(*(mould.handlers for mould in self.lists.moulds.values()))
        kinds = {handler.is_async for handler in every}
        self.has_async, self.has_sync = True in kinds, False in kinds
        timed = options.timeout is not None or any(one.timeout is not None for one in distinct)
        self.has_timeout = self.has_sync and timed
        self.state = _initial(plan, distinct)
        self.conditions = plan.conditions
        self.values: list[Any] = [None] * size
        self.fences = [0] * size
        self.started, self.finished = [0.0] * size, [0.0] * size
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
        self.openings = 1
        """How often the run was begun: more than once where it was reopened."""
        self.ended = False
        """Whether every job is terminal and the journal says so."""
        self.deadline_at: float | None = None
        self.delayed: list[tuple[float, int, int]] = []
        self.due: dict[int, float] = {}  # when each job that was ever delayed became or becomes ready
        self._firsts: dict[int, int] = {}
        self.leases: dict[int, tuple[Grant, float]] = {}
        self.reason = ""
        self.watchers: list[Callable[[], None]] = []
        self.interrupters: list[Callable[[], None]] = []
        """Called when the run is cancelled, so that whoever runs its handlers can tell them."""
        self.crew: Crew | None = None
        self.lanes: list[Lane] = []
        self._lane_of: dict[tuple[str, int], Lane] = {}
        self.only_lane = self.lane(plan.queues_of[0], 0) if _alike(plan) else None
        """The one lane of a run whose jobs all wait in the same place; None where it depends on the job."""

    def lane(self, queue: str, priority: int) -> Lane:
        """Where the run's jobs of that queue and priority wait."""
        lane = self._lane_of.get((queue, priority))
        if lane is None:
            lane = self._lane_of[queue, priority] = Lane(self, queue, priority)
            insort(self.lanes, lane)
        return lane

    def is_control(self, job: int) -> bool:
        """Whether what is to be done about the job is the library's own work."""
        return job in self.state.gated or job in self.plan.lists

    @property
    def submitted_at(self) -> datetime:
        return self.instant(self._submitted)

    @property
    def ended_at(self) -> datetime | None:
        ends = (at for at, kind, _ in reversed(self.journal) if kind == "ended")
        return self.instant(next(ends)) if self.ended else None

    def now(self) -> datetime:
        return self.instant(self.clock())

    def state_of(self, job: int) -> str:
        return STATE_NAMES[self.state.state[job]]

    def due_at(self, job: int) -> datetime | None:
        due = self.due.get(job)
        return self.instant(due) if due is not None and self.state.state[job] == DELAYED else None

    def ahead_of(self, job: int) -> int | None:
        before = 0
        for lane in tuple(self.lanes):
            if lane.queue == self.plan.queues_of[job]:
                try:
                    return before + lane.jobs.index(job)
                except ValueError:
                    before += len(lane.jobs)
                except RuntimeError:  # jobs came or went meanwhile, and counting again may go the same way
                    return None
        return None

    def held_back(self, job: int) -> str | None:
        return None

    def value_of(self, job: int) -> Any:
        value = self.values[job]
        # A list completes a moment before its store has put its value down; whoever reads meanwhile makes it.
        return gathered(self, job) if value is None and job in self.state.lists else value

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
        if job in self.plan.lists:
            return ()
        attempts = list(self.earlier.get(job, ()))
        state = self.state.state[job]
        if state == ACTIVE and job not in self.state.gated:
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
        """A handler says how far it is. One whose attempt was given up and goes on all the same is not heard."""
        if self.state.state[job] != ACTIVE:
            return
        self.progress[job] = progress
        self.journal.append((self.clock(), "progress", ((job, self.numbers.get(job, 1), progress),)))
        self.notify()

    def record(self, job: int, line: str) -> None:
        """A handler adds a line to its job's log."""
        self.logs.setdefault(job, []).append(line)

    def become_own(self) -> None:
        """Before the run grows: columns of its own in the place of those that it shares with the plan."""
        self.plan = self.plan.copy()
        self.state.edges, self.state.effects = self.plan.dependents, self.plan.effects
        self.handlers, self.bindings = list(self.handlers), list(self.bindings)
        self.conditions = dict(self.conditions)
        self.state.delays = dict(self.state.delays)

    def put(self, base: int, pending: Sequence[int], handlers: Sequence[Handler]) -> None:
        """Put jobs into the columns that are not the plan's; into the plan's, but for their ids, they have been put."""
        state, size = self.state, len(pending)
        rows = slice(base, base + size)
        if base < len(self.values):
            for job in range(base, base + size):
                self.renew(job)
                _reopening.wipe(state, job)
        columns: Any = (state.state, state.ordinal, self.fences, self.started, self.finished)
        for column in columns:
            column[rows] = bytes(size)
        cast("list[int]", state.pending)[rows] = pending
        self.workers[rows] = self.values[rows] = [None] * size
        self.handlers[rows] = handlers
        settings = self.plan.settings[rows]
        if isinstance(state.limits, list):
            state.limits[rows] = [one.attempts for one in settings]
        delays = cast("dict[int, float]", state.delays)
        delays.update((job, one.delay) for job, one in enumerate(settings, base) if one.delay)

    def renew(self, job: int) -> None:
        """A job that has ended will be done again: its attempts are filed, the rest of what it came to is dropped."""
        state = self.state
        if self.finished[job]:
            self.keep_attempt(job, _OUTCOMES[state.state[job]], self.errors.get(job))
        self.values[job] = self.workers[job] = None
        self.started[job] = 0.0
        for column in (self.numbers, self.since, self.errors, self.exceptions, self.progress, self._firsts):
            column.pop(job, None)

    def dismiss(self) -> None:
        """The run has ended: let go of the crew, so that the run leaves memory with its last handle."""
        if self.crew is not None and self.crew.over:  # and not that of a run which has been reopened since
            self.crew = None

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
        causes, errors, states, firsts = self.state.cause, self.errors, self.state.state, self._firsts
        seen = job
        while seen not in errors and seen in causes:
            seen = causes[seen]
            known = firsts.get(seen)  # else each job of a long chain would walk all of it
            if known is not None and states[known] > COMPLETED and (known in errors or known not in causes):
                seen = known
        if seen != job:
            firsts[job] = seen
        return seen

    def instant(self, seconds: float) -> datetime:
        """An instant of the store's clock as an aware datetime."""
        return datetime.fromtimestamp(self.epoch + seconds, UTC)
