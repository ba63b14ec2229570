"""Where a job goes and under which options: what is given for the job, its task and its queue, put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from flows import _registry
from flows._job import Job
from flows._opts import Queue, Settings, resolve
from flows._task import DEFAULT_QUEUE, Task

Limits = tuple[int | None, tuple[int, float] | None]
"""Of a queue: its concurrency, and its rate as (starts, seconds)."""


class Place(NamedTuple):
    """What jobs have in common that differ in their arguments only."""

    name: str
    task: Task[..., Any] | None
    queue: str
    settings: Settings
    known: Queue | None
    """The queue as the object that knows its limits, where the declaration has one."""


def place_of(job: Job[Any]) -> Place:
    """The queue of a job, and its options resolved: its own over its task's over its queue's.

    Tasks and queues never change, so that what is true of a job without options of its own holds for the task's next.
    """
    task = job.task
    if task is None or job.opts is not None or job.queue is not None:
        return _resolved(job)
    if task._place is None:
        task._place = _resolved(job)
    place: Place = task._place
    return place


def _resolved(job: Job[Any]) -> Place:
    task = job.task
    queue = job.queue
    if queue is None:
        found = task or _registry.find(job.name, None)
        queue = DEFAULT_QUEUE if found is None else found.home
    name = queue.name if isinstance(queue, Queue) else queue
    task = task or _registry.find(job.name, name)
    known = queue if isinstance(queue, Queue) else None
    if known is None and task is not None and isinstance(task.home, Queue) and task.home.name == queue:
        known = task.home
    queue_opts, task_opts = None if known is None else known.opts, None if task is None else task.opts
    settings = resolve(queue_opts, task_opts, job.opts)
    return Place(job.name, job.task, name, settings, known)


def limits_of(places: Iterable[Place]) -> dict[str, Limits]:
    """For each queue that is known as a `Queue` its limits; of several objects one with limits counts."""
    limits: dict[str, Limits] = {}
    for place in places:
        known = place.known
        if known is not None and (
            place.queue not in limits or known.concurrency is not None or known.rate_limit is not None
        ):
            limits[place.queue] = known.concurrency, known.rate_limit
    return limits
