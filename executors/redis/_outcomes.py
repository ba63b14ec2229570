"""Outcomes: settles as they travel."""

from __future__ import annotations

from typing import Any, Final, cast

from executors._stored import Items, write_failed
from executors.redis._moulds import expanded
from executors.redis._wire import MICRO, Outcome
from flows._verbs import End, ReplayedSettle, Settle

_COMPLETED: Final = End.COMPLETED
_new: Final[Any] = tuple.__new__


def outcome_of(settle: Settle, now: float) -> Outcome:
    """A settle as it travels: by its age, since clocks differ.

    Args:
        now: By the clock of the settle's times.
    """
    grant, end, value = settle.grant, settle.end, settle.value
    # How long it took is told exactly, even where the settle comes from what is the future by our clock.
    ended = max(0.0, now - settle.ended_at)
    started = ended + max(0.0, settle.ended_at - settle.started_at)
    about = grant.run.id, grant.job, end
    if end is _COMPLETED and type(value) is bytes:
        payload = value if value != b"null" else b""
        return cast("Outcome", _new(Outcome, (*about, True, grant.fence, started * MICRO, ended * MICRO, 0.0, payload)))
    payload = value if type(value) is bytes else expanded(value) if type(value) is Items else b""
    if not payload and settle.failed is not None:  # by who gave the attempt up: the hand that ran it is still at it
        payload = write_failed(settle.failed)
    if payload == b"null" and (end is _COMPLETED or end is End.REPLAYED):
        payload = b""
    if end is End.REPLAYED:
        origin = cast("ReplayedSettle", settle).origin.encode()
        payload = len(origin).to_bytes(4, "little") + origin + payload
    times = started * MICRO, ended * MICRO, settle.after * MICRO
    return Outcome._make((*about, settle.counted, grant.fence, *times, payload))
