"""The process's table of tasks: (name, queue) -> handler. Workers look handlers up here, never by an import path."""

from __future__ import annotations

import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any

from flows._names import nearest
from flows.errors import DuplicateTaskError, UnknownTaskError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flows._task import Task

    AnyTask = Task[..., Any]

_lock = threading.Lock()
_tasks: dict[str, dict[str, AnyTask]] = {}


def register(task: AnyTask) -> None:
    """File *task* under its name and queue; one from the same source file replaces the former (notebooks, reloads).

    Raises:
        DuplicateTaskError: A task of another file holds the place.
    """
    with _lock:
        named = _tasks.setdefault(task.name, {})
        former = named.get(task.queue)
        if former is not None and _source(former.fn) != _source(task.fn):
            raise DuplicateTaskError(
                f"task {task.name!r} on queue {task.queue!r} is already registered by {_place(former.fn)}, "
                f"and now by {_place(task.fn)}; give one of them another name= or queue="
            )
        named[task.queue] = task


def find(name: str, queue: str | None) -> AnyTask | None:
    """The task of *name* on *queue*, else the only task of that name, else None."""
    named = _tasks.get(name)
    if not named:
        return None
    if queue is not None and queue in named:
        return named[queue]
    return next(iter(named.values())) if len(named) == 1 else None


def unknown(name: str, queue: str, job: str) -> UnknownTaskError:
    """The error for a job whose handler is not here, saying which tasks are near."""
    named = _tasks.get(name)
    if named:
        remedy = f"tasks of that name serve the queues {', '.join(sorted(named))}; say which by queue="
    else:
        near = nearest(name, _tasks, 3)
        remedy = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else "import the module that defines it, or check the name"
        )
    return UnknownTaskError(f"job {job!r}: no task named {name!r} is registered for queue {queue!r}; {remedy}", job=job)


def registered() -> list[AnyTask]:
    """All tasks registered at this moment, in the order of their first registration."""
    with _lock:
        return [task for named in _tasks.values() for task in named.values()]


def _source(fn: Callable[..., Any]) -> str:
    """What tells one source file from another; all cells of a notebook, and a script, are ``__main__``."""
    plain = _plain(fn)
    module = getattr(plain, "__module__", None) or ""
    code = getattr(plain, "__code__", None)
    if module == "__main__" or code is None:
        return module
    return str(code.co_filename)


def _place(fn: Callable[..., Any]) -> str:
    code = getattr(_plain(fn), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(fn)


def _plain(fn: Any) -> Any:
    """The function inside decorators, partials and callable objects."""
    while True:
        fn = inspect.unwrap(fn)
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif hasattr(fn, "__code__") or not inspect.isfunction(getattr(type(fn), "__call__", None)):  # noqa: B004
            return fn
        else:
            fn = type(fn).__call__
