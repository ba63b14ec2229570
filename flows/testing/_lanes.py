"""The timeline of a simulation as text: a block a worker, a line an attempt, with what befell the worker in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flows._typeset import line

if TYPE_CHECKING:
    from flows.testing._attempts import SimulatedAttempt
    from flows.testing._trace import Trace

LISTED: Final = 200
"""Lines that are shown: a failing simulation is read by a person."""


def drawn(trace: Trace[object]) -> str:
    """The attempts and mishaps of *trace*, by worker."""
    blocks = [f"{trace.run.name}: {trace.run.state} after {_instant(trace.seconds)}"]
    names = dict.fromkeys([one.worker for one in trace.attempts] + [step.worker for step in trace.steps])
    attempts = trace.attempts
    for worker in sorted(names, key=lambda name: (name is not None, len(name or ""), name or "")):
        entries = [(one.began_at, float(one.steps_before), _attempt(one)) for one in attempts if one.worker == worker]
        entries += [(step.at, at + 0.5, str(step)) for at, step in enumerate(trace.steps) if step.worker == worker]
        blocks.append("the world" if worker is None else worker)
        texts = [f"  {_instant(at):>12}  {text}" for at, _, text in sorted(entries, key=lambda entry: entry[:2])]
        blocks += texts[:LISTED]
        if len(texts) > LISTED:
            blocks.append(f"  ... and {len(texts) - LISTED} more")
    return "\n".join(blocks)


def _attempt(one: SimulatedAttempt) -> str:
    number = f" (attempt {one.number})" if one.number > 1 else ""
    end = "" if one.ended_at is None or one.ended_at == one.began_at else f" at {_instant(one.ended_at)}"
    error = f": {line(one.error)}" if one.error else ""
    after = f", again after {_instant(one.backoff)}" if one.backoff is not None else ""
    return f"{one.job}{number} {one.outcome or 'runs'}{end}{error}{after}"


def _instant(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s"
