"""What runs in a worker of the cluster: a task makes attempts, whose results stay there and whose ends are reported.

A handler that has a timeout runs in a thread of its own, which is left behind when the time is over. Async handlers
run on one event loop a process, and those for processes in children of the worker.
"""

from __future__ import annotations

import functools
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from dataclasses import replace
from typing import Any, Final

import cloudpickle
from distributed import Worker, get_worker
from distributed.sizeof import safe_sizeof

import flows
from executors._leasing._distant_run import DistantGrant, DistantRun
from executors._leasing._wire import LOG as WIRE_LOG
from executors._leasing._wire import Brief, packed, unpacked
from executors.dask import _words as words
from executors.dask._registered import placed, registered
from executors.dask._remote import check_travels, read
from executors.dask._reports import Reports, reports_of
from executors.dask._words import Batch, ChildError, Fault, Kind, Mark, Named, Order, StoppedError, Void
from flows._binding import ATOMS
from flows._children import Children
from flows._context import Context, current_grant
from flows._handlers import Handler, finished, judge_error
from flows._telemetry import carried
from flows.errors import DataError, DefinitionError, JobTimeoutError, LeaseLostError

GRACE_SECONDS: Final = 5.0
"""How long an async handler that was cancelled may take to end before it is given up."""


class WorkerRun(DistantRun):
    """The one job that runs here."""

    ended = False

    def __init__(self, brief: Brief, link: _Link) -> None:
        super().__init__(brief, link)
        self.interrupters: list[Callable[[], None]] = []

    def placed(self, job: int, worker: str) -> None:
        """Who waits for the run is told of the worker only."""


