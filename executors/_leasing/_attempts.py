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


def attempts_of(crew: Crew, async_attempt: AsyncAttempt = perform_async) -> tuple[Attempt, AsyncAttempt]:
    """What a hand of *crew* calls with each grant, and what its event loop awaits with each."""
    attempt: Attempt = perform
    seats, tracing = crew.run.seats, crew.run.tracing
    if seats is not None:
        from executors._leasing._process_attempts import ProcessAttempts  # it loads what most runs do not need

        attempt = ProcessAttempts(crew.run, crew.name, seats)
    writing = crew.run.writing
    if writing is not None:
        attempt, async_attempt = writing.around(attempt), writing.around_async(async_attempt)
    if tracing is not None:
        attempt = tracing.around(attempt, crew.name)
        async_attempt = tracing.around_async(async_attempt, crew.name)
    if crew.run.shares:  # outermost: a result that is replayed has no attempt, and so no span
        from executors._leasing._sharing import Sharing

        sharing = Sharing(crew.store)
        return sharing.around(attempt), sharing.around_async(async_attempt)
    return attempt, async_attempt
