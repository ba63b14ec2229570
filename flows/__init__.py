"""Flows: trees and DAGs of jobs across named queues, run in this process or on a fleet, with one meaning everywhere.

A *task* is a handler with a name; calling it places a *job* in a *flow*; children run before their parents and hand
them their results. ``flows.execute(flow)`` runs it here and returns the *run*. Start reading at ``flows/_api.py``.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from flows._api import aexecute, asubmit, execute, get, submit
from flows._backoff import Backoff
from flows._children import INJECTED, Children
from flows._context import Context, current
from flows._dead_letters import DeadLetter
from flows._each import each, when
from flows._events import Event
from flows._flow import Flow, flow
from flows._job import Job
from flows._opts import Opts, Queue
from flows._plan import Plan
from flows._planner import plan
from flows._reference import optional
from flows._run import Run
from flows._table import Table
from flows._task import Task, task
from flows._timeline import Timeline
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

if _TYPE_CHECKING:
    from types import ModuleType as _ModuleType

    from flows import telemetry as telemetry

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
    "aexecute",
    "asubmit",
    "current",
    "each",
    "execute",
    "flow",
    "get",
    "optional",
    "plan",
    "submit",
    "task",
    "when",
]


def __getattr__(name: str) -> "_ModuleType":
    """``flows.telemetry`` without an import of its own: loaded when first named."""
    if name == "telemetry":
        from importlib import import_module

        return import_module("flows.telemetry")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
