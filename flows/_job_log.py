"""JobLog: what happens to jobs, through `logging`, as sentences for people and fields for machines.

The logger is ``flows.jobs``. Levels:

====================================================  =======
a job started; an attempt was given back unrun        DEBUG
a job completed, was skipped or cancelled             INFO
a job failed because one that it depends on did       INFO
an attempt failed and will be retried; a worker died  WARNING
a job failed for good                                 ERROR
====================================================  =======

Records carry these attributes (``extra``): ``flows_event`` (the kind, as in `Event`), ``flows_run``, ``flows_trace``,
``flows_job`` (ids), ``flows_task``, ``flows_queue``, ``flows_attempt`` (None where there was none), ``flows_attempts``
(how many the job has), ``flows_seconds`` (how long the attempt took), ``flows_error`` (the error's class name).
Their time is that of what happened, not of the telling.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from flows._told import Listened, Told, attempt_of

if TYPE_CHECKING:
    from flows._events import EventKind
    from flows._plan import Plan

logger = logging.getLogger("flows.jobs")
# Without it, programs that have not set up logging would find failed jobs on their standard error.
logger.addHandler(logging.NullHandler())

MESSAGE_LIMIT: Final = 500
"""Characters of an error's text in a message; the run keeps more."""

_LEVELS: Final[dict[EventKind, int]] = {
    "started": logging.DEBUG,
    "released": logging.DEBUG,
    "completed": logging.INFO,
    "skipped": logging.INFO,
    "cancelled": logging.INFO,
    "failed": logging.ERROR,
    "retrying": logging.WARNING,
    "lost": logging.WARNING,
}


def job_log() -> JobLog | None:
    """What is to be logged of a new run; None where nobody listens. Decided once a run."""
    if not logger.isEnabledFor(logging.ERROR) or not _heard():
        return None
    return JobLog(frozenset(kind for kind, level in _LEVELS.items() if logger.isEnabledFor(level)))


class JobLog:
    """Logs what happens to the jobs of one run.

    Attributes:
        kinds: What is worth telling it.
    """

    __slots__ = ("kinds",)

    def __init__(self, kinds: frozenset[EventKind]) -> None:
        self.kinds = kinds

    def tell(self, run: Listened, happened: Iterable[Told]) -> None:
        """Log each of these, in order; a handler that raises costs its own record only."""
        for told in happened:
            try:
                self._log(run, told)
            except Exception:
                continue  # whoever is to be told is who failed

    @staticmethod
    def _log(run: Listened, told: Told) -> None:
        attempt = attempt_of(run, told) if logger.isEnabledFor(level_of(told)) else None
        seconds = None if attempt is None else attempt.seconds
        at = told.at if attempt is None or attempt.end is None else attempt.end
        log_job(run.plan, run.id, run.trace_id, told, seconds, at.timestamp())


def level_of(told: Told) -> int:
    """The level of what is told."""
    doomed = told.kind == "failed" and told.attempt is None
    return logging.INFO if doomed else _LEVELS[told.kind]


def log_job(plan: Plan[Any], run_id: str, trace_id: str, told: Told, seconds: float | None, at: float) -> None:
    """Log one thing that happened to a job, if anybody wants to know.

    Args:
        seconds: How long the attempt took.
        at: When it happened, in seconds since 1970.
    """
    level = level_of(told)
    if not logger.isEnabledFor(level):
        return
    job, failed = told.job, told.failed
    attempts = plan.settings[job].attempts
    extra = {
        "flows_event": told.kind,
        "flows_run": run_id,
        "flows_trace": trace_id,
        "flows_job": plan.ids[job],
        "flows_task": plan.names[job],
        "flows_queue": plan.queues_of[job],
        "flows_attempt": None if job in plan.lists else told.attempt,
        "flows_attempts": attempts,
        "flows_seconds": seconds,
        "flows_error": None if failed is None else failed.type,
    }
    text = sentence(plan.ids[job], told, attempts, seconds)
    record = logger.makeRecord(logger.name, level, __file__, 0, "%s", (text,), None, "tell", extra)
    record.relativeCreated += (at - record.created) * 1e3
    record.created = at
    record.msecs = at % 1 * 1e3
    logger.handle(record)


def sentence(job: str, told: Told, attempts: int, seconds: float | None) -> str:
    """What happened, in one line: ``charge attempt 2/5 failed after 0.12 s: PspTimeout: ...; again in 4 s``."""
    who = f"{job} attempt {told.attempt}/{attempts}" if told.attempt is not None and attempts > 1 else job
    match told.kind:
        case "started":
            text = f"{who} started"
        case "completed":
            text = f"{who} completed{_spent(' in', seconds)}"
        case "retrying":
            again = "at once" if not told.after else f"in {_figure(told.after)}"
            text = f"{who} failed{_spent(' after', seconds)}: {_error(told)}; again {again}"
        case "failed":
            text = f"{who} failed{_spent(' after', seconds)}: {_error(told)}"
        case "lost":
            text = f"{who} lost its worker"
        case "released":
            text = f"{who} was given back unrun"
        case _:
            text = f"{who} was {told.kind}{_spent(' after', seconds)}: {_error(told)}"
    return text if text.isprintable() else "".join(map(_visible, text))


def _error(told: Told) -> str:
    failed = told.failed
    if failed is None:
        return "no reason is known"
    text = f"{failed.type}: {failed.message}" if failed.message else failed.type
    return text if len(text) <= MESSAGE_LIMIT else f"{text[:MESSAGE_LIMIT]}…"


def _visible(char: str) -> str:
    """*char*, or an escape for what could begin a line of its own or steer a terminal."""
    return char if char.isprintable() else ascii(char)[1:-1]


def _spent(word: str, seconds: float | None) -> str:
    return "" if seconds is None else f"{word} {_figure(seconds)}"


def _figure(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds * 1e3:.2g} ms"
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:.0f} s"


def _heard() -> bool:
    """Whether the logger, or one above it that it hands on to, has a handler that does something."""
    above: logging.Logger | None = logger
    while above is not None:
        for handler in above.handlers:
            if not isinstance(handler, logging.NullHandler):
                return True
        above = above.parent if above.propagate else None
    return False
