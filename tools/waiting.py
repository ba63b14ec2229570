"""How long a test works and how long it sleeps: on a busy machine it does neither for longer, it only stands in line.

A process works while a processor runs it, stands in line while others have them all, and sleeps in between: for a lock,
a reply, an instant. What else the machine does makes only the line longer.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

LOOKS_SECONDS: Final = 0.25
"""So often a watch looks."""


class Watch:
    """Says when a test works, or sleeps, for too long; one for a process, made and used in its main thread.

    Args:
        late: Is called then, perhaps again and again.
        others: The ids of processes that work for the test: while they do, or stand in line, it does not sleep.
    """

    def __init__(self, late: Callable[[], object], others: Sequence[int] = ()) -> None:
        self._late, self._others = late, others
        self._work, self._sleep, self._began = 0.0, 0.0, 0.0
        self._then: dict[str, tuple[float, float]] = {}
        self._now: dict[str, tuple[float, float]] = {}
        signal.signal(signal.SIGALRM, lambda *_: self._look())

    def begin(self, work: float, sleep: float) -> None:
        """A test begins.

        Args:
            work: Seconds of processor time that it may take, and others for it.
            sleep: Seconds that it may sleep in all.
        """
        self._work, self._sleep, self._began = work, sleep, time.monotonic()
        self._then = self._now = self._threads()
        signal.setitimer(signal.ITIMER_REAL, LOOKS_SECONDS, LOOKS_SECONDS)

    def end(self) -> None:
        """It has come to its end."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)

    def _look(self) -> None:
        self._now = self._now | self._threads()  # what threads have done that are gone still counts
        new = [(name, self._then.get(name, (0.0, 0.0)), now) for name, now in self._now.items()]
        work = sum(now[0] - then[0] for _, then, now in new)
        in_line = sum(now[1] - then[1] for _, then, now in new)
        if work > self._work or time.monotonic() - self._began - work - in_line > self._sleep:
            self._late()

    def _threads(self) -> dict[str, tuple[float, float]]:
        """Of each the seconds that it has worked, and stood in line."""
        made = {}
        for pid in (os.getpid(), *self._others):
            for thread in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                try:
                    worked, in_line, _ = map(int, thread.read_text().split())
                except OSError:  # it is gone
                    continue
                made[str(thread)] = worked / 1e9, in_line / 1e9
        return made
