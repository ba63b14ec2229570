"""Views of a stored run's jobs, as users read them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from flows._idempotency import job_key
from flows._job import Job
from flows._names import shown
from flows.errors import Failed, NoValueError

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows.executor import RunRecord

Outcome = Literal["completed", "failed", "skipped", "cancelled", "released", "lost"]


def end_state(record: RunRecord) -> str:
    """The state of a run that has ended: its root's, where a skipped root counts as completed.

    Of several roots, a failed one counts most, then a cancelled one.
    """
    roots = record.plan.roots
    if len(roots) == 1:
        end = record.state_of(roots[0])
        return end if end in ("failed", "cancelled") else "completed"
    noted: str | None = getattr(record, "noted_end", None)
    if noted is not None:
        return noted
    together = getattr(record, "states_of", None)  # of a store that would be asked once for each root
    ends = {record.state_of(root) for root in roots} if together is None else set(together(roots))
    return "failed" if "failed" in ends else "cancelled" if "cancelled" in ends else "completed"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a job.

    Attributes:
        number: 1 for the first.
        start, end: When the handler began and ended; `end` is None while it runs.
        outcome: None while it runs. ``released`` and ``lost`` cost no attempt.
        error: Why it did not complete.
        worker: Who ran it.
    """

    number: int
    start: datetime
    end: datetime | None
    outcome: Outcome | None
    error: Failed | None
    worker: str | None

    @property
    def seconds(self) -> float | None:
        """How long the handler ran; None while it runs."""
        return None if self.end is None else (self.end - self.start).total_seconds()


class JobView:
    """One job of a run, read live."""

    __slots__ = ("_job", "_record")

    def __init__(self, record: RunRecord, job: int) -> None:
        self._record = record
        self._job = job

    @property
    def id(self) -> str:
        """The job's id in its flow."""
        return self._record.plan.ids[self._job]

    @property
    def task(self) -> str:
        """The task's name."""
        return self._record.plan.names[self._job]

    @property
    def queue(self) -> str:
        """The queue that the job waits in."""
        return self._record.plan.queues_of[self._job]

    @property
    def state(self) -> str:
        """``waiting_children``, ``waiting``, ``delayed``, ``active``, or how it ended.

        The ends are ``completed``, ``failed``, ``skipped`` and ``cancelled``.
        """
        return self._record.state_of(self._job)

    @property
    def due_at(self) -> datetime | None:
        """When a delayed job becomes ready, by the store's clock; None for one that is not delayed."""
        return self._record.due_at(self._job)

    @property
    def value(self) -> Any:
        """The job's result.

        Raises:
            NoValueError: It has none (yet); the message says why.
        """
        if self.state == "completed":
            return self._record.value_of(self._job)
        raise NoValueError(f"job {self.id!r} has no value: {self.error or f'it is {self.state}'}", job=self.id)

    @property
    def error(self) -> Failed | None:
        """Why the job failed, was skipped or cancelled; None otherwise."""
        return self._record.failed(self._job) if self.state in ("failed", "skipped", "cancelled") else None

    @property
    def attempts(self) -> Sequence[Attempt]:
        """The tries so far, in order, the running one last."""
        return self._record.attempts_of(self._job)

    @property
    def progress(self) -> object:
        """What the handler last said of how far it is; None before."""
        return self._record.progress_of(self._job)

    @property
    def logs(self) -> Sequence[str]:
        """What the handler logged through its context."""
        return self._record.logs_of(self._job)

    @property
    def idempotency_key(self) -> str:
        """Names the job's effect; the same over attempts, crashes and executors."""
        return job_key(self._record, self._job)

    @property
    def worker(self) -> str | None:
        """Who ran, or runs, the last attempt."""
        attempts = self.attempts
        return attempts[-1].worker if attempts else None

    def __repr__(self) -> str:
        return f"<job {self.id!r}: {self.state}>"


class JobViews(Mapping[str, JobView]):
    """The jobs of a run by id, in run order; a `Job` object of the flow will do as the key, too."""

    def __init__(self, record: RunRecord, plan: Plan[Any]) -> None:
        self._record = record
        self._plan = plan  # of whoever asks: the jobs of a run that another submitted under the key go by the same ids
        self._index: dict[str, int] = {}
        self._gone: set[int] = set()

    def __getitem__(self, job: str | Job[Any]) -> JobView:
        return JobView(self._record, self.position_of(job))

    def position_of(self, job: str | Job[Any]) -> int:
        """Where the job stands in the columns of the run.

        Raises:
            KeyError: The flow has no such job.
        """
        index = self._positions()
        if isinstance(job, Job):
            position = self._plan.position_of(job)
        else:
            position = index.get(job) if isinstance(job, str) else None
        if position is None:
            raise KeyError(f"the flow has no job {shown(job)}; there are {', '.join(list(index)[:20])}")
        return position

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions())

    def __len__(self) -> int:
        return len(self._record.plan) - len(self._record.plan.gone)

    def _positions(self) -> dict[str, int]:
        plan = self._record.plan
        if len(self._index) != len(self) or self._gone != plan.gone:  # lists add jobs while the run goes on
            gone = self._gone = plan.gone.copy()
            self._index = {job_id: place for place, job_id in enumerate(plan.ids) if place not in gone}
        return self._index

    def __repr__(self) -> str:
        return f"<{len(self)} jobs: {', '.join(list(self)[:8])}{', ...' if len(self) > 8 else ''}>"
