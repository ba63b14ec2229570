"""Run: a handle on one run, wherever it lives. Reading it is always live.

It has an executor and a record: what is read is asked of the record, what changes the run goes through the executor.
How the run stands is never kept here.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flows._drawable import Drawable
from flows._duration import Duration, seconds
from flows._events import Event
from flows._names import shown
from flows._views import JobView, JobViews, end_state
from flows._waits import inside, waiting
from flows.errors import (
    DefinitionError,
    FlowFailedError,
    JobFailedError,
    NoValueError,
    RunCancelledError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    import asyncio

    from flows._dead_letters import DeadLetters
    from flows._draw._picture import Picture
    from flows._draw._status import Status
    from flows._job import Job
    from flows._plan import Plan
    from flows._table import Table
    from flows._timeline import Timeline
    from flows.executor import Executor, RunRecord

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class Run(Drawable, Generic[R_co]):
    """One run of a flow: its state, its jobs, its value."""

    def __init__(self, executor: Executor, record: RunRecord, plan: Plan[Any] | None = None) -> None:
        self._executor = executor
        self._record = record
        self._plan = plan or record.plan
        self._jobs: JobViews | None = None

    @property
    def jobs(self) -> JobViews:
        """Job id, or `Job` object, -> `JobView`."""
        if self._jobs is None:
            self._jobs = JobViews(self._record, self._plan)
        return self._jobs

    @property
    def id(self) -> str:
        """Unique in the world."""
        return self._record.id

    @property
    def key(self) -> str | None:
        """What the run was named by its submitter, if anything."""
        return self._record.key

    @property
    def name(self) -> str:
        """The flow's name."""
        return self._record.plan.name

    @property
    def trace_id(self) -> str:
        """32 hex digits: the trace that the run belongs to, on whatever executor it runs."""
        return self._record.trace_id

    @property
    def state(self) -> str:
        """``running`` until every job has ended; then that of its root: ``completed``, ``failed`` or ``cancelled``.

        A skipped root counts as completed. Of several roots, a failed one counts most, then a cancelled one.
        """
        if not self._record.ended:
            return "running"
        return end_state(self._record)

    @property
    def value(self) -> R_co:
        """The root's result, or a tuple where the flow has several; there as soon as they have ended.

        Raises:
            NoValueError: There is none yet, or the root was skipped.
            FlowFailedError: The root failed.
            RunCancelledError: The root was cancelled.
        """
        record = self._record
        plan = record.plan
        if plan.several and hasattr(record, "values_of"):  # of a store that would be asked twice for each root
            values = record.values_of(plan.roots)
            if values is not None:
                return tuple(values)  # type: ignore[return-value]
        values = []
        for root in plan.roots:
            if record.state_of(root) != "completed":
                raise self._no_value(root)
            values.append(record.value_of(root))
        return tuple(values) if plan.several else values[0]  # type: ignore[return-value]

    def wait(self, timeout: Duration | None = None) -> Run[R_co]:
        """Return when the run has ended; embedded executors work it off in this process meanwhile.

        Args:
            timeout: Limits only the waiting; the run goes on.

        Raises:
            WaitTimeoutError: It has not ended by then.
            RunError: The caller is a handler that the run itself waits for, so that neither would ever end.
        """
        limit = None if timeout is None else seconds(timeout, "timeout")
        if limit is None and not inside():
            self._executor.work(self._record, None)
        elif limit is None:
            with waiting(self.id):
                self._executor.work(self._record, None)
        elif not self._executor.work(self._record, limit):
            raise WaitTimeoutError(f"run {self.id} has not ended within {limit:g} s; it goes on", run=self)
        return self

    def __await__(self) -> Generator[Any, None, Run[R_co]]:
        return self._awaited().__await__()

    def events(self) -> Iterator[Event]:
        """What has happened and happens, in order, until the run has ended; blocks between events."""
        import threading

        self._executor.join(self._record, blocks=True)
        changed = threading.Event()
        unwatch = self._record.watch(changed.set)
        try:
            position = 0
            ended = False
            while not ended:
                changed.clear()
                ended = self._record.ended
                events, position = self._record.events(position)
                yield from events
                if not ended and not events:
                    self._executor.join(self._record, blocks=True)  # it may have ended and been reopened meanwhile
                    changed.wait()
        finally:
            unwatch()

    async def aevents(self) -> AsyncIterator[Event]:
        """As `events`, for async code."""
        import asyncio

        self._executor.join(self._record)
        changed = asyncio.Event()
        unwatch = self._record.watch(_from_thread(asyncio.get_running_loop(), changed.set))
        try:
            position = 0
            ended = False
            while not ended:
                changed.clear()
                ended = self._record.ended
                events, position = self._record.events(position)
                for event in events:
                    yield event
                if not ended and not events:
                    self._executor.join(self._record)
                    await changed.wait()
        finally:
            unwatch()

    def explain(self, job: str | Job[Any] | JobView | None = None) -> str:
        """Why a job waits, or why it ended so, in a few sentences; answered at any time, from any thread.

        For a job that waits for others these are the ones that really hold it up: those that run, wait for their next
        attempt, or wait for a worker.

        Args:
            job: Its id, the `Job` object, or its view. Without it: how far the run is, and why its roots wait or
                ended so.

        Raises:
            KeyError: The flow has no such job.
        """
        from flows._explain import explain_job, explain_run

        if job is None:
            return explain_run(self._record)
        return explain_job(self._record, self.jobs.position_of(job.id if isinstance(job, JobView) else job))

    def timeline(self) -> Timeline:
        """Where the time went: attempts over time, their waits, and the critical path of what really happened.

        `str` draws it for a terminal; `Timeline.rows` is the data.
        """
        from flows._timeline import Timeline

        return Timeline(self._record)

    def table(self) -> Table:
        """The jobs with state, attempts, duration and error, as a table for a terminal, a notebook or pandas."""
        from flows._table import Table

        return Table(self._record)

    def dead_letters(self) -> DeadLetters:
        """What failed for good by itself, with data, error and traceback; not what failed because of that.

        A sequence of `DeadLetter` in run order; its `queues` are the letters by queue.
        """
        from flows._dead_letters import dead_letters

        return dead_letters(self._record)

    def _seen(self, *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
        from flows._draw._picture import picture_of
        from flows._draw._status import lists_over, statuses, summary

        critical = self.timeline().path if critical_path else ()
        picture = picture_of(self._record.plan, critical=critical, over=lists_over(self._record), unfold=unfold)
        return picture, statuses(picture, self._record), f"{self!r}\n{summary(self._record)}"

    def cancel(self, reason: str = "") -> None:
        """Cancel the run: what has not started is cancelled, running handlers are told to stop. Safe to repeat.

        Async handlers are cancelled; a handler in a thread can ask `Context.cancelled`. The run has ended when they
        have.

        Raises:
            DefinitionError: *reason* is no text.
        """
        if not isinstance(reason, str):
            raise DefinitionError(f"run.cancel() takes the reason as text, not {shown(reason)}")
        self._executor.cancel(self._record, reason)

    def retry(self, job: str | Job[Any] | None = None) -> Run[R_co]:
        """Do again what failed or was cancelled, and what that failed, skipped or cancelled; nothing that completed.

        The run keeps its id, its key and the keys of its jobs; jobs have a fresh attempts budget. Embedded executors
        work it off in `wait`, as at first. Safe where there is nothing to retry: nothing changes then.

        Args:
            job: Begin with this one only. A failure that was ignored is retried only when named.

        Raises:
            RunError: The run has not ended, or *job* has completed.
        """
        self._executor.reopen(self._record, None if job is None else self.jobs.position_of(job), anew=False)
        return self

    def rerun(self, job: str | Job[Any]) -> Run[R_co]:
        """Do *job* and all that follows it again, completed or not; a list (`each`) that follows is expanded anew.

        Otherwise as `retry`.

        Raises:
            RunError: The run has not ended.
        """
        self._executor.reopen(self._record, self.jobs.position_of(job), anew=True)
        return self

    def check(self) -> Run[R_co]:
        """Raise if the run has failed or was cancelled; returns the run otherwise.

        Raises:
            FlowFailedError: With the handler's exception as its cause where it is known in this process.
            RunCancelledError: It was cancelled.
        """
        if self.state in ("failed", "cancelled"):
            for root in self._record.plan.roots:
                if self._record.state_of(root) == self.state:
                    raise self._no_value(root)
        return self

    async def _awaited(self) -> Run[R_co]:
        import asyncio

        self._executor.join(self._record)
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        unwatch = self._record.watch(_from_thread(loop, changed.set))
        try:
            with waiting(self.id):
                while not self._record.ended:
                    changed.clear()
                    if self._record.ended:
                        break
                    self._executor.join(self._record)  # again: it may have ended and been reopened meanwhile
                    await changed.wait()
        finally:
            unwatch()
        self._executor.join(self._record)  # once more, now that it has ended: what is said of its end is said
        return self

    def _no_value(self, root: int) -> Exception:
        record = self._record
        name, state = record.plan.ids[root], record.state_of(root)
        if state == "failed":
            failed = record.failed(root)
            error = FlowFailedError(f"flow {self.name!r} failed: {failed}{self._held()}", run=self, failed=failed)
            error.__cause__ = self._cause(root)
            return error
        if state == "cancelled":
            return RunCancelledError(
                f"run {self.id} of flow {self.name!r} was cancelled: {record.failed(root).message}{self._held()}",
                run=self,
            )
        if state == "skipped":
            return NoValueError(f"run {self.id} has no value: {record.failed(root)}", job=name)
        return NoValueError(
            f"run {self.id} has no value yet: job {name!r} is {state}; run.wait() returns when it has ended", job=name
        )

    def _held(self) -> str:
        """What to do about a bad end that a key makes last."""
        if self.key is None or not self._record.ended:
            return ""
        return f"\nthe key {self.key!r} gives this run again; run.retry() would try it again"

    def _cause(self, job: int) -> BaseException | None:
        """The live exception at the bottom of a failure, else a stand-in with what is known of it."""
        failed = self._record.failed(job)
        first = self._record.first_cause(job)
        live = self._record.exception_of(first)
        if live is not None:
            return live
        return JobFailedError(str(failed), job=failed.job)

    def __repr__(self) -> str:
        key = "" if self.key is None else f" key {self.key!r}"
        return f"<run {self.id} of {self.name!r}{key}: {self.state}>"


def _from_thread(loop: asyncio.AbstractEventLoop, callback: Callable[[], object]) -> Callable[[], None]:
    def call() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits there any more
            loop.call_soon_threadsafe(callback)

    return call
