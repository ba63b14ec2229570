"""Flows with jobs for processes, where runs are stored: refused before anything is, and found again when claimed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from flows import _registry
from flows._bodies import bodies_of
from flows._handlers import Handler, handler_of
from flows._plan import Plan
from flows._task import Task
from flows.errors import DefinitionError

_process_handlers: WeakKeyDictionary[Task[..., Any], Handler] = WeakKeyDictionary()


def check_places(plan: Plan[Any]) -> None:
    """Refuse jobs for processes whose functions these could not import, as far as their tasks are known here.

    Raises:
        DefinitionError: There are such; all of them in one error.
        UnsupportedError: This platform has no processes that we can start.
    """
    for part in _parts(plan):
        if any(one.run_in == "process" for one in part.distinct):
            from executors._leasing._process_handlers import mixed_handlers

            places = zip(part.tasks, part.names, part.queues_of, strict=True)
            tasks: list[Any] = [task or _registry.find(name, queue) for task, name, queue in places]
            if None not in tasks:
                mixed_handlers(part, tasks)


def process_handler(task: Task[..., Any]) -> Handler:
    """The handler of a task whose job runs in a process.

    Where no process could import its function, as in a worker whose module differs from the submitter's, it runs in a
    thread all the same: the flow is not to fail for it.
    """
    handler = _process_handlers.get(task)
    if handler is None or handler.fn is not task.fn:
        from executors._leasing._process_handlers import ProcessHandler

        try:
            handler = ProcessHandler(task)
        except DefinitionError:
            return handler_of(task)
        _process_handlers[task] = handler
    return handler


def _parts(plan: Plan[Any]) -> Iterator[Plan[Any]]:
    yield plan
    for body in bodies_of(plan):
        yield body.plan