class _Link:
    """The way home of what a handler says, and to what its dependencies left."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say
        self.found = Children({}, {})

    def send(self, tag: bytes, data: bytes = b"") -> None:
        self._say(words.LOG if tag == WIRE_LOG else words.PROGRESS, data)

    def children(self) -> Children:
        return self.found


_live: dict[Mark, DistantGrant] = {}
_ended: dict[Mark, None] = {}
_stops: dict[Mark, str] = {}
MARKS_KEPT: Final = 10_000


def stop(marks: Sequence[Mark], why: str) -> list[Mark]:
    """Tell the handlers of these attempts to stop, if there is a reason; those that are still to begin here will not.

    Returns:
        The attempts that have begun here, or ended: of these there is or will be a report.
    """
    for mark in marks:
        _keep(_stops, mark, why)  # first: an attempt that begins now looks into it when it is known as live
        grant = _live.get(mark)
        if grant is not None and why:
            _tell(grant, why)
    return [mark for mark in marks if mark in _live or mark in _ended]


def _keep(marks: dict[Mark, Any], mark: Mark, value: Any) -> None:
    while len(marks) >= MARKS_KEPT:
        marks.pop(next(iter(marks)), None)
    marks[mark] = value


def _tell(grant: DistantGrant, why: str) -> None:
    grant.stop = grant.stop or why
    run: Any = grant.run
    run.state.cancelling = True
    for interrupt in tuple(run.interrupters):
        interrupt()


def make(data: bytes, results: Sequence[Any]) -> Any:
    """Make the attempts of a `Batch`; gives the result of each, or a `Void`. That of a lone one is not in a list."""
    worker = get_worker()
    batch: Batch = pickle.loads(data)
    reports = reports_of(worker)
    made = []
    for kind, order, slots in batch.orders:
        taken = [results[index] if place is None else results[index][place] for index, place in slots]
        made.append(_made(batch, batch.kinds[kind], order, taken, worker, reports))
    reports.task_ends()
    return made[0] if len(made) == 1 else made


def _made(batch: Batch, kind: bytes, order: Order, results: Sequence[Any], worker: Worker, reports: Reports) -> Any:
    say = functools.partial(reports.say, batch.topic, order.mark)
    if any(type(result) is Void for result in results):
        say(words.UNRUN)
        return Void()
    began = time.monotonic()
    grant: DistantGrant | None = None
    judges = False
    try:
        known, handler = _known(kind, order, batch.version, worker.address)
        link = _Link(say)
        args, kwargs = _inputs(order, results, link)
        if handler is not None:
            judges = True
            args, kwargs = placed(handler, kwargs, link.found, f"job {order.job_id!r}")
        grant = DistantGrant(_brief(known.brief, order), link, WorkerRun)
        say(words.BEGUN)
        began = time.monotonic()
        value = _called(order.mark, grant, known, args, kwargs)
        if type(value) not in ATOMS:
            check_travels(value)
    except JobTimeoutError as error:
        say(words.TIMEOUT, _fault(error, order, grant, judges=judges), time.monotonic() - began)
    except StoppedError:
        say(words.STOPPED, seconds=time.monotonic() - began)
    except LeaseLostError as error:
        say(words.LOST, cloudpickle.dumps(str(error)), time.monotonic() - began)
    except ChildError as error:
        say(words.RAISED, _fault(error, order, grant, judges=judges), time.monotonic() - began)
    except Exception as error:
        say(words.RAISED, _fault(error, order, grant, judges=judges), time.monotonic() - began)
    else:
        say(words.DONE, b"large" if _is_large(value) else b"", time.monotonic() - began)
        return value
    return Void()


LARGE_BYTES: Final = 4096
"""Results from this size on are not kept together with others: who takes one would have all of them."""


def _is_large(value: object) -> bool:
    size: int = safe_sizeof(value)
    return size > LARGE_BYTES


def _brief(common: Brief, order: Order) -> Brief:
    brief = common._replace(job_id=order.job_id, attempt=order.attempt, carrier=order.carrier)
    if order.idempotency_key is None:
        return brief
    return brief._replace(settings=replace(brief.settings, idempotency_key=order.idempotency_key))


def _fault(error: Exception, order: Order, grant: DistantGrant | None, *, judges: bool) -> bytes:
    """A pickle of the `Fault`. What is wrong before there is a grant is no better the next time."""
    if isinstance(error, ChildError):
        raised = pickle.loads(error.raised)
        error = unpacked(raised)
    elif type(error) is JobTimeoutError:
        raised = None
    else:
        raised = packed(error, order.job_id, final=grant is None, dumps=cloudpickle.dumps)
    verdict = None
    if judges and grant is not None:
        settle = judge_error(grant, error, 0.0, 0.0)
        verdict = int(settle.end), settle.after, settle.counted
    data: bytes = cloudpickle.dumps(Fault(raised, verdict))
    return data


def _known(kind: bytes, order: Order, version: str, address: str) -> tuple[Kind, Handler | None]:
    """What there is to do; with the handler where the function is this process's own."""
    if version != flows.__version__:
        raise DefinitionError(
            f"the worker {address} has flows {flows.__version__}, and the flow was submitted by {version}; "
            "install the same version on both sides"
        )
    try:
        known = _loaded(kind)
    except Exception as error:
        problem = DefinitionError(
            f"task {order.task!r} cannot be loaded by the worker {address}: {type(error).__name__}: {error}; functions "
            "of scripts and notebooks travel with their jobs, but the modules that they come from or import must be "
            "installed there, or sent by client.upload_file"
        )
        problem.__cause__ = error
        raise problem from None
    return registered(known, address) if type(known.fn) is Named else (known, None)


@functools.lru_cache(maxsize=1024)
def _loaded(kind: bytes) -> Kind:
    loaded: Kind = cloudpickle.loads(kind)
    return loaded


def _inputs(order: Order, results: Sequence[Any], link: _Link) -> tuple[Sequence[Any], dict[str, Any]]:
    if isinstance(order.call, tuple):
        link.found = Children(dict(zip(order.ids, results, strict=True)), {})
        return [results[index] for index in order.call], {}
    try:
        args, kwargs, link.found = read(order.call, results)
    except LookupError as error:
        raise DataError(f"job {order.job_id!r}: {error}") from error
    except Exception as error:
        raise DataError(f"job {order.job_id!r}: its arguments cannot be read on the worker: {error}") from error
    return args, kwargs


