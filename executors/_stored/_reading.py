"""What a store lets be read of a run, by anyone at any time; `StoredRecord` makes of it what users see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from executors._stored._shape import Input, Place
from flows._events import EventKind
from flows._views import Outcome


class RunFacts(NamedTuple):
    """A run as it stands. Instants are seconds since 1970 by the store's clock.

    Attributes:
        ended: Whether every job is terminal.
        submitted_at: When it was accepted.
        ended_at: When the last job became terminal; None before.
        reason: Why it was cancelled; empty if it was not.
        generation: How often it was begun: 1, then one more for each reopening.
        size: Its jobs, those of items that have been stamped out or will be included.
        end: The state that it ended in, where the store has noted that.
    """

    ended: bool
    submitted_at: float
    ended_at: float | None
    reason: str
    generation: int
    size: int
    end: str | None = None


class JobFacts(NamedTuple):
    """A job as it stands. Instants are seconds since 1970 by the store's clock.

    Attributes:
        state: The code of its state.
        attempt: The number of its last attempt in this generation; 0 before the first.
        started_at: When that attempt began; None where none did, or is not known to have.
        finished_at: When that attempt ended; None while it runs, and where it was filed with the earlier ones because
            another will follow.
        worker: Who ran, or runs, it.
        due_at: When a delayed job becomes ready.
        cause: The child that doomed, skipped or cancelled it; -1 where none did, or where it has an end of its own.
        has_failure: Whether a failure of its own is stored, to be had by `Reader.payloads`.
        replayed: Whether it took the filed result of another job, without an attempt.
    """

    state: int
    attempt: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    worker: str | None = None
    due_at: float | None = None
    cause: int = -1
    has_failure: bool = False
    replayed: bool = False


class PastAttempt(NamedTuple):
    """An attempt that ended and did not end its job, or did so in a former generation.

    Attributes:
        number: 1 for the first.
        started_at, finished_at: Seconds since 1970 by the store's clock.
        outcome: As in `flows.Attempt`.
        failure: As JSON; None where there is none.
        worker: Who ran it.
    """

    number: int
    started_at: float
    finished_at: float
    outcome: Outcome
    failure: bytes | None
    worker: str | None


class ListFacts(NamedTuple):
    """A list whose items are known.

    Attributes:
        job: Its row.
        body: The number of its body.
        length: How many items there are now.
        begun: How many of them have been stamped out.
        segments: Where the items' blocks are: (first row, items) each, in the order of the items.
        links: What the settle that expanded it brought; see `Items.links`.
        place: Where the list itself stands in others, the outermost first.
    """

    job: int
    body: int
    length: int
    begun: int
    segments: Sequence[tuple[int, int]]
    links: Sequence[int]
    place: Sequence[Place] = ()

    def base_of(self, position: int, size: int) -> int:
        """The first row of an item's jobs.

        Args:
            position: Which item.
            size: How many jobs an item has.
        """
        for first, items in self.segments:
            if position < items:
                return first + position * size
            position -= items
        raise IndexError(f"list {self.job} has no item {position} more")


class StoredEvent(NamedTuple):
    """One thing that happened; as `flows.Event`.

    Attributes:
        kind: As there.
        at: Seconds since 1970 by the store's clock.
        job: The row; None for the run's own events.
        attempt: Which one, where there was one.
        detail: JSON: a failure, progress, how many items a list has; None where there is none, or where it is derived
            from the job's cause. Of ``ended`` always None.
        after: Seconds until the next attempt, of one that will be retried, where the store has noted it.
    """

    kind: EventKind
    at: float
    job: int | None = None
    attempt: int | None = None
    detail: bytes | None = None
    after: float | None = None


class Reader(Protocol):
    """One store's answers. *run* is whatever it identifies its runs by. All may be called from any thread."""

    def now(self) -> float:
        """The store's clock: seconds since 1970."""
        ...

    def facts(self, run: str) -> RunFacts:
        """How the run stands.

        Raises:
            UnknownRunError: It is gone.
        """
        ...

    def header(self, run: str) -> bytes:
        """`Packed.header`."""
        ...

    def rows(self, run: str) -> Sequence[bytes]:
        """All of `Packed.rows`; stamped jobs have none."""
        ...

    def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
        """How these jobs stand, or all of them by row; at one moment, so that what they say fits together."""
        ...

    def payloads(self, run: str, jobs: Sequence[int]) -> Sequence[bytes | None]:
        """The value of each job that completed, the failure of each that has one of its own; of lists None."""
        ...

    def ends(self, run: str, jobs: Sequence[int]) -> Sequence[Input]:
        """How these jobs ended, as a grant would bring it: with the failure of the first cause where there is none."""
        ...

    def items(self, run: str, list_job: int) -> Sequence[bytes]:
        """The items of a list that is expanded."""
        ...

    def lists(self, run: str) -> Sequence[ListFacts]:
        """The lists that are expanded, in the order in which they were; places are left empty."""
        ...

    def history(self, run: str, job: int) -> Sequence[PastAttempt]:
        """Earlier attempts of a job."""
        ...

    def histories(self, run: str) -> Sequence[int]:
        """The jobs that have earlier attempts, so that nobody asks for those of the others."""
        ...

    def progress(self, run: str, job: int) -> bytes | None:
        """What the handler last said of how far it is."""
        ...

    def logs(self, run: str, job: int) -> Sequence[str]:
        """What the handler logged."""
        ...

    def ahead_of(self, run: str, job: int) -> int | None:
        """How many jobs of the run stand before a waiting job in its queue; None where that is not known."""
        ...

    def held_back(self, run: str, job: int) -> str | None:
        """What keeps a waiting job back other than its turn, in words; None where nothing does."""
        ...

    def events(self, run: str, position: int) -> tuple[Sequence[StoredEvent], int]:
        """Events from *position* on, and the position after them."""
        ...

    def listen(self, run: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change, from any thread; returns the function that ends it."""
        ...
