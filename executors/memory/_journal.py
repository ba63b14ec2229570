"""The journal of a run: what happened, kept a batch at a time, so that a job costs it little; expanded when read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from flows._events import Event, EventKind

if TYPE_CHECKING:
    from executors.memory._columns import Columns

Entry = tuple[float, EventKind, Sequence[Any]]
"""Instant, kind, and jobs: plain positions, or ``(job, attempt, detail)`` where there is more to say."""


def expand(run: Columns, entries: Iterable[Entry]) -> list[Event]:
    """Journal entries as events."""
    ids = run.plan.ids
    events: list[Event] = []
    for now, kind, jobs in entries:
        at = run.instant(now)
        for job in jobs:
            if type(job) is int:
                attempt = 1 if kind in ("started", "completed") and job not in run.plan.lists else None
                events.append(Event(kind, at, ids[job], attempt))
            else:
                position, number, detail = job
                events.append(Event(kind, at, None if position is None else ids[position], number, detail))
    return events