def _called(mark: Mark, grant: DistantGrant, kind: Kind, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    _live[mark] = grant
    try:
        if mark in _stops:
            _tell(grant, _stops[mark])
            raise StoppedError
        if kind.place is not None:
            return _in_process(grant, kind, args, kwargs)
        kwargs = kwargs | {name: Context(grant) for name in kind.contexts}
        timeout = kind.brief.settings.timeout
        if kind.awaits:
            return finished(_awaited(grant, kind.fn, args, kwargs, timeout))
        call = functools.partial(_in_context, grant, kind.fn, args, kwargs)
        return finished(call() if timeout is None else _timed(grant, call, timeout))
    finally:
        _keep(_ended, mark, None)
        del _live[mark]


def _in_context(grant: DistantGrant, fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The handler's result; what it raises that is meant for a process is a failure, as this one serves others."""
    context = copy_context()
    context.run(current_grant.set, grant)
    run: Any = grant.run
    try:
        return context.run(_carried, run.carrier, fn, args, kwargs)
    except Exception:
        raise
    except BaseException as error:
        raise _ended_process(error) from error


def _carried(carrier: dict[str, str], fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    if not carrier:
        return fn(*args, **kwargs)
    with carried(carrier):
        return fn(*args, **kwargs)


def _ended_process(error: BaseException) -> RuntimeError:
    return RuntimeError(f"the handler raised {type(error).__name__}: {error}".removesuffix(": "))


def _timed(grant: DistantGrant, call: Callable[[], Any], timeout: float) -> Any:
    """As *call*, in a thread that is left behind when the time is over."""
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((call(), None))
        except BaseException as error:
            answers.put((None, error))

    threading.Thread(target=copy_context().run, args=(run,), name="flows-timed", daemon=True).start()
    try:
        value, error = answers.get(timeout=timeout)
    except queue.Empty:
        grant.stop = grant.stop or "the attempt timed out"
        raise JobTimeoutError("") from None
    if error is not None:
        raise error
    return value


def _awaited(
    grant: DistantGrant, fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], timeout: float | None
) -> Any:
    """The result of an async handler, which runs on the loop of this process while this thread waits."""
    import asyncio

    from executors._leasing._loop import loop_thread

    run: Any = grant.run
    answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    async def handled() -> Any:
        current_grant.set(grant)
        with carried(run.carrier):
            return await fn(*args, **kwargs)

    async def attend() -> None:
        inner = asyncio.create_task(handled())
        interrupt = functools.partial(loop_thread.call, inner.cancel)
        run.interrupters.append(interrupt)
        if grant.stop is not None:
            inner.cancel()
        done, _ = await asyncio.wait((inner,), timeout=timeout)
        late = not done
        if late:
            grant.stop = grant.stop or "the attempt timed out"
            inner.cancel()
            await asyncio.wait((inner,), timeout=GRACE_SECONDS)
        answers.put((None, JobTimeoutError("")) if late else _answer(grant, inner))

    def begin() -> None:
        task = asyncio.get_running_loop().create_task(attend())
        _attending.add(task)
        task.add_done_callback(_attending.discard)

    loop_thread.call(begin)
    value, error = answers.get()
    if error is not None:
        raise error
    return value


_attending: set[Any] = set()


def _answer(grant: DistantGrant, task: Any) -> tuple[Any, BaseException | None]:
    if task.cancelled():
        if grant.stop is not None:
            return None, StoppedError()
        return None, RuntimeError("the handler was cancelled, and not by the run")
    error = task.exception()
    if error is None or isinstance(error, Exception):
        return (None, error) if error is not None else (task.result(), None)
    return None, _ended_process(error)


def _in_process(grant: DistantGrant, kind: Kind, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The result of a handler that has a process of its own, beside this one."""
    from executors.dask._children import attempted

    return attempted(grant, kind, args, kwargs, f"{os.getpid()}", time.monotonic)
