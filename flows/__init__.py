"""Flows: trees and DAGs of jobs across named queues, run in this process or on a fleet, with one meaning everywhere.

A *task* is a handler with a name; calling it places a *job* in a *flow*; children run before their parents and hand
them their results. ``flows.execute(flow)`` runs it here and returns the *run*. Start reading at ``flows/_api.py``.
"""

import typing as _typing

from flows._api import aexecute, asubmit, execute, get, resume, submit
from flows._backoff import Backoff
from flows._children import INJECTED, Children
from flows._context import Context, current
from flows._each import each, when
from flows._events import Event
from flows._flow import Flow, flow
from flows._job import Job
from flows._opts import Opts, Queue
from flows._plan import Plan
from flows._planner import plan
from flows._reference import optional
from flows._run import Run
from flows._task import Task, task
from flows._views import Attempt, JobView
from flows.errors import (
    CycleError,
    DataError,
    DefinitionError,
    DependencyFailedError,
    DuplicateJobError,
    DuplicateTaskError,
    ExecutorError,
    Failed,
    FlowFailedError,
    FlowsError,
    GiveUp,
    IdempotencyConflictError,
    JobFailedError,
    JobTimeoutError,
    LeaseLostError,
    MissingDependencyError,
    NoValueError,
    ResultExpiredError,
    RetryAfter,
    RunCancelledError,
    RunError,
    Skip,
    UnavailableError,
    UnknownExecutorError,
    UnknownRunError,
    UnknownTaskError,
    UnsupportedError,
    WaitTimeoutError,
)

if _typing.TYPE_CHECKING:
    from flows import telemetry as telemetry
    from flows._dead_letters import DeadLetter
    from flows._serving import Worker
    from flows._table import Table
    from flows._timeline import Timeline
    from flows._watch import watch

__version__ = "0.1.0"

__all__ = [
    "Attempt",
    "Backoff",
    "Children",
    "Context",
    "CycleError",
    "DataError",
    "DeadLetter",
    "DefinitionError",
    "DependencyFailedError",
    "DuplicateJobError",
    "DuplicateTaskError",
    "Event",
    "ExecutorError",
    "Failed",
    "Flow",
    "FlowFailedError",
    "FlowsError",
    "GiveUp",
    "INJECTED",
    "IdempotencyConflictError",
    "Job",
    "JobFailedError",
    "JobTimeoutError",
    "JobView",
    "LeaseLostError",
    "MissingDependencyError",
    "NoValueError",
    "Opts",
    "Plan",
    "Queue",
    "ResultExpiredError",
    "RetryAfter",
    "Run",
    "RunCancelledError",
    "RunError",
    "Skip",
    "Table",
    "Task",
    "Timeline",
    "UnavailableError",
    "UnknownExecutorError",
    "UnknownRunError",
    "UnknownTaskError",
    "UnsupportedError",
    "WaitTimeoutError",
    "Worker",
    "aexecute",
    "asubmit",
    "current",
    "each",
    "execute",
    "flow",
    "get",
    "optional",
    "plan",
    "resume",
    "submit",
    "task",
    "watch",
    "when",
]


_WHEN_NAMED = {
    "DeadLetter": "flows._dead_letters",
    "Table": "flows._table",
    "Timeline": "flows._timeline",
    "Worker": "flows._serving",
    "telemetry": "flows.telemetry",
    "watch": "flows._watch",
}
"""What is loaded when it is first named: most programs never do."""

if not _typing.TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> object:
        place = _WHEN_NAMED.get(name)
        if place is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(place)
        found = globals()[name] = module if place == f"{__name__}.{name}" else getattr(module, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_WHEN_NAMED})
