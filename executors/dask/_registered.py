"""Literal jobs whose task is not known here: the workers have registered it, and find it by its name, and by no path.

Here a `Named` stands for the function. What is data of the task's options comes here when the flow is submitted; what
is code of them stays there, so that the worker judges what the handler raises.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from executors._leasing._process_attempts import plain
from executors._leasing._process_handlers import place_of
from executors.dask._words import Kind, Named
from flows import _registry
from flows._bodies import Body
from flows._children import Children
from flows._handlers import Handler, handler_of
from flows._opts import Opts, Queue, Settings, resolve
from flows._plan import Plan
from flows._signature import CHILDREN, CONTEXT
from flows._task import Task
from flows.errors import DefinitionError, UnknownTaskError

if TYPE_CHECKING:
    from executors.dask._cluster import Cluster

Options = Mapping[Named, Settings]


# In the process that submits.


def taught(plan: Plan[Any], cluster: Cluster) -> Plan[Any]:
    """*plan* with what the workers know of the tasks that are not known here; itself where there are none.

    Raises:
        UnknownTaskError: No worker knows one either; all such jobs in one error.
    """
    named = dict.fromkeys(named for part in _parts(plan) for _, named in _strangers(part))
    return _with(plan, cluster.registered(list(named))) if named else plan


def _parts(plan: Plan[Any]) -> Iterator[Plan[Any]]:
    yield plan
    for body in plan.lists.values():
        yield from _parts(body.plan)


def _strangers(plan: Plan[Any]) -> Iterator[tuple[int, Named]]:
    if None not in plan.tasks:
        return
    opts = {position: job.opts for job, position in plan._positions.items()}
    for position, (task, name, queue) in enumerate(zip(plan.tasks, plan.names, plan.queues_of, strict=True)):
        if task is None and _registry.find(name, queue) is None:
            yield position, Named(name, queue, opts.get(position))


def _with(plan: Plan[Any], found: Options) -> Plan[Any]:
    other, strangers = plan.copy(), list(_strangers(plan))
    problems: list[DefinitionError] = []
    for position, named in strangers:
        settings = found.get(named)
        if settings is None:
            problems.append(_unknown(named, plan.ids[position]))
            continue
        function: Any = named
        other.tasks[position] = Task(function, named.name, named.queue, Opts())
        # The policy has become edges.
        other.settings[position] = dataclasses.replace(settings, on_failure=plan.settings[position].on_failure)
    if problems:
        raise DefinitionError.of(problems)
    other.distinct = tuple({id(one): one for one in other.settings}.values())
    for job, body in plan.lists.items():
        other.lists[job] = Body(_with(body.plan, found), body.names, body.links, body.outer, body.limit)
    return other


def _unknown(named: Named, job: str) -> UnknownTaskError:
    known = _registry.unknown(named.name, named.queue, job)
    return UnknownTaskError(
        f"{known}; nor has a worker of the cluster registered it: start them with `dask worker --preload MODULE`",
        job=job,
    )


# In a worker.


def options_of(asked: Sequence[Named]) -> dict[Named, Settings]:
    """For those whose task is registered here, the options that count for their jobs, as far as they are data."""
    found = {}
    for named in asked:
        task = _registry.find(named.name, named.queue)
        if task is not None:
            settings = _settings(task, named)
            found[named] = dataclasses.replace(plain(settings), delay=settings.delay, lifo=settings.lifo)
    return found


def registered(kind: Kind, address: str) -> tuple[Kind, Handler]:
    """*kind* with the function that this process has for it.

    Raises:
        UnknownTaskError: It has none.
        DefinitionError: It is to run in a process of its own, which could not import it.
    """
    named: Named = kind.fn
    task = _registry.find(named.name, named.queue)
    if task is None:
        raise UnknownTaskError(
            f"task {named.name!r} is not registered for queue {named.queue!r} in the worker {address}; start all "
            "workers with `dask worker --preload MODULE`"
        )
    handler, settings = handler_of(task), _settings(task, named)
    contexts = tuple(name for name, wanted in handler.parameters.injected.items() if wanted == CONTEXT)
    place = place_of(task) if settings.run_in == "process" else None
    return Kind(task.fn, task.is_async, contexts, place, kind.brief._replace(settings=settings)), handler


def placed(
    handler: Handler, data: Mapping[str, Any], children: Children, spot: str
) -> tuple[Sequence[Any], dict[str, Any]]:
    """The data of a literal job as a call.

    Raises:
        DataError: It does not fit.
    """
    args, kwargs = handler.parameters.spread(handler.parameters.validated(data, spot), spot)
    wanted = [name for name, what in handler.parameters.injected.items() if what == CHILDREN]
    return args, kwargs | dict.fromkeys(wanted, children)


def _settings(task: Task[..., Any], named: Named) -> Settings:
    home = task.home
    return resolve(home.opts if isinstance(home, Queue) and home.name == named.queue else None, task.opts, named.opts)
