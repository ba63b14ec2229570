"""Where a job goes and under which options: what is given for the job, its task and its queue, put together."""

from __future__ import annotations

from typing import Any, NamedTuple

from flows import _registry
from flows._job import Job
from flows._opts import Opts, Queue, Settings, resolve
from flows._task import DEFAULT_QUEUE, Task


class Place(NamedTuple):
    """What jobs have in common that differ in their arguments only."""

    name: str
    task: Task[..., Any] | None
    queue: str
    settings: Settings


def place_of(job: Job[Any]) -> Place:
    """The queue of a job, and its options resolved: its own over its task's over its queue's."""
    task = job.task
    queue = job.queue
    if queue is None:
        found = task or _registry.find(job.name, None)
        queue = DEFAULT_QUEUE if found is None else found.home
    name = queue.name if isinstance(queue, Queue) else queue
    task = task or _registry.find(job.name, name)
    queue_opts: Opts | None = None
    if isinstance(queue, Queue):
        queue_opts = queue.opts
    elif task is not None and isinstance(task.home, Queue) and task.home.name == queue:
        queue_opts = task.home.opts
    return Place(job.name, job.task, name, resolve(queue_opts, None if task is None else task.opts, job.opts))
