"""Running one attempt, from grant to settle: inputs are bound, the handler is called, its outcome is judged.

A `Handler` is made once for a task. An attempt binds what the job's children left to its parameters (`_inputs`), calls
it, and makes a settle of the outcome; what an exception means is `judge_error`'s to say, by `flows._retry`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextvars import copy_context
from functools import cache
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

from flows import _causes
from flows._binding import Arguments, Deferred, Lookup, Ready
from flows._children import Children
from flows._context import Context, current_grant
from flows._idempotency import job_key
from flows._job import Job
from flows._machine import inputs_of
from flows._reference import OptionalReference, Part, Reference
from flows._signature import CHILDREN, CONTEXT, Parameters
from flows._state import COMPLETED, RunState
from flows._verbs import End, FailedSettle, Grant, RunBrief, Settle
from flows.errors import DataError, Failed

if TYPE_CHECKING:
    from flows._opts import Settings
    from flows._retry import Verdict
    from flows._task import Task

__tracebackhide__ = True  # pytest shows where a handler has raised, and not how it came to be called

Clock = Callable[[], float]

_UNFINISHED = frozenset((CoroutineType, GeneratorType, AsyncGeneratorType, Job, Reference, Part, OptionalReference))
"""Kinds of values that no handler means to return."""
_COMPLETED = End.COMPLETED
_ENDS = {"retry": End.RETRY, "fail": End.FAILED, "skip": End.SKIPPED}


class Handler:
    """A task made ready to run jobs: its function and what its parameters ask for."""

    __slots__ = ("fn", "is_async", "parameters", "plain", "task")

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.fn = task.fn
        self.is_async = task.is_async
        self.parameters = Parameters(task)
        self.plain = not self.parameters.injected
        """Whether every argument comes from the job: then positional results can be passed straight on."""


def handler_of(task: Task[..., Any]) -> Handler:
    """The handler of *task*; the same for all runs, unless an annotation could not be evaluated yet."""
    handler: Handler | None = task._handler
    if handler is not None and handler.fn is task.fn:
        return handler
    handler = Handler(task)
    task._handler = handler if handler.parameters.evaluated else None
    return handler


class BadResultError(DataError):
    """A handler returned what cannot be a result. The effect has happened, so there is no other attempt."""


def perform(grant: Grant, clock: Clock) -> Settle:
    """Run a sync handler to its end in this thread.

    Each attempt runs in a copy of this thread's context, so that no context variable leaks from job to job. The thread
    must be one that may have `current_grant` set: a hand, or a caller's inside a context of its own.

    Raises:
        BaseException: What is not an `Exception` (KeyboardInterrupt, SystemExit) passes through: it is meant for the
            worker.
    """
    started_at = clock()
    try:
        value = outcome_of(grant)
    except Exception as error:
        return judge_error(grant, error, started_at, clock())
    return Settle(grant, _COMPLETED, value, started_at, clock())


def outcome_of(grant: Grant) -> Any:
    """What the sync handler returns; as in `perform`, which judges what this raises."""
    run, job = grant.run, grant.job
    handler = run.handlers[job]
    binding = run.bindings[job]
    if handler.plain and type(binding) is tuple:  # the common cases of `_inputs`, kept tight
        current_grant.set(grant)
        values, few = run.values, len(binding)
        if not few:  # a call with * takes several times as long as one that is written out
            value = copy_context().run(handler.fn)
        elif few == 1:
            value = copy_context().run(handler.fn, values[binding[0]])
        elif few == 2:
            value = copy_context().run(handler.fn, values[binding[0]], values[binding[1]])
        elif few == 3:
            value = copy_context().run(handler.fn, values[binding[0]], values[binding[1]], values[binding[2]])
        else:
            value = copy_context().run(handler.fn, *map(values.__getitem__, binding))
    elif handler.plain and isinstance(binding, Arguments) and binding.plain:
        current_grant.set(grant)
        value = copy_context().run(handler.fn, *binding.args)
    else:
        args, kwargs = _inputs(grant, handler)
        current_grant.set(grant)
        value = copy_context().run(handler.fn, *args, **kwargs)
    if type(value) in _UNFINISHED:
        raise _unfinished(value)
    return value


async def perform_async(grant: Grant, clock: Clock) -> Settle:
    """Run an async handler to its end as the current asyncio task, which has a context of its own."""
    handler = grant.run.handlers[grant.job]
    started_at = clock()
    try:
        args, kwargs = _inputs(grant, handler)
        current_grant.set(grant)
        value = await cast("Coroutine[Any, Any, Any]", handler.fn(*args, **kwargs))
        if type(value) in _UNFINISHED:
            raise _unfinished(value)
    except Exception as error:
        return judge_error(grant, error, started_at, clock())
    return Settle(grant, End.COMPLETED, value, started_at, clock())


def distant_inputs(grant: Grant, handler: Handler) -> tuple[Sequence[Any], dict[str, Any], tuple[str, ...]]:
    """The arguments of a call to be made in another process, and the parameters that take the job's context there."""
    args, kwargs = _inputs(grant, handler)
    contexts = tuple(name for name, wanted in handler.parameters.injected.items() if wanted == CONTEXT)
    for name in contexts:
        del kwargs[name]
    return args, kwargs, contexts


