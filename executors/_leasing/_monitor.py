"""The monitor: one thread a process that notices when a crew is stuck behind a slow handler, and keeps its times.

A runner works jobs off without looking at the clock, so somebody else must see that one of them takes long while
others wait. The monitor ticks each millisecond while there is anything to see, and naps until the next due time when
there has been nothing for a while.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import Final, Protocol

from executors._leasing._log import say

TICK_SECONDS: Final = 0.001

PAUSE_SECONDS: Final = 0.008
"""The longest pause between two ticks while jobs are in line."""

LINGER_TICKS: Final = 50
"""Ticks without anything to see before the monitor naps: waking it again costs a small flow as much as running it."""

_NAP_SECONDS: Final = 3600.0
_MISHAP_SECONDS: Final = 1.0


class Watched(Protocol):
    """What the monitor looks after."""

    def tick(self, now: float) -> float | None:
        """Look after yourself.

        Returns:
            When to look again, by the monotonic clock; None: not before being told.
        """
        ...


class Monitor:
    """Ticks for those who are watched. Thread-safe."""

    def __init__(self) -> None:
        self._watched: dict[Watched, None] = {}
        self._bell = threading.Lock()
        self._bell.acquire()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._nap_until = float("inf")
        self.napping = True
        """Whether the next tick may be far away: who has something new to look at must `ring`."""

    def watch(self, crew: Watched) -> None:
        """Tick for *crew* from now on."""
        self._watched[crew] = None
        if self.napping:
            self.ring()

    def unwatch(self, crew: Watched) -> None:
        """Tick for *crew* no longer."""
        self._watched.pop(crew, None)

    def ring(self) -> None:
        """Have the next tick now."""
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="flows-monitor", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError:  # the interpreter is going down: a lent thread needs no monitor
                        return
                    self._thread = thread
        if self._bell.locked():  # else it has been rung already, as through a burst of small runs
            with contextlib.suppress(RuntimeError):  # or was, just now
                self._bell.release()

    def ring_before(self, instant: float) -> None:
        """Have a tick by *instant*, by the monotonic clock."""
        if self.napping and instant < self._nap_until:
            self.ring()

    def _run(self) -> None:
        quiet = 0
        while True:
            next_at = self._tick_all()
            quiet = quiet + 1 if next_at > PAUSE_SECONDS else 0
            if quiet < LINGER_TICKS:
                self._bell.acquire(timeout=min(next_at, PAUSE_SECONDS) if quiet < 2 else PAUSE_SECONDS)
                continue
            self._nap_until = float("inf")
            self.napping = True
            next_at = self._tick_all()  # once more, for what came before napping was announced
            self._nap_until = time.monotonic() + next_at
            if next_at > 0:
                self._bell.acquire(timeout=next_at)
            self.napping = False
            quiet = 0

    def _tick_all(self) -> float:
        """Tick for all; returns in how many seconds somebody wants to be looked at again."""
        now = time.monotonic()
        return max(0.0, min([_NAP_SECONDS, *(self._tick(crew, now) - now for crew in tuple(self._watched))]))

    def _tick(self, crew: Watched, now: float) -> float:
        try:
            next_at = crew.tick(now)
        except BaseException:  # the monitor serves all runs of the process: one that is broken must not stop it
            say(logging.ERROR, "a run could not be looked after; this is tried again", exc_info=True)
            return now + _MISHAP_SECONDS
        return now + _NAP_SECONDS if next_at is None else next_at


monitor = Monitor()


def _after_fork() -> None:
    monitor.__init__()  # type: ignore[misc]  # its thread does not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
