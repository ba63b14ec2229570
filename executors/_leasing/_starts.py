"""Starts that are told to the store, for queues with a rate: it counts them, and not the claims before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flows._handlers import Clock
from flows._verbs import Grant, Settle

if TYPE_CHECKING:
    from executors._store import Store


def telling(attempt: Callable[[Grant, Clock], Settle], store: Store) -> Callable[[Grant, Clock], Settle]:
    """*attempt* for a run with jobs of a queue that has a rate: the store is told of each start."""

    def tell(grant: Grant, clock: Clock) -> Settle:
        return attempt(grant, starting(store, grant, clock))

    return tell


def starting(store: Store, grant: Grant, clock: Clock) -> Clock:
    """Tell *store* that the attempt starts; of a job that shares its result that is told when it really does."""
    plan: Any = grant.run.plan
    return clock if plan.settings[grant.job].idempotency_key is not None else told(store, grant, clock)


def told(store: Store, grant: Grant, clock: Clock) -> Clock:
    """Tell *store* that the attempt starts now. The clock returned gives that very instant first, as its start."""
    instants = [store.began(grant)]
    return lambda: instants.pop() if instants else clock()