def finished(value: Any) -> Any:
    """What a handler returned, if that can be a result.

    Raises:
        BadResultError: It is a coroutine, a generator, a job or a reference.
    """
    if value.__class__ in _UNFINISHED:
        raise _unfinished(value)
    return value


def judge_error(grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
    """What an exception of the attempt means: another try after a while, a skip, or the end of the job."""
    try:
        return _judged(grant, error, started_at, ended_at)
    except Exception:  # the exception of a user may do anything when it is looked at
        return FailedSettle(grant, End.FAILED, error, started_at, ended_at)


def cancelled_inside(error: BaseException | None) -> RuntimeError:
    """What a cancellation that we have not asked for counts as: a failure like others."""
    cancelled = RuntimeError("the handler was cancelled, and not by the run")
    cancelled.__cause__ = error
    return cancelled


@cache
def _judge() -> Callable[..., Verdict]:
    """What judges failures, loaded with the first one; an import statement takes long also where there is one."""
    from flows._retry import judge

    return judge


def _judged(grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
    if grant.run.state.cancelling:
        return FailedSettle(grant, End.CANCELLED, error, started_at, ended_at)
    if isinstance(error, DataError):
        return FailedSettle(grant, End.FAILED, error, started_at, ended_at)
    begun = grant.run.since.get(grant.job, started_at)
    verdict = _judge()(
        _settings(grant), error, attempt=grant.attempt, elapsed=ended_at - begun, key=job_key(grant.run, grant.job)
    )
    end = _ENDS[verdict.kind]
    if verdict.note:
        grant.run.record(grant.job, verdict.note)
    return FailedSettle(grant, end, error, started_at, ended_at, verdict.after, verdict.counted)


def children_of(grant: Grant) -> Children:
    """Results and failures of the direct dependencies that count for this attempt."""
    if grant.distant is not None:
        return grant.distant()
    run, job = grant.run, grant.job
    plan = run.plan
    optional = plan.optional.get(job, ())
    columns, ids, results = run.state, plan.ids, run.values
    states = columns.state  # made when it is asked for, where a run is stored
    values: dict[str, Any] = {}
    failures: dict[str, Failed] = {}
    for child in inputs_of(columns, job, plan.inputs[job]):
        if states[child] == COMPLETED:
            values[ids[child]] = results[child]
        elif plan.settings[child].on_failure != "remove" or child in optional:
            failures[ids[child]] = run.failed(child)
    return Children(values, failures)


def _settings(grant: Grant) -> Settings:
    return grant.run.plan.settings[grant.job]


def _inputs(grant: Grant, handler: Handler) -> tuple[Sequence[Any], dict[str, Any]]:
    run = grant.run
    binding = run.bindings[grant.job]
    if type(binding) is tuple:  # whole results only, and the planner saw to it that none can be missing
        args: Sequence[Any] = [run.values[child] for child in binding]
        kwargs: dict[str, Any] = {}
    else:
        args, kwargs = _bound(grant, handler, cast("Arguments", binding))
    for name, wanted in handler.parameters.injected.items():
        kwargs[name] = children_of(grant) if wanted == CHILDREN else Context(grant)
    return args, kwargs


def _bound(grant: Grant, handler: Handler, arguments: Arguments) -> tuple[Sequence[Any], dict[str, Any]]:
    """The arguments of a call that is more than whole results."""
    if type(arguments) is Ready:
        return arguments.args, {}
    if isinstance(arguments, Deferred):
        return arguments.worked_out(handler)
    run, job = grant.run, grant.job
    spot = f"job {run.plan.ids[job]!r}"
    try:
        args, kwargs = lookup_of(run, job).bind(arguments)
    except LookupError as error:
        raise DataError(f"{spot}: {error}") from error
    return handler.parameters.spread(kwargs, spot) if arguments.by_name else (args, kwargs)


def lookup_of(run: RunBrief, job: int) -> Lookup:
    """What the places in the job's templates receive."""
    return Lookup(run.values, _counting(run.state, job), _failing(run, job))


def _counting(state: RunState, job: int) -> Callable[[int], bool]:
    """Tells which children count with their results: those that completed, and before an early release."""
    states, cut = state.state, state.cut.get(job)
    if cut is None:
        return lambda child: states[child] == COMPLETED
    return lambda child: states[child] == COMPLETED and 0 < state.ordinal[child] <= cut


def _failing(run: RunBrief, job: int) -> Callable[[int], Failed]:
    """Tells what an optional place receives; of children that were pending at an early release always the same."""
    ordinal, cut = run.state.ordinal, run.state.cut.get(job)
    if cut is None:
        return run.failed

    def failed(child: int) -> Failed:
        if 0 < ordinal[child] <= cut:
            return run.failed(child)
        return _causes.not_ended(run.plan.ids[child])

    return failed


def _unfinished(value: Any) -> BadResultError:
    if inspect.iscoroutine(value):
        value.close()
        what, hint = "coroutine", "did you forget await, or async def?"
    elif isinstance(value, Job | Reference | OptionalReference):
        what = "job" if isinstance(value, Job) else "reference"
        hint = "calling a task runs nothing; in a handler, call the plain function, task.fn(...)."
    else:
        what, hint = "generator", "return a list instead."
    return BadResultError(f"the handler returned a {what}; {hint} What it did stands, so it is not tried again.")
