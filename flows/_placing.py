"""Where a job goes and under which options: what is given for the job, its task and its queue, put together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flows import _registry
from flows._job import Job
from flows._opts import Queue, Settings, resolve
from flows._task import DEFAULT_QUEUE

Limits = tuple[int | None, tuple[int, float] | None]
"""Of a queue: its concurrency, and its rate as (starts, seconds)."""


class Place:
    """What jobs have in common that differ in their arguments only. Places compare by identity.

    Attributes:
        queue: The name of the queue.
        settings: The options, resolved: those of the job over its task's over its queue's.
        known: The queue as the object that knows its limits, where the declaration has one.
    """

    __slots__ = ("known", "name", "queue", "settings")

    def __init__(self, name: str, queue: str, settings: Settings, known: Queue | None) -> None:
        self.name = name
        self.queue = queue
        self.settings = settings
        self.known = known


def own_places(jobs: Sequence[Job[Any]]) -> list[Place | None]:
    """The place of each job that has just the one of its task; None for others, and where that is not known yet.

    Tasks and queues never change, so that what is true of a job whose options were left as its task had made them holds
    for the task's next: it is kept on the task, and two such jobs have one place only if they have one task.
    """
    return [task._place if (task := job.task) is not None and job.opts is task.job_opts else None for job in jobs]


def places_of(jobs: Sequence[Job[Any]]) -> list[Place]:
    """The place of each job."""
    own: dict[Any, Place] = {}

    def resolved(job: Job[Any]) -> Place:
        task = job.task
        if task is not None and job.opts is task.job_opts:
            if task._place is None:
                task._place = _resolved(job)
            place: Place = task._place
            return place
        key = (task or job.name, job.opts, job.queue)  # those of one task mostly have the same
        found = own.get(key)
        if found is None:
            found = own[key] = _resolved(job)
        return found

    return [place or resolved(job) for place, job in zip(own_places(jobs), jobs, strict=True)]


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
    return Place(job.name, name, settings, known)


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
