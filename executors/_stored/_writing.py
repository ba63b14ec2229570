"""Writing: what leaves a hand of a worker is bytes, so that no store ever runs a user's code."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from executors._stored._limits import LIMITS, Limits
from executors._stored._shape import Items
from executors._stored._values import write, write_failed
from flows._handlers import BadResultError, Clock
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import DataError

Attempt = Callable[[Grant, Clock], Settle]
AsyncAttempt = Callable[[Grant, Clock], Coroutine[Any, Any, Settle]]

_COMPLETED: Final = End.COMPLETED
_EXPANDED: Final = End.EXPANDED


def writing(attempt: Attempt, limits: Limits = LIMITS) -> Attempt:
    """*attempt* (`perform`, `control`), whose settles carry bytes; see `written`."""

    def wrapped(grant: Grant, clock: Clock) -> Settle:
        return written(attempt(grant, clock), limits)

    return wrapped


def writing_async(attempt: AsyncAttempt, limits: Limits = LIMITS) -> AsyncAttempt:
    """As `writing`, for `perform_async`."""

    async def wrapped(grant: Grant, clock: Clock) -> Settle:
        return written(await attempt(grant, clock), limits)

    return wrapped


def written(settle: Settle, limits: Limits = LIMITS) -> Settle:
    """*settle* with bytes for its value: the only thing that a store keeps of it besides its end and its times.

    - completed: the result as JSON. One that has no JSON form or is too large gives another settle: the job has failed
      for good, as what its handler did is done.
    - failed, to be retried, skipped, cancelled: the failure as JSON; None where nothing was raised.
    - expanded: `Items`.
    - anything else: None.

    The live exception stays on the settle. A replayed one is left alone: what was filed is bytes.
    """
    value = settle.value
    if settle.end is _COMPLETED:
        try:
            settle.value = write(value, RESULT, limits.result)
        except Exception as error:  # a model of the user's may raise anything when it is written down
            return _refused(settle, error)
    elif settle.end is _EXPANDED:
        try:
            brief: Any = settle.grant.run
            payloads = [write(item, f"item {place}", limits.result) for place, item in enumerate(value)]
            settle.value = Items(payloads, brief.links())
        except Exception as error:
            return _refused(settle, error)
    elif settle.failed is not None:
        settle.value = write_failed(settle.failed)
    return settle


RESULT: Final = "its result"
"""What is written, for messages."""


def _refused(settle: Settle, error: Exception) -> Settle:
    grant = settle.grant
    what = error.message if isinstance(error, DataError) else f"{type(error).__name__}: {error}"
    bad = BadResultError(f"{what}. What the handler did stands, so it is not tried again.")
    bad.__cause__ = error
    failed = FailedSettle(grant, End.FAILED, bad, settle.started_at, settle.ended_at)
    assert failed.failed is not None
    failed.value = write_failed(failed.failed)
    return failed
