"""Threads to run sync handlers in: daemons of our own, kept for the next run.

`ThreadPoolExecutor` joins its threads at exit and would hang there on a handler that was given up; these are simply
left.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import Final

KEPT_SECONDS: Final = 10.0
"""How long an idle thread is kept."""


class Hands:
    """Hands out threads: an idle one when there is one, else a new one. Never refuses."""

    def __init__(self) -> None:
        self._idle: deque[_Hand] = deque()
        self._made = 0

    def run(self, work: Callable[[], None]) -> None:
        """Run *work* in a thread, at once."""
        while True:
            try:
                hand = self._idle.pop()
            except IndexError:
                break
            if hand.give(work):
                return
        self._made += 1
        _Hand(self._idle, work, self._made).start()


class _Hand(threading.Thread):
    def __init__(self, idle: deque[_Hand], work: Callable[[], None], number: int) -> None:
        super().__init__(name=f"flows-hand-{number}", daemon=True)
        self._resting = idle
        self._work: Callable[[], None] | None = work
        self._bell = threading.Lock()
        self._bell.acquire()
        self._claim = threading.Lock()
        self._gone = False

    def give(self, work: Callable[[], None]) -> bool:
        """Wake this idle thread for *work*; False when it has just left."""
        with self._claim:
            if self._gone:
                return False
            self._work = work
        self._bell.release()
        return True

    def run(self) -> None:
        while self._work is not None:
            Context().run(self._work)  # what a job leaves behind in the context goes with it
            self._work = None
            self._resting.append(self)
            if not self._bell.acquire(timeout=KEPT_SECONDS):
                with self._claim:
                    if self._work is None:
                        self._gone = True
                        return
                self._bell.acquire()


hands = Hands()


def _after_fork() -> None:
    hands.__init__()  # type: ignore[misc]  # threads do not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
