"""What the scheduler of the cluster is told about attempts of ours: that it is not to repeat them by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from distributed.diagnostics.plugin import SchedulerPlugin

if TYPE_CHECKING:
    from distributed import Scheduler

PREFIX: Final = "flows:"
"""How the keys of our tasks begin."""

_NEVER: Final = 1_000_000


class NoRepeats(SchedulerPlugin):
    """A task whose worker has died fails at once: whether it is tried again is the run's to decide, and is recorded.

    Dask would repeat it three times, unseen, and a handler that kills its worker would take four workers down.
    """

    name = "flows-no-repeats"
    idempotent = True
    """One is enough for all clients."""

    def __init__(self) -> None:
        self._scheduler: Scheduler | None = None

    async def start(self, scheduler: Scheduler) -> None:
        """The scheduler has taken it up."""
        self._scheduler = scheduler

    def update_graph(self, scheduler: Scheduler, *, tasks: list[Any], **kwargs: Any) -> None:
        """New tasks."""
        for key in tasks:
            if _is_ours(key):
                known = scheduler.tasks.get(key)
                if known is not None:
                    known.suspicious = _NEVER

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """A task goes on. What has ended well and is lost later is Dask's to compute again, as often as it does."""
        if finish == "memory" and _is_ours(key) and self._scheduler is not None:
            known = self._scheduler.tasks.get(key)
            if known is not None:
                known.suspicious = 0


def _is_ours(key: Any) -> bool:
    return type(key) is tuple and type(key[0]) is str and key[0].startswith(PREFIX)
