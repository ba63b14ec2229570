"""What is told of a run while it goes on, to those who listen: loggers and meters.

An executor tells what its journal says, a batch at a time, in order, from a thread that no handler waits for: a
listener may be slow, raise or block, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from flows._events import EventKind
    from flows._plan import Plan
    from flows._state import RunState
    from flows._views import Attempt
    from flows.errors import Failed


class Told(NamedTuple):
    """One thing that happened to a job.

    Attributes:
        kind: As in `Event`; only what concerns a job.
        at: When the store took note of it.
        job: The job's position.
        attempt: Which attempt it was; None where there was none.
        failed: Why, where something went wrong.
        after: Seconds until the next attempt, for one that will be retried.
    """

    kind: EventKind
    at: datetime
    job: int
    attempt: int | None
    failed: Failed | None
    after: float | None


class Listened(Protocol):
    """The run that is told of."""

    @property
    def id(self) -> str: ...
    @property
    def trace_id(self) -> str: ...
    @property
    def plan(self) -> Plan[Any]: ...
    @property
    def state(self) -> RunState: ...
    def attempts_of(self, job: int) -> Sequence[Attempt]: ...


class Listener(Protocol):
    """Who is told of one run.

    Attributes:
        kinds: What it wants to be told.
    """

    @property
    def kinds(self) -> frozenset[EventKind]: ...

    def tell(self, run: Listened, happened: Iterable[Told]) -> None:
        """Take note of what has happened since the last call."""
        ...


ATTEMPT_ENDS: Mapping[EventKind, str] = {
    "completed": "completed",
    "retrying": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "cancelled": "cancelled",
    "lost": "lost",
}
"""By what happened to a job, how its attempt ended."""


def attempt_of(run: Listened, told: Told) -> Attempt | None:
    """The attempt that has ended with *told*; None where there was none, or it has been made anew since."""
    if told.attempt is None:
        return None
    outcome = ATTEMPT_ENDS.get(told.kind)
    for attempt in reversed(run.attempts_of(told.job)):
        if attempt.number == told.attempt and attempt.outcome == outcome:
            return attempt
    return None
