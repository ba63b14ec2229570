"""Whether this process, where it is to work a flow off by itself, has the handlers for it."""

from __future__ import annotations

from typing import Any

from flows import _registry
from flows._bodies import bodies_of
from flows._opts import Queue
from flows._plan import Plan
from flows._state import CONTROL_QUEUE
from flows.errors import DefinitionError


def check_handlers(plan: Plan[Any]) -> None:
    """Refuse a flow whose jobs would find no handler here, or another one than they were made from.

    A stored job finds its handler by name, also when its run is taken up by another process. One that was made from a
    task which another of the same name and queue has replaced since would run that other one.

    Raises:
        UnknownTaskError: No task of that name is known here; one job of each such task, all in one error.
        DefinitionError: A task has been replaced; one job of each such task, all in one error.
    """
    problems: list[DefinitionError] = []
    for part in (plan, *(body.plan for body in bodies_of(plan))):
        places = zip(part.names, part.tasks, part.queues_of, strict=True)
        firsts = {place: job for job, place in reversed([*enumerate(places)])}
        found = [_problem(part.ids[job], *place) for place, job in firsts.items()]
        problems += [problem for problem in found if problem is not None]
    if problems:
        raise DefinitionError.of(problems)


def _problem(job: str, name: str, task: Any, queue: str) -> DefinitionError | None:
    home = queue if task is None else task.home.name if isinstance(task.home, Queue) else task.home
    if home == CONTROL_QUEUE:
        return None
    found = _registry.find(name, home)
    if found is None:
        return _registry.unknown(name, home, job)
    if task is not None and found.fn is not task.fn:
        return DefinitionError(
            f"job {job!r}: its task {name!r} has been defined again since the job was made, and stored jobs find their "
            "handlers by name; build the flow anew, or give the two tasks different names"
        )
    return None
