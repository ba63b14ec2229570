"""Rate: when the next attempt of a queue may start. Arithmetic over instants; no clock.

A log of starts over a sliding window: a place in the window is taken by each start and comes back one period later. So
up to *count* may start at once, and never more than *count* start within any period, [t, t + period) for every t.

That is stricter than the generic cell rate algorithm (ITU-T Recommendation I.371, annex A), which has one number where
this has a list: with a burst of *count*, that lets almost twice as many start within a period, and without a burst it
spaces starts evenly and lets the first ones wait. The list is short: starts that come close together share an entry.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

ENTRIES: Final = 1024
"""About how many entries a log has at most: a rate of a million an hour is kept to a thousandth of the hour."""


class Rate:
    """At most *count* starts within any *period*.

    A start is *reserved* when its job is claimed and counts until it is known when the attempt began; it then counts
    for one period more.

    Args:
        count: Starts within a period.
        period: Seconds.
    """

    __slots__ = ("_log", "_used", "count", "period", "reserved")

    def __init__(self, count: int, period: float) -> None:
        self.count = count
        self.period = period
        self.reserved = 0
        self._log: deque[list[float]] = deque()  # first and last instant of an entry, and how many starts it stands for
        self._used = 0

    def change(self, count: int, period: float) -> None:
        """Go on with another rate; what has started still counts, as far back as the shorter of the periods."""
        self.count, self.period = count, period

    def written(self) -> list[Any]:
        """All that is known, as JSON can hold it, for stores that keep it in a file."""
        return [self.reserved, [list(entry) for entry in self._log]]

    def read(self, written: list[Any]) -> None:
        """Know what `written` has said."""
        self.reserved, log = written
        self._log = deque(log)
        self._used = sum(int(entry[2]) for entry in log)

    def room(self, now: float) -> int:
        """How many may start at *now*; below 0 after the rate was lowered."""
        log, period = self._log, self.period
        while log and log[0][1] + period <= now:
            self._used -= int(log.popleft()[2])
        return self.count - self._used - self.reserved

    def reserve(self, starts: int) -> None:
        """Count *starts* that will come."""
        self.reserved += starts

    def give_back(self) -> None:
        """One that was reserved will not start."""
        self.reserved -= 1

    def start(self, at: float) -> None:
        """One that was reserved starts. Instants that go back count as the newest that is known."""
        self.reserved -= 1
        self._used += 1
        log = self._log
        if log:
            last = log[-1]
            at = max(at, last[1])
            grain = self.period / ENTRIES if self.count > ENTRIES else 0.0
            if at <= last[0] + grain:
                last[1] = at
                last[2] += 1
                return
        log.append([at, at, 1])

    def opens_at(self, wanted: int, now: float) -> float:
        """When *wanted* more may start: *now*, or the earliest instant at which that is possible.

        What is reserved has not begun, so its place cannot come back within a period from now; where that is what is
        in the way, ask again then.
        """
        missing = wanted - self.room(now)
        if missing <= 0:
            return now
        for _, last, starts in self._log:
            missing -= int(starts)
            if missing <= 0:
                return last + self.period
        return now + self.period
