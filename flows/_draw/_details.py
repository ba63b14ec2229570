"""What there is to know of one box of a picture: how its jobs fare and, if asked for, what they were given."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from flows._dead_letters import data_given
from flows._draw._status import TELLING
from flows._explain import explain_job
from flows._typeset import count, line

if TYPE_CHECKING:
    from flows._draw._picture import Box
    from flows.executor import RunRecord

LISTED: Final = 20
"""Jobs, and lines of a log, that are told of before the rest is only counted."""

LONGEST: Final = 10_000
"""Characters of a value that are shown."""


def details(box: Box, record: RunRecord) -> str:
    """How the jobs of a box fare: what they wait for, their attempts and failures. Nothing of their data or results."""
    jobs = box.jobs
    if not jobs:
        return "Stamped out once for each item, when the list is known."
    if len(jobs) == 1:
        return "\n".join(_one(record, jobs[0]))
    told = sorted(jobs, key=lambda job: TELLING.index(record.state_of(job)))[:LISTED]
    lines = [f"{count(len(jobs), 'job')} that are alike, those first that went wrong:"]
    for job in told:
        state = record.state_of(job)
        why = f": {line(record.failed(job))}" if state == "failed" else ""
        lines.append(f"{line(record.plan.ids[job])} {state.replace('_', ' ')}{why}")
    return "\n".join([*lines, *_rest(len(jobs) - len(told))])


def payload(box: Box, record: RunRecord) -> str:
    """What the job of a box was given, and its result; of several jobs the first ones'."""
    lines = []
    for job in islice(box.jobs, LISTED):
        data = {} if job in record.plan.lists else data_given(record, job)
        given = ", ".join(f"{name}={_shown(value)}" for name, value in data.items())
        lines.append(f"{line(record.plan.ids[job])}({given})"[:LONGEST])
        if record.state_of(job) == "completed":
            lines.append(f"= {_shown(record.value_of(job))}")
    return "\n".join([*lines, *_rest(len(box.jobs) - LISTED)])


def _one(record: RunRecord, job: int) -> Sequence[str]:
    lines = [explain_job(record, job)]
    progress, logs = record.progress_of(job), record.logs_of(job)
    if progress is not None and record.state_of(job) != "completed":
        lines.append(f"progress {line(progress)}")
    lines += [f"log: {line(text)}" for text in logs[-LISTED:]]
    if record.state_of(job) == "failed" and record.failed(job).traceback:
        lines.append(record.failed(job).traceback.rstrip())
    return lines


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception as error:  # values are the user's
        text = f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _rest(left: int) -> list[str]:
    return [f"and {left:,} more"] if left > 0 else []
