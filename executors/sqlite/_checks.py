"""What can be wrong with a flow that is to be worked off here, beside what the stored form asks: said at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from flows import _registry
from flows._bodies import bodies_of
from flows._handlers import Handler
from flows._plan import Plan
from flows._shared_results import check_shared
from flows._task import Task

_process_handlers: WeakKeyDictionary[Task[..., Any], Handler] = WeakKeyDictionary()


def check_places(plan: Plan[Any]) -> None:
    """Refuse jobs for processes whose functions these could not import.

    Raises:
        DefinitionError: There are such; all of them in one error.
        UnsupportedError: This platform has no processes that we can start.
    """
    for part in _parts(plan):
        if any(one.run_in == "process" for one in part.distinct):
            from executors._leasing._process_handlers import mixed_handlers

            places = zip(part.tasks, part.names, part.queues_of, strict=True)
            tasks: Any = [task or _registry.find(name, queue) for task, name, queue in places]
            mixed_handlers(part, tasks)


def check_sharing(plan: Plan[Any]) -> None:
    """Refuse jobs that share their results and whose data could not be compared.

    Raises:
        DataError: Data has no JSON form; all problems in one error.
    """
    if any(one.idempotency_key is not None for one in plan.distinct):
        check_shared(plan)


def process_handler(task: Task[..., Any]) -> Handler:
    """The handler of a task whose job runs in a process.

    Raises:
        DefinitionError: No process could import its function.
    """
    handler = _process_handlers.get(task)
    if handler is None or handler.fn is not task.fn:
        from executors._leasing._process_handlers import ProcessHandler

        handler = _process_handlers[task] = ProcessHandler(task)
    return handler


def _parts(plan: Plan[Any]) -> Iterator[Plan[Any]]:
    yield plan
    for body in bodies_of(plan):
        yield body.plan
