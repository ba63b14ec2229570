"""The time of a simulation: one heap of (instant, tie), and the store's clock, which may jump."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flows.testing._simulated_worker import SimulatedWorker

BEGINNING: Final = 1000.0
"""What clocks say at first: not 0.0, so that an instant is never false."""

EPOCH: Final = 946_684_800.0 - BEGINNING
"""Simulations begin with the year 2000, UTC."""

HIRED_AFTER: Final = (1.0, 50.0)
"""How many seconds after a worker is gone another takes its place."""

_IDLE_BEATS: Final = 8
"""Beats of each keeper, with nothing else to come, after which nothing will: lost leases have been taken back by then.
"""


class VirtualTime:
    """Instants, and what is to happen at them.

    Attributes:
        now: The time, in seconds, as clocks tell it that never jump.
        told: What the store's clock says.
        halted: Whether nothing more is to happen for now.
        stirred: Workers in which something has happened at this very instant.
    """

    def __init__(self) -> None:
        self.now = BEGINNING
        self._offset, self.told = 0.0, BEGINNING
        self._heap: list[tuple[float, int, SimulatedWorker | None, Callable[[], None]]] = []
        self._ties = itertools.count()
        self._beats = self._idle = 0
        self.halted = False
        self.stirred: dict[SimulatedWorker, None] = {}

    def clock(self) -> float:
        """The store's clock, in seconds; it never goes back."""
        return self.told

    def elapsed(self) -> float:
        """Seconds since the simulation began."""
        return self.now - BEGINNING

    def jump(self, seconds: float) -> None:
        """The store's clock is set forward, or back: then it stands still until it has caught up."""
        self._offset += seconds
        self.told = max(self.told, self.now + self._offset)

    def at(self, delay: float, what: Callable[[], None], worker: SimulatedWorker | None = None) -> None:
        """Have *what* done after *delay* seconds; in *worker*, if that lives then, and once it hangs no more."""
        heappush(self._heap, (self.now + delay, next(self._ties), worker, what))

    def at_clock(self, instant: float, what: Callable[[], None], worker: SimulatedWorker | None = None) -> None:
        """As `at`, when the store's clock will say *instant*, or now if it has."""
        at = max(self.now, instant - self._offset)
        while at + self._offset < instant:  # rounding must not have it come too soon, again and again
            at = math.nextafter(at, math.inf)
        heappush(self._heap, (at, next(self._ties), worker, what))

    def at_beat(self, delay: float, worker: SimulatedWorker) -> None:
        """As `at`, for the keeper of *worker*: by itself it makes nothing happen."""
        self._beats += 1
        self.at(delay, worker.beat, worker)

    def next_at(self) -> float | None:
        """When the next thing happens; None where nothing will."""
        if self.stirred:
            self.calm_down()
        return self._heap[0][0] if self._heap else None

    def calm_down(self) -> None:
        """Time is about to pass: what was stirred sees to it that it is woken in time."""
        self.stirred.clear()

    def step(self, workers: int) -> bool:
        """Have the next thing happen; says whether there was one, other than keepers of *workers* at their beats."""
        return self.go_on(1, math.inf, (None,) * workers)

    def go_on(self, count: int, until: float, workers: Sequence[object]) -> bool:
        """As `step`, so many times; `halted` and *until* end it early."""
        heap, stirred = self._heap, self.stirred
        for _ in range(count):
            if self.halted or self.now >= until:
                break
            if stirred and (not heap or heap[0][0] > self.now):
                self.calm_down()
            if not heap:
                return False
            if len(heap) == self._beats:
                # While the store's clock stands still, leases do not run out: waiting for that is not in vain.
                self._idle += self.now + self._offset >= self.told
                if self._idle > _IDLE_BEATS * len(workers):
                    return False
            elif self._idle:
                self._idle = 0
            instant, _, worker, what = heappop(heap)
            if worker is not None and (worker.gone or worker.frozen_until > instant):
                self._put_off(worker, what)
                continue
            if instant > self.now:
                self.now = instant
                told = instant + self._offset
                if told > self.told:
                    self.told = told
            what()
        return True

    def beaten(self) -> None:
        """A keeper is at one of the beats that `at_beat` has promised."""
        self._beats -= 1

    def _put_off(self, worker: SimulatedWorker, what: Callable[[], None]) -> None:
        """What was to happen in a worker that hangs happens when it hangs no more; in one that is gone, never."""
        if not worker.gone:
            heappush(self._heap, (worker.frozen_until, next(self._ties), worker, what))
        elif what == worker.beat:
            self._beats -= 1
