"""Who is next: a ring of lanes per queue and priority.

A *lane* holds the waiting jobs of one run in one queue at one priority. Within a run jobs come first in first out;
runs of equal priority take turns, so that a run of 200,000 jobs does not starve one of 4; and activating a run costs
one entry in the ring.
"""

from __future__ import annotations

import weakref
from bisect import insort
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun

TURN: Final = 32
"""Jobs that a run gets before the next run of its priority has its turn."""


class Lane:
    """The waiting jobs of one run in one queue at one priority.

    It holds the run weakly, as the run holds it: a run without handles goes at once, and not when the garbage collector
    next looks. A lane that stands in a ring has its run, since a store holds those that have not ended.
    """

    __slots__ = ("_run", "jobs", "listed", "priority", "queue")

    def __init__(self, run: MemoryRun, queue: str, priority: int) -> None:
        self._run = weakref.ref(run)
        self.queue = queue
        self.priority = priority
        self.jobs: deque[int] = deque()
        self.listed = False

    @property
    def run(self) -> MemoryRun:
        """Whose jobs these are."""
        return cast("MemoryRun", self._run())

    def __lt__(self, other: Lane) -> bool:
        return self.priority < other.priority


class Queues:
    """All queues of a store: for each, rings of lanes by priority, 0 first, and the line of suspects."""

    def __init__(self) -> None:
        self._rings: dict[str, dict[int, deque[Lane]]] = {}
        self._order: dict[str, list[int]] = {}
        self._suspects: dict[str, deque[tuple[MemoryRun, int]]] = {}
        self.has_suspects = False
        """Whether any job that has lost a worker waits."""

    def enlist(self, lane: Lane) -> None:
        """Put a lane that has jobs into its ring."""
        rings = self._rings.setdefault(lane.queue, {})
        ring = rings.get(lane.priority)
        if ring is None:
            ring = rings[lane.priority] = deque()
            insort(self._order.setdefault(lane.queue, []), lane.priority)
        ring.append(lane)
        lane.listed = True

    def delist(self, lane: Lane) -> None:
        """Take a lane out: its run has ended."""
        if lane.listed:
            self._rings[lane.queue][lane.priority].remove(lane)
            lane.listed = False

    def suspect(self, run: MemoryRun, job: int) -> None:
        """Put a job that has lost a worker into the line of its queue."""
        self._suspects.setdefault(run.plan.queues_of[job], deque()).append((run, job))
        self.has_suspects = True

    def take_suspect(
        self, queues: frozenset[str] | None, run: MemoryRun | None, shut: Collection[str] = ()
    ) -> tuple[MemoryRun, int] | None:
        """The first suspect of these queues, or of this run; none of a queue that is shut."""
        for queue, line in self._suspects.items():
            if (queues is None or queue in queues) and queue not in shut:
                for entry in line:
                    if run is None or entry[0] is run:
                        line.remove(entry)
                        if not line:
                            del self._suspects[queue]
                            self.has_suspects = bool(self._suspects)
                        return entry
        return None

    def acquit(self, run: MemoryRun) -> None:
        """Let go of the suspects of a run that has ended."""
        for queue, line in tuple(self._suspects.items()):
            left = deque(entry for entry in line if entry[0] is not run)
            if left:
                self._suspects[queue] = left
            else:
                del self._suspects[queue]
        self.has_suspects = bool(self._suspects)

    def take(
        self, queues: frozenset[str] | None, limit: int, room: Callable[[str], int] | None = None
    ) -> list[tuple[MemoryRun, int]]:
        """Up to *limit* jobs, queue by queue; each queue's turn comes first once.

        Args:
            room: How many jobs of a queue may be taken, where queues are limited.
        """
        taken: list[tuple[MemoryRun, int]] = []
        for queue in [queue for queue in self._order if queues is None or queue in queues]:
            before = len(taken)
            most = limit if room is None else min(limit, before + room(queue))
            rings = self._rings[queue]
            for priority in self._order[queue]:
                if rings[priority]:
                    self._take_turns(rings[priority], taken, most)
            if len(taken) > before:
                self._order[queue] = self._order.pop(queue)  # to the end: the next call begins with another queue
            if len(taken) >= limit:
                break
        return taken

    def waiting(self, queues: frozenset[str] | None, shut: Collection[str] = ()) -> bool:
        """Whether `take` would find anything outside of the queues that are shut."""
        for queue, rings in self._rings.items():
            if (queues is None or queue in queues) and queue not in shut:
                for ring in rings.values():
                    for lane in ring:
                        if lane.jobs:
                            return True
        return False

    @staticmethod
    def _take_turns(ring: deque[Lane], taken: list[tuple[MemoryRun, int]], limit: int) -> None:
        while ring and len(taken) < limit:
            lane = ring[0]
            jobs = lane.jobs
            run = lane.run
            if len(jobs) == 1:
                taken.append((run, jobs.popleft()))
            else:
                turn = min(TURN, len(jobs), limit - len(taken))
                taken.extend([(run, jobs.popleft()) for _ in range(turn)])
            if jobs:
                ring.rotate(-1)
            else:
                ring.popleft()
                lane.listed = False
