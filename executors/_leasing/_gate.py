"""The gate of a crew: counts the hands at work, wakes and parks them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sized

from executors._leasing._hands import hands
from executors._leasing._log import say


class Gate:
    """How many hands a crew has at work, and who waits for work or for the end.

    Args:
        slots: Hands at most.
        help: What a hand does; it calls `leave_unless` before it returns.

    Attributes:
        hands: Hands at work, the lent thread of the caller among them.
    """

    def __init__(self, slots: int, help: Callable[[], None]) -> None:
        self.slots = slots
        self.hands = 0
        self._help = help
        self._lock = threading.Lock()
        self._parked: list[threading.Lock] = []
        self._waiting: list[threading.Lock] = []

    def enter(self) -> None:
        """The calling thread is a hand from now on."""
        with self._lock:
            self.hands += 1

    def enter_alone(self) -> bool:
        """The calling thread is a hand from now on, if nobody else is; says whether it is."""
        with self._lock:
            if self.hands:
                return False
            self.hands = 1
            return True

    def leave(self) -> None:
        """A hand is one no longer."""
        with self._lock:
            self.hands -= 1

    def leave_unless(self, line: Sized) -> bool:
        """Leave, unless a job has come into *line*: decided in one step, so that no job is left without a hand."""
        with self._lock:
            if line:
                return False
            self.hands -= 1
            return True

    def call(self, wanted: int, line: Sized) -> None:
        """Have at least *wanted* hands at work, as far as there are slots and jobs in line; parked ones first."""
        started = 0
        with self._lock:
            wanted = min(wanted, self.slots, self.hands + len(line))
            while self.hands < wanted:
                self.hands += 1
                if self._parked:
                    self._parked.pop().release()
                else:
                    started += 1
        for still in range(started, 0, -1):
            try:
                hands.run(self._help)
            except RuntimeError:  # no more threads can be had: those at work go on
                say(logging.ERROR, "no thread could be started for a job", exc_info=True)
                with self._lock:
                    self.hands -= still
                break

    def park(self, idle: Callable[[], bool]) -> None:
        """Let the calling hand rest until it is called or the run ends.

        Args:
            idle: Whether there is really nothing to do; asked again with the gate closed.
        """
        bell = threading.Lock()
        bell.acquire()
        with self._lock:
            if not idle():
                return
            self.hands -= 1
            self._parked.append(bell)
        rung = False
        try:
            rung = bell.acquire()
        finally:
            if not rung:
                with self._lock:
                    if bell in self._parked:
                        self._parked.remove(bell)
                        self.hands += 1

    def wait(self, going: Callable[[], bool], deadline: float | None, clock: Callable[[], float]) -> bool:
        """Let the calling thread, which is no hand, wait for the end; False when the deadline has passed."""
        bell = threading.Lock()
        bell.acquire()
        with self._lock:
            if not going():
                return True
            self._waiting.append(bell)
        rung = False
        try:
            rung = _rung(bell, deadline, clock)
        finally:
            if not rung:
                with self._lock:
                    if bell in self._waiting:
                        self._waiting.remove(bell)
        return rung

    def open(self) -> None:
        """The run has ended: wake all who rest or wait."""
        with self._lock:
            self.hands += len(self._parked)
            for bell in (*self._parked, *self._waiting):
                bell.release()
            self._parked.clear()
            self._waiting.clear()


def _rung(bell: threading.Lock, deadline: float | None, clock: Callable[[], float]) -> bool:
    if deadline is None:
        return bell.acquire()
    return bell.acquire(timeout=min(max(0.0, deadline - clock()), threading.TIMEOUT_MAX))
