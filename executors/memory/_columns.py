"""The columns of a run in memory, and what is written into them. Under the store's lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from executors.memory._growth import Lists, Mould
from executors.memory._journal import Kept
from flows import _reopening
from flows._binding import Binding
from flows._handlers import Handler
from flows._plan import Plan
from flows._state import CANCELLED, COMPLETED, FAILED, SKIPPED, RunState
from flows._verbs import Settle
from flows._views import Attempt, Outcome
from flows.errors import Failed, FailedState

if TYPE_CHECKING:
    from flows._bodies import Body

Tried = tuple[int, float, float, Outcome | None, Failed | None, str | None]
"""An attempt: its number, start and end by the store's clock, and what came of it; see `Attempt`."""

OUTCOMES: dict[int, Outcome] = {COMPLETED: "completed", FAILED: "failed", SKIPPED: "skipped", CANCELLED: "cancelled"}


def _initial(plan: Plan[Any], moulds: Mapping[Body, Mould]) -> RunState:
    size, traits = len(plan.names), plan.traits
    limits = traits.attempts
    if moulds:  # the columns will grow by jobs that may differ
        distinct = {one.attempts for each in (plan, *[body.plan for body in moulds]) for one in each.distinct}
        if len(distinct) > 1:
            limits = [one.attempts for one in plan.settings]
    return RunState(  # by position, as it is made for each small run
        size,
        bytearray(size),
        plan.pending.copy(),
        [0] * size,
        plan.dependents,
        plan.effects,
        traits.delays,
        limits,
        set(plan.conditions),
    )


_NO_LISTS: Final = Lists({})
"""Of all runs without lists, which never write to it."""


class Columns:
    """What is kept of each job.

    Attributes:
        numbers: The number of a job's last attempt, where it was not the first.
        since: When the first attempt of a job began, for jobs on another attempt.
        earlier: Attempts before the last, as they are told to `Attempt`, which is made when somebody reads them.
        replayed: Jobs that completed with the result of another, without an attempt.
        due: When each job that was ever delayed became or becomes ready.
        unhandled: When each job first met a worker without a handler for it.
    """

    __slots__ = (
        *("bindings", "conditions", "due", "earlier", "epoch", "errors", "exceptions", "fences", "finished"),
        *("handlers", "journal", "lists", "logs", "numbers", "plan", "progress", "replayed", "since", "started"),
        *("state", "unhandled", "values", "workers", "_firsts"),
    )

    def __init__(
        self,
        plan: Plan[Any],
        handlers: Sequence[Handler],
        bindings: Sequence[Binding],
        moulds: Mapping[Body, Mould],
        epoch: float,
    ) -> None:
        size = len(plan.names)
        self.epoch = epoch
        self.plan = plan
        self.handlers: list[Handler] = handlers if isinstance(handlers, list) else list(handlers)
        self.bindings: list[Binding] = bindings if isinstance(bindings, list) else list(bindings)
        self.lists = Lists(moulds) if moulds else _NO_LISTS
        self.state = _initial(plan, moulds)
        self.conditions = plan.conditions
        nothing: list[Any] = [None] * size  # copies cost half as much
        self.values, self.workers = nothing, cast("list[str | None]", nothing.copy())
        self.fences = [0] * size
        self.started = [0.0] * size
        self.finished = self.started.copy()
        self.numbers: dict[int, int] = {}
        self.since: dict[int, float] = {}
        self.errors: dict[int, Failed] = {}
        self.exceptions: dict[int, BaseException] = {}
        self.earlier: dict[int, list[Tried]] = {}
        self.progress: dict[int, object] = {}
        self.logs: dict[int, list[str]] = {}
        self.journal: list[Kept] = []
        self.due: dict[int, float] = {}
        self.unhandled: dict[int, float] = {}
        self.replayed: set[int] = set()
        self._firsts: dict[int, int] = {}

    def is_control(self, job: int) -> bool:
        """Whether what is to be done about the job is the library's own work."""
        return job in self.state.gated or job in self.plan.lists

    def tried(self, job: int, outcome: Outcome | None, error: Failed | None) -> Tried:
        """The last attempt of a job as the columns tell it."""
        return self.numbers.get(job, 1), self.started[job], self.finished[job], outcome, error, self.workers[job]

    def attempt(self, tried: Tried) -> Attempt:
        """An attempt as users see it."""
        number, started, finished, outcome, error, worker = tried
        end = None if outcome is None else self.instant(finished)
        return Attempt(number, self.instant(started), end, outcome, error, worker)

    def keep_attempt(self, job: int, outcome: Outcome, error: Failed | None) -> None:
        """File the last attempt among the earlier ones: there will be another."""
        self.earlier.setdefault(job, []).append(self.tried(job, outcome, error))
        self.finished[job] = 0.0

    def keep_error(self, job: int, settle: Settle) -> None:
        """File why a job ended otherwise than completed."""
        if settle.error is not None and settle.failed is not None:
            state: FailedState = "cancelled" if self.state.state[job] == CANCELLED else settle.failed.state
            self.errors[job] = dataclasses.replace(settle.failed, state=state)
            self.exceptions[job] = settle.error

    def replay(self, settle: Settle, now: float) -> None:
        """File the result of another job as that of this one."""
        job = settle.grant.job
        self.values[job] = settle.value
        self.finished[job] = 0.0
        self.replayed.add(job)
        self.journal.append((now, "replayed", ((job, None, f"the result of {settle.origin}"),)))

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
            self.keep_attempt(job, OUTCOMES[state.state[job]], self.errors.get(job))
        self.values[job] = self.workers[job] = None
        self.started[job] = 0.0
        self.replayed.discard(job)
        told = (self.errors, self.exceptions, self.progress)
        for column in (self.numbers, self.since, *told, self.unhandled, self._firsts):
            column.pop(job, None)

    def placed(self, job: int, worker: str) -> None:
        """Who runs a job, where that is more than the worker which claimed it."""
        self.workers[job] = worker

    def instant(self, seconds: float) -> datetime:
        """An instant of the store's clock as an aware datetime."""
        return datetime.fromtimestamp(self.epoch + seconds, UTC)
