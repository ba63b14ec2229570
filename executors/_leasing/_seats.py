"""Seats: how many processes may run handlers at once, for all runs of one executor."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Seats:
    """How many children may be at work at once for those who share this. Thread-safe."""

    def __init__(self, seats: int) -> None:
        self._free = seats
        self._changed = threading.Condition(threading.Lock())

    def take(self, unwanted: Callable[[], bool]) -> bool:
        """Wait for a seat; False when it has become *unwanted* meanwhile."""
        with self._changed:
            try:
                while not self._free:
                    if unwanted():
                        return False
                    self._changed.wait()
            except BaseException:
                self._changed.notify()  # it may have been this one's turn
                raise
            self._free -= 1
            return True

    def leave(self) -> None:
        """Give a seat back."""
        with self._changed:
            self._free += 1
            self._changed.notify()

    def wake(self) -> None:
        """Have those who wait ask again whether they still want to."""
        with self._changed:
            self._changed.notify_all()
