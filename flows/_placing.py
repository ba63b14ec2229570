"""Where a job goes and under which options: what is given for the job, its task and its queue, put together."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Sequence
from typing import Any, cast

from flows import _registry
from flows._job import Job
from flows._opts import Queue, Settings, resolve
from flows._task import DEFAULT_QUEUE, Task

Limits = tuple[int | None, tuple[int, float] | None]
"""Of a queue: its concurrency, and its rate as (starts, seconds)."""


class Place:
    """What jobs have in common that differ in their arguments only. Places compare by identity.

    Attributes:
        queue: The name of the queue.
        opts: The options that the job itself was given.
        settings: The options, resolved: those of the job over its task's over its queue's.
        known: The queue as the object that knows its limits, where the declaration has one.
        task: Gives the task that the jobs were made from, for as long as it is there; None for jobs that name theirs.
            What is remembered of a flow's shape keeps places, and must keep no task.
    """

    __slots__ = ("known", "name", "opts", "queue", "settings", "task")

    def __init__(self, job: Job[Any], queue: str, settings: Settings, known: Queue | None) -> None:
        self.name = job.name
        self.task = _no_task if job.task is None else weakref.ref(job.task)
        self.queue = queue
        self.opts = job.opts
        self.settings = settings
        self.known = known


def own_places(jobs: Sequence[Job[Any]]) -> list[Place | None]:
    """The place of each job that has just the one of its task; None for others, and where that is not known yet.

    Tasks and queues never change, so that what is true of a job whose options were left as its task had made them holds
    for the task's next: it is kept on the task, and two such jobs have one place only if they have one task.
    """
    return [task._place if (task := job.task) is not None and job.opts is task.job_opts else None for job in jobs]


def places_of(jobs: Sequence[Job[Any]]) -> tuple[list[Place], list[Job[Any]]]:
    """The place of each job; and the jobs that were given ids.

    In one pass: of a million jobs none is in the processor's cache any more when it is looked at again.
    """
    rows: list[Place | None] = [
        task._place or _of_task(job, task)
        if job.id is None and (task := job.task) is not None and job.opts is task.job_opts
        else None
        for job in jobs
    ]
    if None not in rows:
        return cast("list[Place]", rows), []
    own: dict[Any, Place] = {}
    others = [position for position, row in enumerate(rows) if row is None]
    for position in others:
        job = jobs[position]
        task = job.task
        if task is not None and job.opts is task.job_opts:
            rows[position] = task._place or _of_task(job, task)
            continue
        key = (task or job.name, job.opts, job.queue)  # those of one task mostly have the same
        rows[position] = found = own.get(key) or _resolved(job)
        own[key] = found
    return cast("list[Place]", rows), [job for position in others if (job := jobs[position]).id is not None]


def _of_task(job: Job[Any], task: Task[..., Any]) -> Place:
    """The place of a task's jobs, from the first of them."""
    found = task._place = _resolved(job)
    return found


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
    return Place(job, name, settings, known)


def _no_task() -> None:
    return None


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
