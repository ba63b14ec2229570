"""What a box says of its jobs: a state with glyph and colours, and a note. Read from the record of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from flows._state import STATE_NAMES
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


def statuses(
    picture: Picture, record: RunRecord, before: Sequence[Status] = (), states: bytes | None = None
) -> list[Status]:
    """What the boxes say of a run at this moment.

    Args:
        before: What they said a moment ago: kept for jobs that had ended so by then.
        states: Of all jobs, where they were read already, after the picture was made; as `RunRecord.states`.
    """
    if states is None:
        states = record.states()
    return [
        _many(box, states)
        if len(box.jobs) != 1
        else old
        if old is not None and old.state in _ENDS and STATE_NAMES[states[box.jobs[0]]] == old.state
        else _single(box, record, STATE_NAMES[states[box.jobs[0]]])
        for box, old in zip(picture.boxes, before or repeat(None), strict=bool(before))
    ]


def lists_over(record: RunRecord) -> list[int]:
    """The lists that have ended: what they had to stamp out is there."""
    return [job for job in record.plan.lists if record.state_of(job) in _ENDS]


def summary(record: RunRecord, states: bytes | None = None) -> str:
    """The states of all jobs in words, most telling first.

    Args:
        states: Of all jobs, where they were read already.
    """
    plan = record.plan
    states = (record.states() if states is None else states)[: len(plan)]
    tally = Counter({name: states.count(code) for code, name in enumerate(STATE_NAMES)})
    tally.subtract(STATE_NAMES[states[job]] for job in tuple(plan.gone))
    return f"{count(tally.total(), 'job')}: {_counted(tally)}"


def _single(box: Box, record: RunRecord, state: str) -> Status:
    (job,) = box.jobs
    if state in ("waiting_children", "skipped"):
        return Status(state, "")
    attempts = record.attempts_of(job)
    said = [count(len(attempts), "attempt")] if len(attempts) > 1 else []
    seconds = [(one.end - one.start).total_seconds() for one in attempts if one.end is not None]
    if seconds:
        said.append(spell(sum(seconds)))
    return Status(state, " · ".join(said))


def _many(box: Box, states: bytes) -> Status:
    if not box.jobs:
        return Status("waiting_children", "")
    found: tuple[int, ...] = itemgetter(*box.jobs)(states)
    if found.count(found[0]) == len(found):
        return Status(STATE_NAMES[found[0]], "")
    tally = Counter({STATE_NAMES[code]: number for code, number in Counter(found).items()})
    state = next(one for one in TELLING if tally[one])
    if state in ("delayed", "waiting", "waiting_children") and tally["completed"]:
        state = "active"  # it is under way, though none runs at this moment
    return Status(state, _counted(tally))


def _counted(tally: Counter[str]) -> str:
    return ", ".join(f"{tally[one]:,} {_WORDS.get(one, one)}" for one in TELLING if tally[one])
