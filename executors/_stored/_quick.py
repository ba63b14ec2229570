"""Attempts of stored jobs, kept tight for the common ones: a call of a plain function with whole results, or none.

What `perform` and `writing` do for any job is done here in one go: with microseconds of work, they are most of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import Any, Final

from executors._stored._brief import Brief
from executors._stored._limits import LIMITS
from executors._stored._rows import ListRow
from executors._stored._values import read, read_all, write
from executors._stored._writing import RESULT, Attempt, writing, written
from flows._context import current_grant
from flows._handlers import Clock, Handler, finished, judge_error, perform
from flows._state import COMPLETED
from flows._verbs import End, Grant, Settle
from flows.errors import DataError, DefinitionError

_COMPLETED: Final = End.COMPLETED
_CHILD: Final = operator.itemgetter(0)
_STATE: Final = operator.itemgetter(1)
_PAYLOAD: Final[Callable[[Any], bytes]] = operator.itemgetter(2)
"""Of an `Input`, faster than by name."""
_ALL: Final = {COMPLETED}
_IS_DIGIT: Final = bytes.isdigit

FEW: Final = 16
"""So many whole numbers are read faster one by one than as JSON at one go."""


def writing_quickly(attempt: Attempt) -> Attempt:
    """As `writing`; where *attempt* is `perform`, by the short way for those jobs that it is good for."""
    if attempt is not perform:
        return writing(attempt)
    slowly = writing(perform)

    def performed(grant: Grant, clock: Clock) -> Settle:
        brief: Any = grant.run
        handler = brief.handler
        args = None if handler is None or not handler.plain else _arguments(brief, handler)
        if args is None:
            return slowly(grant, clock)
        started_at = clock()
        try:
            current_grant.set(grant)
            value = finished(copy_context().run(handler.fn, *args))
        except Exception as error:
            return written(judge_error(grant, error, started_at, clock()))
        ended_at = clock()
        try:
            payload = write(value, RESULT, LIMITS.result)
        except Exception:  # which is said at length by who does so for all
            return written(Settle(grant, _COMPLETED, value, started_at, ended_at))
        return Settle(grant, _COMPLETED, payload, started_at, ended_at)

    return performed


def _arguments(brief: Brief, handler: Handler) -> Sequence[Any] | None:
    """The arguments of a typed call that takes nothing, or whole results of jobs that have completed; else None."""
    row: Any = brief.row
    if not brief.kind.typed or brief.place:
        return None
    size, inputs = len(row), brief.inputs
    if size == 2:
        return ()
    listed = type(row) is ListRow
    binding = row.children if listed else row[2]
    if (size != 4 or type(binding) is not list) and not listed:
        return None
    if len(binding) != len(inputs) or {*map(_STATE, inputs)} != _ALL:
        return None
    if listed and [*map(_CHILD, inputs)] != binding:
        return None
    payloads = [*map(_PAYLOAD, inputs)]
    if len(payloads) > 1 and sum(map(len, payloads)) > LIMITS.inputs:
        return None
    try:
        values = _values(payloads)
        return handler.parameters.receivers.placed([row.kind(values)] if listed else values)
    except (DataError, DefinitionError):
        return None  # said at length by who does so for all


def _values(payloads: list[bytes]) -> list[Any]:
    """What some results say."""
    if len(payloads) <= FEW and all(map(_IS_DIGIT, payloads)):
        return [*map(int, payloads)]  # which JSON reads as Python does
    return read_all(payloads) if len(payloads) > 1 else [read(payloads[0])]
