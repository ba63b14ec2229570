"""A run record that says what a test wants it to say: readings are tested without an executor or a clock."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import flows
from flows import Attempt, Event, Failed, Job, Opts, Run
from flows.executor import JOB_STATES

BEGUN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDS = ("completed", "failed", "skipped", "cancelled")


def at(seconds: float) -> datetime:
    """So many seconds into the run."""
    return BEGUN + timedelta(seconds=seconds)


def attempt(
    number: int,
    start: float,
    end: float | None = None,
    outcome: Any = None,
    error: Failed | None = None,
    by: str = "w1",
) -> Attempt:
    return Attempt(number, at(start), None if end is None else at(end), outcome, error, by)


class Kind:
    """Makes jobs of one name, as a task does, and registers nothing: these are never run."""

    def __init__(self, name: str, queue: str = "default", job_id: str | None = None, **options: Any) -> None:
        self.name, self.queue, self.id, self.options = name, queue, job_id, options

    def using(self, id: str | None = None, queue: str | None = None, **options: Any) -> "Kind":
        return Kind(self.name, queue or self.queue, id, **(self.options | options))

    def __call__(self, *needs: Job[Any]) -> Job[Any]:
        return Job(self.name, queue=self.queue, id=self.id, children=needs, opts=Opts(**self.options))


class Staged:
    """A record in which every job has completed at once, but for what is said of it."""

    id, key, trace_id = "run-1", None, "0" * 32

    def __init__(self, flow: Any, now: float = 10.0, ended: float | None = None) -> None:
        self.plan = flows.plan(flow)
        self.seconds, self.end = now, ended
        self.said: dict[str, str] = {}
        self.attempts: dict[str, Sequence[Attempt]] = {}
        self.errors: dict[str, Failed] = {}
        self.causes: dict[str, str] = {}
        self.due: dict[str, float] = {}
        self.ahead: dict[str, int] = {}
        self.held: dict[str, str] = {}
        self.progress: dict[str, object] = {}
        self.values: Mapping[str, Any] = {}

    def say(self, job: str, state: str, *attempts: Attempt, error: Failed | None = None, cause: str = "") -> None:
        self.said[job], self.attempts[job] = state, attempts
        if error is not None:
            self.errors[job] = error
        if cause:
            self.causes[job] = cause

    @property
    def run(self) -> "Run[Any]":
        executor: Any = None
        return Run(executor, self)

    @property
    def ended(self) -> bool:
        return self.end is not None

    @property
    def submitted_at(self) -> datetime:
        return BEGUN

    @property
    def ended_at(self) -> datetime | None:
        return None if self.end is None else at(self.end)

    def now(self) -> datetime:
        return at(self.seconds)

    def state_of(self, job: int) -> str:
        return self.said.get(self.plan.ids[job], "completed")

    def states(self) -> bytes:
        return bytes([JOB_STATES.index(self.state_of(job)) for job in range(len(self.plan))])

    def due_at(self, job: int) -> datetime | None:
        due = self.due.get(self.plan.ids[job])
        return None if due is None else at(due)

    def ahead_of(self, job: int) -> int | None:
        return self.ahead.get(self.plan.ids[job])

    def held_back(self, job: int) -> str | None:
        return self.held.get(self.plan.ids[job])

    def value_of(self, job: int) -> Any:
        return self.values.get(self.plan.ids[job])

    def failed(self, job: int) -> Failed:
        name = self.plan.ids[job]
        return self.errors.get(name) or Failed("Error", "of no matter", "", name)

    def first_cause(self, job: int) -> int:
        name = self.plan.ids[job]
        return self.plan.ids.index(self.causes.get(name, name))

    def exception_of(self, job: int) -> BaseException | None:
        return None

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        return self.attempts.get(self.plan.ids[job], ())

    def progress_of(self, job: int) -> object:
        return self.progress.get(self.plan.ids[job])

    def logs_of(self, job: int) -> Sequence[str]:
        return ()

    def events(self, position: int) -> tuple[Sequence[Event], int]:
        return (), position

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None
