"""StoreClock: what a store's clock says, as far as its replies tell, by a clock of this process that never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable


class StoreClock:
    """The store's clock, estimated. Calling it costs no round trip.

    A reply says what the store's clock was at some moment between call and answer. The estimate stands for as long as
    replies agree with that, and is moved by as little as they ask for: two instants can be compared to within the
    quickest round trip, and a slow one spoils nothing.

    Args:
        first: The store's clock, as far as it is known here before any reply.
    """

    __slots__ = ("_ahead",)

    def __init__(self, first: Callable[[], float]) -> None:
        self._ahead = first() - time.monotonic()

    def __call__(self) -> float:
        return time.monotonic() + self._ahead

    def steady(self) -> Callable[[], float]:
        """The clock for one attempt: as this one is now, and not moved any more, so that it tells exactly how long."""
        ahead = self._ahead
        return lambda: time.monotonic() + ahead

    def heard(self, sent: float, arrived: float, said: float) -> None:
        """A call that was *sent* and whose answer *arrived*, by the monotonic clock, was told the time."""
        self._ahead = min(max(self._ahead, said - arrived), said - sent)

    def of(self, monotonic: float) -> float:
        """An instant of the monotonic clock, by the store's."""
        return monotonic + self._ahead

    def monotonic(self, instant: float) -> float:
        """An instant of the store's clock, by the monotonic one."""
        return instant - self._ahead
