"""The seams: what an executor must offer, and what it may build on. Ours use nothing else.

An executor is found by the scheme of its URL: ours by a table, a stranger's by the entry-point group
``flows.executors``, whose entries name a class that is called with the URL.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from flows._state import STATE_NAMES

if TYPE_CHECKING:
    from datetime import datetime

    from flows._events import Event
    from flows._plan import Plan
    from flows._views import Attempt
    from flows.errors import Failed


JOB_STATES: Final = STATE_NAMES
"""The states of jobs by their public names; those from ``completed`` on are ends."""

KEEP_SECONDS: Final = 7 * 86_400.0
KEEP_FAILED_SECONDS: Final = 30 * 86_400.0
KEY_TTL_SECONDS: Final = 7 * 86_400.0


@dataclass(slots=True)  # not frozen: one is made for each run, and that would take seven times as long
class RunOptions:
    """What is asked of one run, apart from the flow itself. Not to be changed.

    Attributes:
        run_id: The id to give the run, unique in the world.
        key: Names the run in the executor's namespace; a second submit of the key finds the first run.
        trace_id: 32 hex digits; the trace that the run belongs to.
        timeout: Seconds from the submit to the run's deadline, at which it is cancelled; None: it has none.
        fail_fast: Whether to cancel the rest as soon as the root is certain to fail.
        keep, keep_failed: Seconds that the run is kept after it has ended well, or otherwise.
        keep_count: How many ended runs of the flow's name are kept at most; None: any number.
        key_ttl: Seconds after its end in which the run's key stays taken.
        carrier: The submitter's trace context and baggage as strings, at most 8 KiB, to be stored with the run; {}
            outside a trace. Executors whose workers live elsewhere have them read it.
    """

    run_id: str
    key: str | None
    trace_id: str
    timeout: float | None = None
    fail_fast: bool = False
    keep: float = KEEP_SECONDS
    keep_failed: float = KEEP_FAILED_SECONDS
    keep_count: int | None = None
    key_ttl: float = KEY_TTL_SECONDS
    carrier: Mapping[str, str] = field(default_factory=dict)


class RunRecord(Protocol):
    """One stored run, read live: each answer is what the store knows at that moment."""

    @property
    def id(self) -> str:
        """Unique in the world."""
        ...

    @property
    def key(self) -> str | None:
        """What the submitter named the run."""
        ...

    @property
    def plan(self) -> Plan[Any]:
        """What was submitted."""
        ...

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        ...

    @property
    def ended(self) -> bool:
        """Whether every job is terminal."""
        ...

    @property
    def submitted_at(self) -> datetime:
        """When the run was accepted, by the store's clock, as all instants here."""
        ...

    @property
    def ended_at(self) -> datetime | None:
        """When the last job became terminal; None before."""
        ...

    def now(self) -> datetime:
        """The store's clock at this moment, to measure its instants against."""
        ...

    def state_of(self, job: int) -> str:
        """The state of a job, by its public name."""
        ...

    def states(self) -> bytes:
        """The states of all jobs at once, a byte each: its place in `JOB_STATES`. For who looks at many, and often."""
        ...

    def due_at(self, job: int) -> datetime | None:
        """When a delayed job becomes ready; None for one that is not delayed."""
        ...

    def ahead_of(self, job: int) -> int | None:
        """How many jobs of the run stand before a waiting job in its queue; None where that is not known."""
        ...

    def held_back(self, job: int) -> str | None:
        """What keeps a waiting job from being taken, other than its turn: a limit of its queue, a pause, no worker.

        A phrase that can follow a colon (``its queue runs 5 jobs and may run no more``); None where nothing does.
        """
        ...

    def value_of(self, job: int) -> Any:
        """The result of a completed job."""
        ...

    def failed(self, job: int) -> Failed:
        """Why a job that has ended otherwise did so."""
        ...

    def first_cause(self, job: int) -> int:
        """The job that went wrong by itself and took *job* with it; *job* where it did so itself."""
        ...

    def exception_of(self, job: int) -> BaseException | None:
        """The handler's live exception, where it was raised in this process."""
        ...

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        """The attempts of a job that have ended, and the one that runs."""
        ...

    def progress_of(self, job: int) -> object:
        """What the handler last said of how far it is."""
        ...

    def logs_of(self, job: int) -> Sequence[str]:
        """What the handler logged."""
        ...

    def events(self, position: int) -> tuple[Sequence[Event], int]:
        """Events from *position* on, and the position after them."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change, from any thread; it must be quick. Returns the function that ends it."""
        ...


