"""The timeline of a simulation as text: a block a worker, a line an attempt, with what befell the worker in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from flows._typeset import line

if TYPE_CHECKING:
    from flows.testing._attempts import SimulatedAttempt
    from flows.testing._trace import Trace

LISTED: Final = 200
"""Lines that are shown: a failing simulation is read by a person."""


class Entry(NamedTuple):
    """An attempt, or what befell a worker or the world.

    Attributes:
        at: Seconds since the simulation began.
        order: Tells what came first at one instant.
        worker: Whose it is; None: the world's.
        text: All of it.
        lines: The same in two short lines.
        outcome: Of an attempt; None: it is none.
    """

    at: float
    order: float
    worker: str | None
    text: str
    lines: tuple[str, str]
    outcome: str | None


def entries_of(trace: Trace[object]) -> list[Entry]:
    """All attempts and mishaps of *trace*, in order."""
    entries = [
        Entry(one.began_at, one.steps_before, one.worker, _attempt(one), _short(one), one.outcome or "runs")
        for one in trace.attempts
    ]
    for place, step in enumerate(trace.steps):
        lines = (step.what, step.detail if step.job is None else step.job)
        entries.append(Entry(step.at, place + 0.5, step.worker, str(step), lines, None))
    return sorted(entries, key=lambda entry: entry[:2])


def drawn(trace: Trace[object]) -> str:
    """The attempts and mishaps of *trace*, by worker."""
    blocks = [f"{trace.run.name}: {trace.run.state} after {instant(trace.seconds)}"]
    lanes: dict[str | None, list[Entry]] = {}
    for entry in entries_of(trace):
        lanes.setdefault(entry.worker, []).append(entry)
    for worker in sorted(lanes, key=lambda name: (name is not None, len(name or ""), name or "")):
        blocks.append("the world" if worker is None else worker)
        texts = [f"  {instant(entry.at):>12}  {entry.text}" for entry in lanes[worker]]
        blocks += texts[:LISTED]
        if len(texts) > LISTED:
            blocks.append(f"  ... and {len(texts) - LISTED} more")
    blocks += [f"never struck: {fault!r}" for fault in trace.missed]
    return "\n".join(blocks)


def instant(seconds: float) -> str:
    """Seconds, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"


def _attempt(one: SimulatedAttempt) -> str:
    end = "" if one.ended_at is None or one.ended_at == one.began_at else f" at {instant(one.ended_at)}"
    error = f": {line(one.error)}" if one.error else ""
    after = f", again after {instant(one.backoff)}" if one.backoff is not None else ""
    return f"{one.job}{_numbered(one)} {one.outcome or 'runs'}{end}{error}{after}"


def _short(one: SimulatedAttempt) -> tuple[str, str]:
    return f"{one.job}{f' · {one.number}' if one.number > 1 else ''}", one.outcome or "runs"


def _numbered(one: SimulatedAttempt) -> str:
    return f" (attempt {one.number})" if one.number > 1 else ""
