"""StoredRecord: a run as users read it, made of what its store says.

It has the plan, as submitted here or read when it is first asked for, and a `Glance`, through which the store is asked:
for one job at a time, or for all where many are asked about. How a run stands is not kept longer than that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Final

from executors._stored._glance import Glance
from executors._stored._header import Header
from executors._stored._reading import PastAttempt, Reader, RunFacts, StoredEvent
from executors._stored._rows import rows_from
from executors._stored._unpacking import grown, unpack
from executors._stored._values import read, read_all, read_failed
from flows import _causes, _registry
from flows._events import Event
from flows._plan import Plan
from flows._receiving import returned
from flows._state import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED, SKIPPED, STATE_NAMES
from flows._views import Attempt, Outcome, end_state
from flows.errors import Failed

OUTCOMES: Final[Mapping[int, Outcome]] = {
    COMPLETED: "completed",
    FAILED: "failed",
    SKIPPED: "skipped",
    CANCELLED: "cancelled",
}
_WITH_FAILURE: Final = frozenset(("failed", "retrying", "skipped", "cancelled"))


class StoredRecord:
    """One run of a store; see `flows.executor.RunRecord`. Every answer is what the store knows at that moment.

    A few answers are asked of the store one at a time; when many come at once, as when a run of 100,000 jobs is
    explained, all jobs are read together, and that is looked at for a moment.

    Args:
        reader: The store's answers.
        run: How the store identifies the run.
        plan: As submitted, where that happened in this process; else it is made of what is stored when it is needed.

    Attributes:
        run: How the store identifies the run.
        exceptions: Live exceptions by row, where handlers ran in this process: put there by whoever ran them.
    """

    def __init__(self, reader: Reader, run: str, header: Header | None = None, plan: Plan[Any] | None = None) -> None:
        self.run = run
        self.exceptions: MutableMapping[int, BaseException] = {}
        self._reader = reader
        self._header = header
        self._origin = plan
        self._grown: tuple[Any, Plan[Any], dict[int, list[int]]] | None = None

    @cached_property
    def _glance(self) -> Glance:
        """Most who submit never look."""
        return Glance(self._reader, self.run)

    @property
    def header(self) -> Header:
        """What its jobs have in common."""
        if self._header is None:
            self._header = Header(self._reader.header(self.run))
        return self._header

    @property
    def id(self) -> str:
        """Unique in the world."""
        return self.header.id

    @property
    def key(self) -> str | None:
        """What the submitter named the run."""
        return self.header.key

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self.header.options.trace_id

    @property
    def plan(self) -> Plan[Any]:
        """What was submitted, and what lists have added since."""
        origin = self.origin
        return self._growth()[0] if origin.lists else origin

    @property
    def origin(self) -> Plan[Any]:
        """What was submitted."""
        if self._origin is None:
            self._origin = unpack(self.header, rows_from(self._reader.rows(self.run)))
        return self._origin

    @property
    def ended(self) -> bool:
        """Whether every job is terminal."""
        return self._facts().ended

    @property
    def submitted_at(self) -> datetime:
        """When the run was accepted."""
        return _instant(self._facts().submitted_at)

    @property
    def ended_at(self) -> datetime | None:
        """When the last job became terminal; None before."""
        at = self._facts().ended_at
        return None if at is None else _instant(at)

    def now(self) -> datetime:
        """The store's clock at this moment."""
        return _instant(self._reader.now())

    def refresh(self) -> None:
        """Look anew: something is known to have happened, such as the end of the run."""
        if "_glance" in self.__dict__:
            self._glance.drop()

    def state_of(self, job: int) -> str:
        """The state of a job, by its public name."""
        return STATE_NAMES[self._glance[job].state]

    @property
    def noted_end(self) -> str | None:
        """The state that the run has ended in, where the store has noted that."""
        return self._facts().end

    def states_of(self, jobs: Sequence[int]) -> list[str]:
        """The states of *jobs*, asked of the store together."""
        return [STATE_NAMES[facts.state] for facts in self._reader.jobs(self.run, jobs)]

    def states(self) -> bytes:
        """The states of all jobs, from one look."""
        return bytes([facts.state for facts in self._glance.all()])

    def due_at(self, job: int) -> datetime | None:
        """When a delayed job becomes ready."""
        facts = self._glance[job]
        return None if facts.due_at is None or facts.state != DELAYED else _instant(facts.due_at)

    def ahead_of(self, job: int) -> int | None:
        """How many jobs of the run stand before a waiting job in its queue."""
        return self._reader.ahead_of(self.run, job)

    def held_back(self, job: int) -> str | None:
        """What keeps a waiting job back other than its turn."""
        return self._reader.held_back(self.run, job)

    def value_of(self, job: int) -> Any:
        """The result of a completed job, made what its task's return annotation says, where that is known here."""
        if job in self.plan.lists:
            return self._list_of(job)
        payload = self._glance.payload(job)
        return None if payload is None else self._returned(job, read(payload))

    def values_of(self, jobs: Sequence[int]) -> list[Any] | None:
        """The results of *jobs*, asked of the store together; None where not all of them have completed."""
        if any(facts.state != COMPLETED for facts in self._reader.jobs(self.run, jobs)):
            return None
        plain = [job for job in jobs if job not in self.plan.lists]
        found = read_all([payload or b"" for payload in self._reader.payloads(self.run, plain)])
        values = {job: self._returned(job, value) for job, value in zip(plain, found, strict=True)}
        return [values[job] if job in values else self._list_of(job) for job in jobs]

    def failed(self, job: int) -> Failed:
        """Why a job did not complete."""
        name, facts = self.plan.ids[job], self._glance[job]
        if facts.state == CANCELLED:
            return _causes.cancelled(name, self._facts().reason)
        if facts.has_failure:
            own = self.failure_of(job)
            if own is not None:
                return own
        if facts.cause >= 0 and facts.state in (FAILED, SKIPPED):
            first = self.first_cause(job)
            if facts.state == SKIPPED:
                return _causes.skipped_after(name, self.plan.ids[first], self._glance[first].state)
            return _causes.dependency_failed(name, self.failed(first))
        return _causes.not_ended(name)

    def first_cause(self, job: int) -> int:
        """Down the chain of causes to the job that went wrong by itself."""
        return self._glance.first_cause(job)

    def exception_of(self, job: int) -> BaseException | None:
        """The handler's live exception, where it was raised in this process."""
        return self.exceptions.get(job)

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        """The attempts that have ended, and the one that runs."""
        if job in self.plan.lists:
            return ()
        facts = self._glance[job]
        attempts: list[Attempt] = []
        if self._glance.has_history(job):
            attempts += map(_past, self._reader.history(self.run, job))
        outcome = OUTCOMES.get(facts.state)
        runs = facts.state == ACTIVE
        if facts.started_at is None or facts.replayed or not (runs or (outcome and facts.finished_at is not None)):
            return attempts
        start = _instant(facts.started_at)
        end = None if runs or facts.finished_at is None else _instant(facts.finished_at)
        error = self.failure_of(job) if facts.has_failure else None
        attempts.append(Attempt(max(facts.attempt, 1), start, end, outcome, error, facts.worker))
        return attempts

    def failure_of(self, job: int) -> Failed | None:
        """The failure of a job's own, where it has one."""
        payload = self._glance.payload(job)
        return None if payload is None else read_failed(payload)

    def progress_of(self, job: int) -> object:
        """What the handler last said of how far it is."""
        payload = self._reader.progress(self.run, job)
        return None if payload is None else read(payload)

    def logs_of(self, job: int) -> Sequence[str]:
        """What the handler logged."""
        return tuple(self._reader.logs(self.run, job))

    def events(self, position: int) -> tuple[Sequence[Event], int]:
        """Events from *position* on, and the position after them."""
        stored, position = self._reader.events(self.run, position)
        return [self._event(one) for one in stored], position

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change, from any thread."""
        return self._reader.listen(self.run, changed)

    def _facts(self) -> RunFacts:
        return self._glance.run_facts()

    def _growth(self) -> tuple[Plan[Any], dict[int, list[int]]]:
        lists, size = self._glance.lists()
        known = self._grown
        if known is None or known[0] is not lists:
            if known is not None and known[0] == lists:
                self._grown = (lists, *known[1:])
            else:
                self._grown = (lists, *grown(self.origin, size, lists, self._items_of))
        assert self._grown is not None
        return self._grown[1:]

    def _items_of(self, job: int) -> Sequence[bytes]:
        return self._reader.items(self.run, job)

    def _list_of(self, job: int) -> list[Any]:
        """The value of a list that has completed: the results of its items in their order, by the items' policies."""
        plan, roots = self._growth()
        items = roots.get(job, [])
        if items and items[0] in plan.lists:
            ends = [(item, self._glance[item].state) for item in items]
            return [
                self._list_of(item) if state == COMPLETED else self.failed(item)
                for item, state in ends
                if state == COMPLETED or plan.settings[item].on_failure != "remove"
            ]
        ends = [(item, self._glance[item].state) for item in items]
        payloads = self._reader.payloads(self.run, [item for item, state in ends if state == COMPLETED])
        values = iter(read_all([payload for payload in payloads if payload is not None]))
        return [
            self._returned(item, next(values)) if state == COMPLETED else self.failed(item)
            for item, state in ends
            if state == COMPLETED or plan.settings[item].on_failure != "remove"
        ]

    def _returned(self, job: int, value: Any) -> Any:
        plan = self.plan
        task = plan.tasks[job] or _registry.find(plan.names[job], plan.queues_of[job])
        return value if task is None else returned(task, value)

    def _event(self, stored: StoredEvent) -> Event:
        job, kind = stored.job, stored.kind
        detail: object = None
        if kind in _WITH_FAILURE and job is not None:
            detail = self.failed(job) if stored.detail is None else read_failed(stored.detail)
        elif stored.detail is not None:
            detail = read_failed(stored.detail) if kind == "lost" else read(stored.detail)
        elif kind == "ended":
            detail = end_state(self)
        if job is None:
            return Event(kind, _instant(stored.at), None, stored.attempt, detail)
        attempt = None if job in self.plan.lists else stored.attempt
        return Event(kind, _instant(stored.at), self.plan.ids[job], attempt, detail)


def _past(past: PastAttempt) -> Attempt:
    error = None if past.failure is None else read_failed(past.failure)
    start, end = _instant(past.started_at), _instant(past.finished_at)
    return Attempt(past.number, start, end, past.outcome, error, past.worker)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
