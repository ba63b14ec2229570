"""What users call: plan a flow, run it, find it again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flows._executors import executor_of
from flows._flow import Flow
from flows._job import Job
from flows._names import shown
from flows._planner import plan
from flows._run import Run
from flows._run_options import RunKeywords, run_options
from flows.errors import DefinitionError, UnavailableError, UnknownRunError

if TYPE_CHECKING:
    from typing import Unpack

    from flows._plan import Plan
    from flows.executor import ClusterClient, Executor, RunOptions

R = TypeVar("R")

_NOBODY: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def execute(
    flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R],
    *,
    executor: str | Executor | ClusterClient | None = None,
    key: str | None = None,
    check: bool = True,
    **options: Unpack[RunKeywords],
) -> Run[R]:
    """Run a flow to its end and return the run. Blocks; works inside a running event loop (Jupyter), too.

    In a notebook a run that takes more than half a second shows its picture while it goes on, see `watch`. What
    interrupts the caller (Ctrl-C) cancels the run; one that is kept in a file stays open, to be resumed.

    Args:
        flow: A flow, a job, a `@flow` function that needs no arguments, or a plan.
        executor: A URL, an executor, or a `distributed.Client`; without it ``FLOWS_EXECUTOR``, then ``memory://``.
        key: Names the run: the same key and flow again is the same run, whatever its state.
        check: Whether to raise when the run failed or was cancelled.
        **options: ``timeout`` (a deadline for the run), ``fail_fast``, ``keep``, ``keep_failed``, ``keep_count``,
            ``key_ttl``; see `RunKeywords`.

    Raises:
        DefinitionError: The flow, or something else given, is wrong; nothing has run.
        FlowFailedError: The flow failed; ``.run`` is the run, ``__cause__`` the handler's exception.
        RunCancelledError: The run was cancelled.
        IdempotencyConflictError: The key belongs to another flow.
        ResultExpiredError: The key's run has ended and is past its retention, while the key is still held.
        UnavailableError: The executor cannot be reached.
    """
    chosen, planned, asked = _prepared(flow, executor, key, options)
    run: Run[R] | None = None
    try:
        run = Run(chosen, chosen.submit(planned, asked, background=False), planned)
        if "ipykernel" in sys.modules:
            with _watched(run):
                run.wait()
        else:
            run.wait()
    except BaseException as error:
        _stop(chosen, asked, run, error)
        raise
    return run.check() if check else run


def submit(
    flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R],
    *,
    executor: str | Executor | ClusterClient | None = None,
    key: str | None = None,
    **options: Unpack[RunKeywords],
) -> Run[R]:
    """Hand a flow over and return at once; in memory, background threads run it.

    Arguments and errors are those of `execute`, but that the run's failure raises nothing.
    """
    chosen, planned, asked = _prepared(flow, executor, key, options)
    return Run(chosen, chosen.submit(planned, asked, background=True), planned)


async def aexecute(
    flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R],
    *,
    executor: str | Executor | ClusterClient | None = None,
    key: str | None = None,
    check: bool = True,
    **options: Unpack[RunKeywords],
) -> Run[R]:
    """`execute` for async code: the loop goes on meanwhile. Cancelling the call cancels the run that it began."""
    chosen, planned, asked = _prepared(flow, executor, key, options)
    run: Run[R] | None = None
    try:
        run = Run(chosen, chosen.submit(planned, asked, background=True), planned)
        with _watched(run):
            await run
    except BaseException as error:
        _stop(chosen, asked, run, error)
        raise
    return run.check() if check else run


async def asubmit(
    flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R],
    *,
    executor: str | Executor | ClusterClient | None = None,
    key: str | None = None,
    **options: Unpack[RunKeywords],
) -> Run[R]:
    """`submit` for async code; on a server the loop goes on meanwhile.

    What is submitted at the same time, as by ``asyncio.gather``, shares round trips. Whether a run was accepted whose
    submit was cancelled is not known; with a *key* it can be submitted again.
    """
    chosen, planned, asked = _prepared(flow, executor, key, options)
    later = getattr(chosen, "asubmit", None)
    record = chosen.submit(planned, asked, background=True) if later is None else await later(planned, asked)
    return Run(chosen, record, planned)


def get(
    run_id: str | None = None, *, key: str | None = None, executor: str | Executor | ClusterClient | None = None
) -> Run[Any]:
    """The run of that id, or of that key.

    Raises:
        DefinitionError: The id or the key is no text.
        UnknownRunError: The executor knows no such run; in memory, runs without a key leave with their `Run` object.
        ResultExpiredError: The key's run has ended and is past its retention, while the key is still held.
    """
    if (run_id is None) == (key is None):
        raise DefinitionError("flows.get() takes a run's id or its key=, one of them")
    given = run_id if key is None else key
    if not isinstance(given, str):
        raise DefinitionError(f"flows.get() takes a run's id or its key= as text, not {shown(given)}")
    chosen = executor_of(executor)
    record = chosen.find(run_id=run_id, key=key)
    if record is None:
        what = f"{'id' if key is None else 'key'} {shown(given)}"
        raise UnknownRunError(f"there is no run of {what} here; is it another executor's, or past its retention?")
    return Run(chosen, record)


def resume(run: str, *, executor: str | Executor | ClusterClient | None = None, check: bool = True) -> Run[Any]:
    """Go on with a run whose process has ended or was killed, and return when it has ended; as `execute` does.

    What had completed is not done again: its results are read. What was under way is, under the same idempotency key;
    it costs no attempt, but no job may lose its worker three times. A run that others are working on is joined, one
    that has ended is returned as it stands. To execute the same flow under the same key does the same.

    Args:
        run: Its id or its key.
        executor: Where it lives: a URL or an executor; without it ``FLOWS_EXECUTOR``, then ``memory://``.
        check: Whether to raise when the run failed or was cancelled.

    Raises:
        DefinitionError: *run* is no text.
        UnknownRunError: The executor knows no such run.
        ResultExpiredError: The key's run has ended and is past its retention, while the key is still held.
        UnknownTaskError: Tasks of the flow are not registered in this process; nothing has run.
        FlowFailedError: The flow failed; ``.run`` is the run, ``__cause__`` the handler's exception.
        RunCancelledError: The run was cancelled.
        UnavailableError: The executor cannot be reached.
    """
    if not isinstance(run, str):
        raise DefinitionError(f"flows.resume() takes a run's id or key as text, not {shown(run)}")
    chosen = executor_of(executor)
    record = chosen.find(run_id=run) or chosen.find(key=run)
    if record is None:
        raise UnknownRunError(
            f"there is no run of id or key {shown(run)} here; is it another executor's, or past its retention?"
        )
    found: Run[Any] = Run(chosen, record)
    found.wait()
    return found.check() if check else found


def _prepared(
    flow: Any, executor: str | Executor | ClusterClient | None, key: str | None, given: RunKeywords
) -> tuple[Executor, Plan[Any], RunOptions]:
    """All that can be wrong before anything is stored."""
    chosen = executor_of(executor)
    planned = plan(flow)
    return chosen, planned, run_options(key, given, planned.retention)


def _watched(run: Run[Any]) -> contextlib.AbstractContextManager[None]:
    """In a notebook: shows the run while somebody waits for it."""
    if "ipykernel" not in sys.modules:
        return _NOBODY
    from flows._watch import shown as shown_live

    return shown_live(run._record, sparing=run._executor.embedded)


def _stop(chosen: Executor, asked: RunOptions, run: Run[Any] | None, error: BaseException) -> None:
    """The caller of `execute` has been interrupted: cancel the run that it began, not one that others wait for, too."""
    if run is None and isinstance(error, Exception):
        return  # refused: nothing was stored
    if isinstance(error, KeyboardInterrupt | SystemExit | UnavailableError) and getattr(chosen, "resumes", False):
        return  # the process is to end, or the file out of reach; the run is kept, and can be gone on with
    record = chosen.find(run_id=asked.run_id)  # an interrupt may have come between storing and knowing it
    if record is not None:
        chosen.cancel(record, f"its caller stopped: {type(error).__name__}")
