"""How a crew makes the attempts of its run: plainly, unless something about the run asks for more.

Chosen once a run, so that what a run does not use costs its jobs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flows._handlers import Clock, perform
from flows._verbs import Grant, Settle

if TYPE_CHECKING:
    from executors._leasing._crew import Crew

Attempt = Callable[[Grant, Clock], Settle]


def attempts_of(crew: Crew) -> Attempt:
    """What a hand of *crew* calls with each grant."""
    seats = crew.run.seats
    if seats is None:
        return perform
    from executors._leasing._process_attempts import ProcessAttempts  # it loads what most runs do not need

    return ProcessAttempts(crew.run, crew.name, seats)


def thread_timeout(grant: Grant) -> float | None:
    """The timeout of an attempt that the crew looks after; an attempt in a process has its own keeper."""
    settings = grant.run.plan.settings[grant.job]
    return None if settings.run_in == "process" else settings.timeout
