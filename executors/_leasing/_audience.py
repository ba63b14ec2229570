"""The audience: who in this process wants to hear of runs that it works off: loggers, meters where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from flows._job_log import job_log
from flows._telemetry import may_be_traced, meters

if TYPE_CHECKING:
    from flows._meters import Depths
    from flows._told import Listener

PATIENCE_SECONDS: Final = 2.0
"""How long the end of a run waits for what is told of it."""

OFTEN: Final = frozenset(("started", "completed", "submitted"))
"""What happens in every run: who wants to hear of it is told all along, others when something has gone wrong."""


def listeners(place: Depths, jobs: int) -> Sequence[Listener]:
    """Who wants to hear of a run of *jobs* jobs in *place*; decided as this process begins to work it off."""
    found: list[Listener] = []
    logged = job_log()
    if logged is not None:
        found.append(logged)
    measured = meters() if may_be_traced() else None
    if measured is not None:
        measured.watch(place)
        found.append(measured.of_run(jobs))
    return found