class Executor(Protocol):
    """Where runs live and how their jobs come to be worked off. Records are its own: it gets back what it gave out.

    Attributes:
        embedded: Whether `work` works a run off in the calling process; elsewhere workers of their own do it.
    """

    embedded: bool

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> RunRecord:
        """Accept a run: all of it or, if this raises, nothing.

        Args:
            background: Start on it at once, where the executor is embedded; False when the caller will `work` it off.

        Raises:
            DefinitionError: The plan cannot run here; nothing was stored.
            IdempotencyConflictError: The key belongs to a run of another flow.
            ResultExpiredError: The key is taken, but its run is past its retention.
            UnavailableError: The store cannot be reached.
        """
        ...

    def find(self, *, run_id: str | None = None, key: str | None = None) -> RunRecord | None:
        """The run of that id or key, if there is one and it is within its retention.

        Raises:
            ResultExpiredError: The key is taken, but its run is past its retention.
        """
        ...

    def work(self, record: Any, timeout: float | None) -> bool:
        """Return when the run has ended, after working it off where the executor is embedded.

        Args:
            timeout: Seconds to wait at most; None waits for ever. The run goes on after it.

        Returns:
            Whether the run has ended.
        """
        ...

    def cancel(self, record: Any, reason: str) -> None:
        """Cancel the run: what has not started is cancelled, running handlers are told to stop. Safe to repeat."""
        ...

    def reopen(self, record: Any, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again, under the same keys and with a fresh attempts budget.

        Args:
            job: Where to begin; None: with all that failed or was cancelled.
            anew: Whether all that follows *job* is done again, and not only what it failed, skipped or cancelled.

        Raises:
            RunError: The run has not ended, or *job* has nothing to retry.
        """
        ...

    def join(self, record: Any, *, blocks: bool = False) -> None:
        """Make sure that somebody works on the run without waiting for it: background threads where embedded.

        Args:
            blocks: Whether the caller will block this thread until something happens in the run.

        Raises:
            RunError: Nothing could ever happen then, because the run needs this thread.
        """
        ...


class ClusterClient(Protocol):
    """A `distributed.Client`, which may stand in an executor's place; told by what no executor has."""

    def scheduler_info(self) -> Any:
        """What the cluster's scheduler says of itself."""
        ...

    def who_has(self) -> Any:
        """Which workers hold which results."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What is asked of one worker, checked.

    Attributes:
        name: Shown beside the attempts that it makes.
        queues: Whose jobs it runs.
        concurrency: Handlers at once.
        grace: Seconds that running handlers may go on when it drains.
        limits: For each queue that this process knows as a `flows.Queue`: its concurrency, and its rate as (starts,
            seconds); to be published for the whole fleet, as those of a flow are.
    """

    name: str
    queues: frozenset[str]
    concurrency: int
    grace: float
    limits: Mapping[str, tuple[int | None, tuple[int, float] | None]]


class Service(Protocol):
    """One worker at work. All may be called from any thread; `drain` and `quit` from signal handlers, too."""

    @property
    def error(self) -> BaseException | None:
        """What has ended it, where that was no drain."""
        ...

    @property
    def unwell(self) -> bool:
        """Whether it ends because too many of its threads were left behind with handlers that do not end."""
        ...

    def start(self) -> None:
        """Begin, in background threads. A store that is away is waited for."""
        ...

    def drain(self) -> None:
        """Begin to end: claim nothing more, let running handlers end within their grace. Returns at once."""
        ...

    def quit(self) -> None:
        """End without waiting for anything. Returns at once."""
        ...

    def wait(self, timeout: float | None) -> bool:
        """Wait for the end; says whether it has come."""
        ...


class Serving(Protocol):
    """What an executor offers, besides `Executor`, whose jobs are run by workers: `flows.Worker` uses it."""

    def serve(self, options: WorkerOptions) -> Service:
        """A worker for the runs of this executor, not yet started.

        Raises:
            UnavailableError: There is nothing to be had that could be waited for.
        """
        ...


__all__ = ["Executor", "RunOptions", "RunRecord", "Service", "Serving", "WorkerOptions"]
