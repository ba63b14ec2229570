"""Handlers that asked for a process of their own, on a worker of the cluster: in children of that worker."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from executors._leasing._process_attempts import TIMEOUT, Conversation
from executors._leasing._seats import Seats
from executors._leasing._wire import RAISED
from executors.dask._words import ChildError, Kind, StoppedError
from flows._binding import Deferred
from flows._signature import CONTEXT
from flows._verbs import End, Settle
from flows.errors import JobTimeoutError

_seats = Seats(os.cpu_count() or 1)


class _Given(Deferred):
    """Arguments that are there already."""

    __slots__ = ("given",)

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        super().__init__((), {}, by_name=False)
        self.given = args, kwargs

    def worked_out(self, handler: Any) -> tuple[Sequence[Any], dict[str, Any]]:
        args, kwargs = self.given
        return args, kwargs.copy()


class _Relay(Conversation):
    """A conversation whose answer goes home as it came: it is judged there."""

    raised: bytes | None = None

    def _judge(self, answer: tuple[bytes, bytes], doom: str | None) -> Settle:
        if doom != TIMEOUT and answer[0] == RAISED:
            self.raised = answer[1]
            return Settle(self._grant, End.RELEASED, None, 0.0, 0.0)
        return super()._judge(answer, doom)


def attempted(grant: Any, kind: Kind, args: Sequence[Any], kwargs: dict[str, Any], worker: str, clock: Any) -> Any:
    """The result of a handler that runs in a process of its own.

    Raises:
        ChildError: What the handler raised.
        JobTimeoutError: Its time was over; the process was killed.
        LeaseLostError: The process has died.
        StoppedError: It was told to stop, and did or was killed.
    """
    run = grant.run
    handler: Any = SimpleNamespace(
        place=kind.place,
        awaits=kind.awaits,
        parameters=SimpleNamespace(injected=dict.fromkeys(kind.contexts, CONTEXT)),
    )
    run.handlers, run.bindings = (handler,), [_Given(args, kwargs)]
    run.interrupters.append(_seats.wake)
    try:
        seated = _seats.take(lambda: run.state.cancelling)
    finally:
        run.interrupters.remove(_seats.wake)
    if not seated:
        raise StoppedError
    try:
        talk = _Relay(run, grant, handler, clock, worker)
        settle = talk.settle()
    finally:
        _seats.leave()
    if settle.end is End.COMPLETED:
        return settle.value
    if talk.raised is not None:
        raise ChildError(talk.raised)
    if settle.end is End.CANCELLED or settle.error is None:
        raise StoppedError
    if isinstance(settle.error, JobTimeoutError):
        raise JobTimeoutError("") from None
    raise settle.error
