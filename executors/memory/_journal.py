"""The journal of a run: what happened, kept a batch at a time, so that a job costs it little; expanded when read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from flows._events import Event, EventKind

if TYPE_CHECKING:
    from executors.memory._columns import Columns

Entry = tuple[float, EventKind, Sequence[Any]]
"""Instant, kind, and jobs: plain positions, or ``(job, attempt, detail)`` where there is more to say."""

Kept = tuple[float, EventKind | Literal["onward"], Sequence[Any]]
"""As it is kept: an entry, or two in one, see `ONWARD`."""

ONWARD: Final = "onward"
"""The first of two jobs completed and the second started, at one instant: what happens most often."""


def entries_of(kept: Iterable[Kept]) -> Iterator[Entry]:
    """What is kept, as entries."""
    for now, kind, jobs in kept:
        if kind == "onward":
            yield now, "completed", jobs[:1]
            yield now, "started", jobs[1:]
        else:
            yield now, kind, jobs


def expand(run: Columns, kept: Iterable[Kept]) -> list[Event]:
    """What is kept, as events."""
    ids = run.plan.ids
    events: list[Event] = []
    for now, kind, jobs in entries_of(kept):
        at = run.instant(now)
        for job in jobs:
            if type(job) is int:
                attempt = 1 if kind in ("started", "completed") and job not in run.plan.lists else None
                events.append(Event(kind, at, ids[job], attempt))
            else:
                position, number, detail = job
                events.append(Event(kind, at, None if position is None else ids[position], number, detail))
    return events
