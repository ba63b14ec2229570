"""The words that workers and stores exchange: what is granted, how it ended, what is wanted next.

Plain slotted records, made once a job or once a call; anything heavier would cost more than the job itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from flows.errors import Failed, FailedState

if TYPE_CHECKING:
    from flows._binding import Binding
    from flows._children import Children
    from flows._handlers import Handler
    from flows._plan import Plan
    from flows._state import RunState
    from flows._tracing import RunTrace


class End(IntEnum):
    """How an attempt ended, as its worker reports it."""

    COMPLETED = 0
    FAILED = 1
    """For good: no attempt is left, or the error is not worth another."""
    RETRY = 2
    SKIPPED = 3
    CANCELLED = 4
    RELEASED = 5
    """Given back unrun, or interrupted by a drain; costs no attempt. With an error in `Settle.failed`, no handler was
    there for it: the job fails with that once this has gone on for `UNHANDLED_SECONDS`.
    """
    PASSED = 6
    """Its condition holds: the job goes on to its queue."""
    EXPANDED = 7
    """A list whose items are known; they are the settle's value."""
    REPLAYED = 8
    """Completed without an attempt, by the result that another job has filed under the same idempotency key."""
    LOST = 9
    """The process that ran it died; costs no attempt, but jobs may not be lost for ever."""


_STATES: dict[End, FailedState] = {End.SKIPPED: "skipped", End.CANCELLED: "cancelled"}


T_co = TypeVar("T_co", covariant=True)


class ByJob(Protocol[T_co]):
    """One entry a job: a list in memory, the few that are needed elsewhere."""

    def __getitem__(self, job: int, /) -> T_co: ...


class RunBrief(Protocol):
    """What a worker must know of a run to work off its jobs; in memory the run itself.

    ``handlers[job]`` raises `UnknownTaskError` where this process has no task for the job.
    """

    @property
    def id(self) -> str: ...
    @property
    def key(self) -> str | None: ...
    @property
    def plan(self) -> Plan[Any]: ...
    @property
    def state(self) -> RunState: ...
    @property
    def handlers(self) -> ByJob[Handler]: ...
    @property
    def bindings(self) -> ByJob[Binding]: ...
    @property
    def conditions(self) -> Mapping[int, tuple[Any, ...]]: ...
    @property
    def values(self) -> ByJob[Any]: ...
    @property
    def since(self) -> Mapping[int, float]:
        """When the first attempt of a job began, for jobs on another attempt."""
        ...

    @property
    def rated(self) -> bool:
        """Whether the store must be told of starts; may become true with any grant."""
        return False

    @property
    def tracing(self) -> RunTrace | None:
        """The run's trace, where somebody records it."""
        return None

    @property
    def deadline_at(self) -> float | None:
        """When the run is to be cancelled, by the store's clock."""
        return None

    def failed(self, job: int) -> Failed: ...
    def report(self, job: int, progress: object) -> None: ...
    def record(self, job: int, line: str) -> None: ...
    def placed(self, job: int, worker: str) -> None:
        """Who runs a job, where that is more than the worker which claimed it."""
        ...


class Grant:
    """One lease on one job: the right to run it once and to say how it ended.

    Attributes:
        attempt: 1 for the first try.
        fence: Grows with every grant of a store; a settle with an older one is refused.
        stop: Why the handler should stop, once it should.
        suspect: Whether the job has lost a worker before: one that may take its process down with it.
        control: Whether this is the library's own work, done by `flows._control` and not by the job's handler.
        distant: Fetches what the job's dependencies left, where that is in another process.
        fetch: Reads what the attempt needs and the grant does not hold, where a store gives it so; called once by the
            worker before the attempt, where it may block. Raises `UnavailableError` where the store is away.
    """

    __slots__ = ("attempt", "fence", "job", "run", "stop")
    suspect = False
    control = False
    distant: Callable[[], Children] | None = None
    fetch: Callable[[], None] | None = None

    def __init__(self, run: RunBrief, job: int, attempt: int, fence: int) -> None:
        self.run = run
        self.job = job
        self.attempt = attempt
        self.fence = fence
        self.stop: str | None = None

    def __repr__(self) -> str:
        return f"<grant {self.run.plan.ids[self.job]!r} attempt {self.attempt} fence {self.fence}>"

    @property
    def said(self) -> str:
        """What it is a grant of, for people."""
        return f"attempt {self.attempt} of job {self.run.plan.ids[self.job]!r} of run {self.run.id}"


