"""Lending: the thread of the exchange runs short jobs itself, so that a job that comes alone changes no thread.

What it runs may block, though, and then nobody would settle or claim. The monitor sees that a job has not ended since
its last look, and has another thread take the exchange over; the one that is held up stays behind as a hand.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from executors._leasing._monitor import PAUSE_SECONDS, TICK_SECONDS
from flows._verbs import Grant

SLICE_JOBS: Final = 32
SLICE_SECONDS: Final = 0.002
"""Then there are outcomes enough for a call, or the first of them has waited for long enough."""


class Lending:
    """Where a thread works in slices, and is replaced when it does not come back from one.

    Args:
        line: Jobs that wait.
        work: Runs one of them.
        replace: Has another thread do what the lent one does between slices; raises RuntimeError where none can be had.
    """

    def __init__(self, line: deque[Grant], work: Callable[[Grant], None], replace: Callable[[], None]) -> None:
        self._line = line
        self._work = work
        self._replace = replace
        self._lock = threading.Lock()
        self._slices = 0
        self._running = 0  # the number of the slice that is under way; 0: none
        self._ran = 0
        self._mark = -1
        self._pause = TICK_SECONDS

    def run(self, work: Callable[[Grant], None] | None = None) -> bool:
        """Run some of the jobs in line in the calling thread.

        Args:
            work: Runs one of them, where these jobs allow for another way.

        Returns:
            Whether it may go on with what it did before; False once another thread does that.
        """
        line, work = self._line, work or self._work
        with self._lock:
            mine = self._running = self._slices = self._slices + 1
        until = time.monotonic() + SLICE_SECONDS
        for _ in range(SLICE_JOBS):
            try:
                grant = line.popleft()
            except IndexError:
                break
            work(grant)
            if self._running != mine:
                break
            self._ran += 1
            if time.monotonic() > until:
                break
        with self._lock:
            if self._running != mine:
                return False
            self._running = 0
            return True

    def tick(self, now: float) -> float | None:
        """The monitor's look: has the same job been running since the last one?

        Returns:
            When to look again; None while no slice is under way.
        """
        running, ran = self._running, self._ran
        if not running:
            return None
        if ran != self._mark:  # each look costs a change of threads: look less often while all is well
            self._mark = ran
            self._pause = min(2 * self._pause, PAUSE_SECONDS)
            return now + self._pause
        self._pause = TICK_SECONDS
        with self._lock:
            if self._running == running and self._ran == ran:
                self._running = 0
                try:
                    self._replace()
                except RuntimeError:  # no more threads can be had
                    self._running = running
        return now + TICK_SECONDS
