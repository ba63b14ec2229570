"""Which tasks of a run take long: their jobs are worth a thread of their own at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from flows._handlers import Handler
from flows._verbs import Grant

LONG_SECONDS: Final = 0.0002
"""From here on a handler is worth a thread of its own: handing it over costs about half of this."""

COSTLY_SECONDS: Final = 0.003
"""The same where an outcome costs a commit of its own if it is told of at once."""

LONG_TIMES: Final = 2
"""In a row: once may be the collector of garbage, or another process that had the processor."""


class LongTasks(dict[Handler, int]):
    """Counts, for each handler, how often in a row it took long; a dict, so that its truth is asked for cheaply."""

    def was_long(self, grant: Grant) -> bool:
        """An attempt took long; says whether from now on its task is known to."""
        if grant.control:
            return False
        handler = grant.run.handlers[grant.job]
        self[handler] = times = self.get(handler, 0) + 1
        return times == LONG_TIMES

    def was_short(self, grant: Grant) -> None:
        """An attempt did not take long."""
        if not grant.control:
            self.pop(grant.run.handlers[grant.job], None)

    def waiting(self, grants: Iterable[Grant]) -> int:
        """How many of these are of tasks that take long."""
        times = self.get
        return sum(times(grant.run.handlers[grant.job], 0) >= LONG_TIMES for grant in grants if not grant.control)
