"""What ``--json`` writes: the fields of each kind of document. Instants are ISO 8601 in UTC; what is not known is null.

The names are kept: fields may come, none goes or changes its meaning. Listings (``ls``, ``list``, ``watch``) are JSON
lines, an object a line; everything else is one document on one line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows._state import CONTROL_QUEUE
from flows.errors import DataError, FlowsError

if TYPE_CHECKING:
    from flows._dead_letters import DeadLetter
    from flows._events import Event
    from flows._run import Run
    from flows._table import TableRow
    from flows._views import Attempt
    from flows.errors import Failed
    from flows.operating import Check, DeadJob, QueueSummary, RunSummary


def run_document(run: Run[Any]) -> dict[str, Any]:
    """One run: ``flows run``, and the head of ``flows runs show``.

    ``value`` is null where there is none or it has no JSON form; ``value_repr`` is there in the latter case.
    """
    record = run._record
    plan, started, ended = record.plan, record.submitted_at, record.ended_at
    states = Counter(record.state_of(job) for job in range(len(plan)) if job not in plan.gone)
    document = {
        "id": run.id,
        "key": run.key,
        "flow": run.name,
        "state": run.state,
        "submitted_at": _instant(started),
        "ended_at": _instant(ended),
        "seconds": None if ended is None else (ended - started).total_seconds(),
        "trace_id": run.trace_id,
        "jobs": sum(states.values()),
        "open": sum(states[state] for state in ("waiting_children", "waiting", "delayed", "active")),
        "states": dict(states),
        "value": None,
        "error": None,
    }
    try:
        document |= _value_fields(run.value)
    except FlowsError:
        wrong = next((root for root in plan.roots if record.state_of(root) in ("failed", "cancelled")), None)
        document["error"] = None if wrong is None else error_document(record.failed(wrong))
    return document


def _value_fields(value: Any) -> dict[str, Any]:
    from flows._codec import jsonable

    try:
        return {"value": jsonable(value, "value")}
    except DataError:
        return {"value": None, "value_repr": repr(value)}


def row_document(row: TableRow, attempts: Sequence[Attempt], logs: Sequence[str]) -> dict[str, Any]:
    """One job of a run: an entry of ``rows`` in ``flows runs show``. Lists (`each`) have no queue."""
    return {
        "job": row.job,
        "task": row.task,
        "queue": None if row.queue == CONTROL_QUEUE else row.queue,
        "state": row.state,
        "seconds": row.seconds,
        "start": _instant(row.start),
        "end": _instant(row.end),
        "worker": row.worker,
        "progress": row.progress,
        "error": None if row.error is None else error_document(row.error),
        "attempts": [attempt_document(attempt) for attempt in attempts],
        "logs": list(logs),
    }


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    """One try of a job."""
    return {
        "number": attempt.number,
        "start": _instant(attempt.start),
        "end": _instant(attempt.end),
        "outcome": attempt.outcome,
        "worker": attempt.worker,
        "error": None if attempt.error is None else error_document(attempt.error),
    }


def error_document(error: Failed) -> dict[str, Any]:
    """Why a job did not complete."""
    return {
        "type": error.type,
        "message": error.message,
        "job": error.job,
        "state": error.state,
        "traceback": error.traceback,
    }


def summary_document(summary: RunSummary) -> dict[str, Any]:
    """One run of a listing: ``flows runs ls``, ``flows runs prune``."""
    return {
        "id": summary.id,
        "key": summary.key,
        "flow": summary.flow,
        "state": summary.state,
        "submitted_at": _instant(summary.submitted_at),
        "ended_at": _instant(summary.ended_at),
        "jobs": summary.jobs,
        "open": summary.open,
        "error": None if summary.error is None else error_document(summary.error),
    }


def queue_document(queue: QueueSummary) -> dict[str, Any]:
    """One queue: ``flows queues``. ``rate`` is null or ``{"starts": 10, "seconds": 1.0}``."""
    rate = None if queue.rate is None else {"starts": queue.rate[0], "seconds": queue.rate[1]}
    return {
        "queue": queue.name,
        "waiting": queue.waiting,
        "delayed": queue.delayed,
        "active": queue.active,
        "dead": queue.dead,
        "paused": queue.paused,
        "concurrency": queue.concurrency,
        "rate": rate,
        "workers": queue.workers,
        "oldest_waiting_at": _instant(queue.oldest_waiting_at),
    }


def dead_document(entry: DeadJob) -> dict[str, Any]:
    """One dead letter: ``flows dead list``. ``data`` is text where it has no JSON form."""
    return {"run": entry.run, "key": entry.key, "flow": entry.flow, "run_ended": entry.ended} | _letter(entry.letter)


def _letter(letter: DeadLetter) -> dict[str, Any]:
    return {
        "job": letter.job,
        "task": letter.task,
        "queue": letter.queue,
        "at": _instant(letter.at),
        "attempts": len(letter.attempts),
        "data": _data(letter.data),
        "error": error_document(letter.error),
    }


def _data(data: Mapping[str, Any]) -> Any:
    from flows._codec import jsonable

    try:
        return jsonable(dict(data), "data")
    except DataError:
        return repr(data)


def event_document(event: Event) -> dict[str, Any]:
    """One event: ``flows runs watch``. ``detail`` is an error, a progress, a count or a state, by its kind."""
    from flows.errors import Failed

    detail = error_document(event.detail) if isinstance(event.detail, Failed) else event.detail
    return {
        "kind": event.kind,
        "at": _instant(event.at),
        "job": event.job,
        "attempt": event.attempt,
        "detail": detail,
    }


def check_document(check: Check) -> dict[str, Any]:
    """One check: ``flows doctor``."""
    return {"check": check.name, "status": check.status, "found": check.found, "remedy": check.remedy or None}


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
