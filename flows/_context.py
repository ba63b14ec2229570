"""Context: what a handler can ask and say about the job it is running."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from flows._children import Children
from flows._idempotency import job_key
from flows.errors import RunCancelledError, RunError

if TYPE_CHECKING:
    from flows._verbs import Grant

current_grant: ContextVar[Grant] = ContextVar("flows_grant")


class Context:
    """The job that the calling handler is running; from `flows.current()` or a parameter annotated `flows.Context`."""

    __slots__ = ("_grant",)

    def __init__(self, grant: Grant) -> None:
        self._grant = grant

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._grant.run.id

    @property
    def key(self) -> str | None:
        """The key that the run was submitted under, if any."""
        return self._grant.run.key

    @property
    def job_id(self) -> str:
        """The id of the job in its flow."""
        return self._grant.run.plan.ids[self._grant.job]

    @property
    def task(self) -> str:
        """The name of the task."""
        return self._grant.run.plan.names[self._grant.job]

    @property
    def queue(self) -> str:
        """The queue that the job came from."""
        return self._grant.run.plan.queues_of[self._grant.job]

    @property
    def attempt(self) -> int:
        """Which try this is; 1 for the first."""
        return self._grant.attempt

    @property
    def attempts(self) -> int:
        """How many tries the job has in all."""
        return self._grant.run.plan.settings[self._grant.job].attempts

    @property
    def idempotency_key(self) -> str:
        """Names this job's effect; the same over attempts, crashes and executors. Hand it on to outside APIs."""
        return job_key(self._grant.run, self._grant.job)

    @property
    def children(self) -> Children:
        """Results of the job's direct dependencies."""
        from flows._handlers import children_of

        return children_of(self._grant)

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: the run was cancelled, or the attempt timed out or lost its lease."""
        return self._grant.stop is not None or self._grant.run.state.cancelling

    def check(self) -> None:
        """Do nothing, or stop the handler if it should stop; for long loops in threads, which nothing else can stop.

        Raises:
            RunCancelledError: `cancelled` holds.
        """
        if self.cancelled:
            why = self._grant.stop or "the run was cancelled"
            raise RunCancelledError(f"job {self.job_id!r} should stop: {why}")

    def progress(self, value: object) -> None:
        """Publish how far the job is: a number, text, or anything JSON; the last one counts."""
        self._grant.run.report(self._grant.job, value)

    def log(self, line: str) -> None:
        """Add a line to the job's log, which is kept with the run."""
        self._grant.run.record(self._grant.job, str(line))

    def __repr__(self) -> str:
        return f"<context of {self.job_id!r} in run {self.run_id}, attempt {self.attempt}/{self.attempts}>"


def current() -> Context:
    """The context of the job that the calling handler is running; in its threads only with `contextvars` copied.

    Raises:
        RunError: No job is running here.
    """
    try:
        return Context(current_grant.get())
    except LookupError:
        raise RunError(
            "flows.current() was called outside a running job; a handler called plainly, as in a unit test, has none"
        ) from None