def first_try(run: RunBrief, job: int, fence: int, new: Callable[[type[Grant]], Grant] = object.__new__) -> Grant:
    """A grant of the first attempt; its `__init__` would cost as much again."""
    grant = new(Grant)
    grant.run = run
    grant.job = job
    grant.attempt = 1
    grant.fence = fence
    grant.stop = None
    return grant


class SuspectGrant(Grant):
    """A grant on a job that has lost a worker before."""

    __slots__ = ()
    suspect = True


class ControlGrant(Grant):
    """A grant on what the library does itself: judge a condition, look at a list."""

    __slots__ = ()
    control = True


class Settle:
    """How one attempt ended.

    Attributes:
        value: The result of a completed attempt.
        error: The live exception of one that did not complete, and `failed` what is kept of it.
        after: Seconds until the next try.
        counted: Whether a retry costs an attempt.
        origin: Whose result a replayed one is.
        started_at, ended_at: By the clock of the worker's process, which in memory is the store's.
    """

    __slots__ = ("end", "ended_at", "grant", "started_at", "value")
    error: BaseException | None = None
    failed: Failed | None = None
    after = 0.0
    counted = True
    origin = ""

    def __init__(self, grant: Grant, end: End, value: Any, started_at: float, ended_at: float) -> None:
        self.grant = grant
        self.end = end
        self.value = value
        self.started_at = started_at
        self.ended_at = ended_at

    def __repr__(self) -> str:
        return f"<settle {self.grant!r} {self.end.name}>"


class FailedSettle(Settle):
    """How an attempt ended that did not complete."""

    __slots__ = ("after", "counted", "error", "failed")

    def __init__(
        self,
        grant: Grant,
        end: End,
        error: BaseException | None,
        started_at: float,
        ended_at: float,
        after: float = 0.0,
        counted: bool = True,
    ) -> None:
        super().__init__(grant, end, None, started_at, ended_at)
        self.error = error
        # Written down here, by the worker: the exception's own code may run, and a store must not wait for that.
        self.failed = (
            None if error is None else Failed.of(error, grant.run.plan.ids[grant.job], _STATES.get(end, "failed"))
        )
        self.after = after
        self.counted = counted


class ReplayedSettle(Settle):
    """How a job ended that took the filed result of another."""

    __slots__ = ("origin",)

    def __init__(self, grant: Grant, value: Any, origin: str, started_at: float, ended_at: float) -> None:
        super().__init__(grant, End.REPLAYED, value, started_at, ended_at)
        self.origin = origin


class Want:
    """What a worker asks for in an exchange.

    Attributes:
        limit: Jobs at most.
        run: Only jobs of this run; None for any.
        queues: Only jobs of these queues; None for any.
        suspects: Whether a job that has lost a worker before may be among them.
        at_once: How many of them could start at once; the others would wait for those to end. Jobs of limited queues
            are not claimed to wait: others could have their places meanwhile.
    """

    __slots__ = ("at_once", "limit", "queues", "run", "suspects")

    def __init__(
        self,
        limit: int,
        run: RunBrief | None = None,
        queues: frozenset[str] | None = None,
        suspects: bool = True,
        at_once: int | None = None,
    ) -> None:
        self.at_once = limit if at_once is None else at_once
        self.limit = limit
        self.run = run
        self.queues = queues
        self.suspects = suspects


class Reply:
    """A store's answer to an exchange.

    Attributes:
        now: The store's clock at that moment, in seconds.
        grants: Jobs for the worker to run.
        refused: Settles whose fence was not the newest: the results were dropped.
        more: Whether jobs were left that the worker could have had.
        due_at: When the next delayed job becomes ready; None when there is none.
        suspects: How many of the grants are suspects.
    """

    __slots__ = ("due_at", "grants", "more", "now", "refused", "suspects")

    def __init__(
        self,
        now: float,
        grants: list[Grant],
        refused: Sequence[Settle] = (),
        more: bool = False,
        due_at: float | None = None,
        suspects: int = 0,
    ) -> None:
        self.now = now
        self.grants = grants
        self.refused = refused
        self.more = more
        self.due_at = due_at
        self.suspects = suspects
