"""From what is asked of a worker to its driver: for any executor whose runs live in a `Store`."""

from __future__ import annotations

from executors._leasing._workshop import Workshop
from executors._store import Store
from flows import _registry
from flows.executor import WorkerOptions


def workshop(store: Store, options: WorkerOptions, processes: int, *, logs_jobs: bool) -> Workshop:
    """A worker for the runs of *store*, not yet started.

    Args:
        processes: How many child processes may run handlers at once.
        logs_jobs: Whether it logs jobs one by one; not where the store's own journal is told.
    """
    kinds = {task.is_async for task in _registry.registered() if task.queue in options.queues}
    return Workshop(
        store,
        name=options.name,
        queues=options.queues,
        slots=options.concurrency,
        grace=options.grace,
        processes=processes,
        ahead=len(kinds) < 2,
        logs_jobs=logs_jobs,
    )
