"""What is read of a run in memory, by anyone at any time; see `flows.executor.RunRecord`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from executors.memory._columns import OUTCOMES, Columns
from executors.memory._growth import gathered
from executors.memory._journal import expand
from executors.memory._queues import Lane
from flows import _causes
from flows._events import Event
from flows._state import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, SKIPPED, STATE_NAMES
from flows._views import Attempt
from flows.errors import Failed

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun
    from executors.memory._store import MemoryStore


class Record(Columns):
    """The columns as users see them.

    Attributes:
        store: Where the run lives, once it does.
        lanes: Where its waiting jobs are.
        closed_at: When the run ended, by the store's clock.
        reason: Why it was cancelled.
    """

    __slots__ = ("clock", "closed_at", "lanes", "reason", "store", "_submitted")

    clock: Callable[[], float]
    closed_at: float | None
    lanes: list[Lane]
    reason: str
    store: MemoryStore | None
    _submitted: float

    @property
    def submitted_at(self) -> datetime:
        return self.instant(self._submitted)

    @property
    def ended_at(self) -> datetime | None:
        return None if self.closed_at is None else self.instant(self.closed_at)

    def now(self) -> datetime:
        return self.instant(self.clock())

    def state_of(self, job: int) -> str:
        return STATE_NAMES[self.state.state[job]]

    def states(self) -> bytes:
        return bytes(self.state.state)  # copied in one step: a machine at work is not held up

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
        if state == CANCELLED:
            return _causes.cancelled(name, self.reason)
        own = self.errors.get(job)
        if own is not None:
            return own
        if job in self.state.cause and state in (FAILED, SKIPPED):
            first = self.first_cause(job)
            if state == SKIPPED:
                return _causes.skipped_after(name, self.plan.ids[first], self.state.state[first])
            return _causes.dependency_failed(name, self.failed(first))
        return _causes.not_ended(name)

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        if job in self.plan.lists:
            return ()
        attempts = list(map(self.attempt, self.earlier.get(job, ())))
        state = self.state.state[job]
        if state == ACTIVE and job not in self.state.gated:
            attempts.append(self.attempt(self.tried(job, None, None)))
        elif self.finished[job] and state in OUTCOMES:  # else it has failed, and is about to be filed with the earlier
            attempts.append(self.attempt(self.tried(job, OUTCOMES[state], self.errors.get(job))))
        return attempts

    def progress_of(self, job: int) -> object:
        return self.progress.get(job)

    def logs_of(self, job: int) -> Sequence[str]:
        return tuple(self.logs.get(job, ()))

    def events(self, position: int) -> tuple[Sequence[Event], int]:
        end = len(self.journal)
        return expand(self, self.journal[position:end]), end

    def held_back(self, job: int) -> str | None:
        """What limit of its queue keeps a waiting job back, in words; None if none does."""
        return None if self.store is None else self.store.held_back(cast("MemoryRun", self), job)

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
