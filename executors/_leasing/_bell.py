"""Bell: one thread rests until another has something for it, or until its time has come."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Bell:
    """Wakes one resting thread. Ringing may come from any thread or signal handler, and costs a busy thread nothing.

    Attributes:
        resting: Whether anybody would hear it.
    """

    __slots__ = ("_lock", "resting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.resting = False

    def ring(self) -> None:
        """End the rest, if there is one. First put down what it is about."""
        if self.resting:
            self.resting = False  # one ring is enough
            try:
                self._lock.release()
            except RuntimeError:
                pass  # it has been rung already

    def rest(self, idle: Callable[[], bool], seconds: float | None) -> None:
        """Rest until rung, or for *seconds*; not at all unless *idle*, which is asked once ringing would be heard."""
        self.resting = True
        if idle():
            self._lock.acquire(timeout=-1 if seconds is None else min(max(0.0, seconds), threading.TIMEOUT_MAX))
        self.resting = False
