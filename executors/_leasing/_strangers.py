"""Jobs that this worker has no handler for: they go back for a while, and whoever runs the worker is told."""

from __future__ import annotations

import logging
from typing import Final

from executors._leasing._log import say
from flows._state import UNHANDLED_SECONDS
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import UnknownTaskError, UnsupportedError

BACK_OFF: Final = (5.0, 60.0)
"""First and longest time that such a job stays away."""

_KINDS_KNOWN: Final = 1_000


class Strangers:
    """Gives back what cannot be run here.

    Args:
        worker: The worker's name.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._met: dict[tuple[str, str], int] = {}

    def turned_away(self, grant: Grant, error: UnknownTaskError | UnsupportedError, now: float) -> Settle:
        """How a job without a handler goes back; one line in the log for each task, not for each job.

        Args:
            error: There is no such task here, or the run is written in a form that this version cannot read.
        """
        plan = grant.run.plan
        kind = plan.names[grant.job], plan.queues_of[grant.job]
        met = self._met.get(kind, 0)
        if not met and isinstance(error, UnsupportedError):
            say(
                logging.WARNING,
                "worker %s leaves the jobs of a run, and of others like it, to workers of another version: %s. Such "
                "jobs go back to the queue, and fail after %.0f h.",
                self._worker,
                error,
                UNHANDLED_SECONDS / 3600,
            )
        elif not met:
            say(
                logging.WARNING,
                "worker %s has no handler for task %r of queue %r: start it with the module that defines the task, or "
                "let it serve other queues. Such jobs go back to the queue, and fail after %.0f h. (%s)",
                self._worker,
                *kind,
                UNHANDLED_SECONDS / 3600,
                error,
            )
        if len(self._met) >= _KINDS_KNOWN:
            self._met.clear()
        self._met[kind] = met + 1
        first, longest = BACK_OFF
        return FailedSettle(grant, End.RELEASED, error, now, now, min(longest, first * 2.0 ** min(met, 16)))
