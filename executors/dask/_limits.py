"""What a cluster cannot keep, and so is refused."""

from __future__ import annotations

from typing import Any

from flows._plan import Plan
from flows.errors import UnsupportedError


def check_limits(plan: Plan[Any]) -> None:
    """Refuse limits of queues.

    Raises:
        UnsupportedError: A queue of the flow has some.
    """
    limited = [queue for queue, limits in plan.limits.items() if limits != (None, None)]
    if limited:
        raise UnsupportedError(
            f"queue {limited[0]!r} has limits, which a Dask cluster cannot keep over all its clients: leave "
            "concurrency and rate out, or give its workers a resource of the queue's name"
        )


def refuse_workers() -> UnsupportedError:
    """What is said to who would start a worker of ours."""
    return UnsupportedError("a Dask cluster has workers of its own: start them with `dask worker`")
