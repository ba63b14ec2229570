"""How a crew makes the attempts of its run: plainly, unless something about the run asks for more.

Chosen once a run, so that what a run does not use costs its jobs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from flows._handlers import Clock, perform, perform_async
from flows._verbs import Grant, Settle

if TYPE_CHECKING:
    from executors._leasing._crew import Crew

Attempt = Callable[[Grant, Clock], Settle]
AsyncAttempt = Callable[[Grant, Clock], Coroutine[Any, Any, Settle]]


def attempts_of(crew: Crew) -> Attempt:
    """What a hand of *crew* calls with each grant."""
    tracing = crew.run.tracing
    return perform if tracing is None else tracing.around(perform, crew.name)


def async_attempts_of(crew: Crew) -> AsyncAttempt:
    """What the event loop awaits for each grant of *crew*."""
    tracing = crew.run.tracing
    return perform_async if tracing is None else tracing.around_async(perform_async, crew.name)
