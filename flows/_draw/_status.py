"""What a box says of its jobs: a state with glyph and colours, and a note. Read from the record of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flows._typeset import count, spell

if TYPE_CHECKING:
    from flows._draw._picture import Box, Picture
    from flows.executor import RunRecord


@dataclass(frozen=True, slots=True)
class Look:
    """How a state looks. Fills are light under dark letters, so that a box reads on light and on dark pages."""

    glyph: str
    fill: str
    edge: str


PLAIN: Final = Look("", "#eef2f7", "#5f6f82")
LOOKS: Final = {
    "waiting_children": Look("○", "#eceff3", "#6b7683"),
    "waiting": Look("◔", "#fdf3cd", "#94730a"),
    "delayed": Look("◷", "#fde8c8", "#a8621a"),
    "active": Look("▶", "#cfe4ff", "#1664c0"),
    "completed": Look("✓", "#d5f2da", "#27803e"),
    "failed": Look("✗", "#ffd9d5", "#bf2b24"),
    "skipped": Look("↷", "#e9e3f6", "#6c54a3"),
    "cancelled": Look("⊘", "#e2e2e2", "#636363"),
}
"""Glyph and colour say the same: neither is needed to read the other."""

_ENDS: Final = ("completed", "failed", "skipped", "cancelled")
_WORDS: Final = {"waiting_children": "waiting for others", "active": "running", "completed": "done"}
TELLING: Final = ("failed", "active", "delayed", "waiting", "waiting_children", "cancelled", "skipped", "completed")
"""States by how much they say of a box with several jobs."""


@dataclass(frozen=True, slots=True)
class Status:
    """What stands in one box beside its title: a state, "" in a plan, and a note in a few words."""

    state: str
    note: str

    @property
    def look(self) -> Look:
        """Glyph and colours of the state."""
        return LOOKS.get(self.state, PLAIN)


def planned(picture: Picture) -> list[Status]:
    """The boxes of a plan, of which nothing has run."""
    return [Status("", "") for _ in picture.boxes]


def statuses(picture: Picture, record: RunRecord, before: Sequence[Status] = ()) -> list[Status]:
    """What the boxes say of a run at this moment.

    Args:
        before: What they said a moment ago: kept for jobs that had ended so by then.
    """
    if not before:
        return [_single(box, record) if len(box.jobs) == 1 else _many(box, record) for box in picture.boxes]
    return [
        _many(box, record)
        if len(box.jobs) != 1
        else old
        if old.state in _ENDS and record.state_of(box.jobs[0]) == old.state
        else _single(box, record)
        for box, old in zip(picture.boxes, before, strict=True)
    ]


def lists_over(record: RunRecord) -> list[int]:
    """The lists that have ended: what they had to stamp out is there."""
    return [job for job in record.plan.lists if record.state_of(job) in _ENDS]


def summary(record: RunRecord) -> str:
    """The states of all jobs in words, most telling first."""
    plan = record.plan
    states = Counter(record.state_of(job) for job in range(len(plan)) if job not in plan.gone)
    return f"{count(states.total(), 'job')}: {_counted(states)}"


def _single(box: Box, record: RunRecord) -> Status:
    (job,) = box.jobs
    state = record.state_of(job)
    if state in ("waiting_children", "skipped"):
        return Status(state, "")
    attempts = record.attempts_of(job)
    said = [count(len(attempts), "attempt")] if len(attempts) > 1 else []
    seconds = [(one.end - one.start).total_seconds() for one in attempts if one.end is not None]
    if seconds:
        said.append(spell(sum(seconds)))
    return Status(state, " · ".join(said))


def _many(box: Box, record: RunRecord) -> Status:
    if not box.jobs:
        return Status("waiting_children", "")
    states = Counter(map(record.state_of, box.jobs))
    state = next(one for one in TELLING if states[one])
    if state in ("delayed", "waiting", "waiting_children") and states["completed"]:
        state = "active"  # it is under way, though none runs at this moment
    return Status(state, _counted(states) if len(states) > 1 else "")


def _counted(states: Counter[str]) -> str:
    return ", ".join(f"{states[one]:,} {_WORDS.get(one, one)}" for one in TELLING if states[one])
