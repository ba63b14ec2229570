"""A crew's calls of its store, which may fail: a disk is full, a file is held by somebody else for too long."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from executors._leasing._log import say
from flows._verbs import Reply
from flows._worker import Drain, Exchange
from flows.errors import ExecutorError

if TYPE_CHECKING:
    from executors._leasing._crew import Crew


def exchanged(crew: Crew, call: Exchange) -> Reply | None:
    """What the store answers; None where it could not do it.

    The crew then falls, and whoever waits for the run is told why: in whichever hand it strikes, nobody may wait on.
    """
    try:
        reply = crew.store.exchange(crew.name, call.seq, call.settles, call.want, crew.name)
    except Exception as error:
        crew.fall(error)
        return None
    if crew.fallen is not None:  # meanwhile, by another hand: what was claimed after the run was let go of goes back
        crew.core.feed(Drain(), reply.now)
        for wake in tuple(crew.run.wakers):  # of the crew that has taken the run up since: no store tells a run's own
            wake()
    return reply


def abandoned(crew: Crew, why: BaseException) -> None:
    """Have the store let go of the run. One that cannot at the moment remembers to do so before it goes on with it."""
    try:
        crew.store.abandon(crew.run, f"{type(why).__name__} was raised")
    except ExecutorError as error:
        say(logging.WARNING, "%s: run %s could not be let go of: %s", crew.name, crew.run.id, error)
