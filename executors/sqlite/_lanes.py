"""Lanes: where the waiting jobs of a run stand, by queue and priority; and whose turn it is among runs.

A lane's jobs stand in *segments*, packed, so that a step that releases or takes many jobs writes few rows. What is
released and taken within one step is never written at all. In each queue and priority the lanes that have jobs take
turns: the first gives up to 32 jobs and goes behind the others.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from executors.sqlite._database import Database

TURN: Final = 32
"""Jobs that a run gets before the next run of its priority has its turn."""

SEGMENT: Final = 200
"""Jobs in a segment at most: so many are read and written for one that is taken."""


class Lane:
    """The waiting jobs of one run in one queue at one priority.

    Attributes:
        turn: Its place among those that have jobs; None where it is not among them.
        more: Whether the file may have segments besides `head`.
    """

    __slots__ = (
        *("_back", "_first", "_front", "_head", "_last", "_place", "_stale"),
        *("database", "id", "more", "number", "priority", "queue", "turn", "turned"),
    )  # fmt: skip

    def __init__(self, database: Database, lane_id: int, number: int, priority: int, queue: str, turn: int | None):
        self.database = database
        self.id, self.number, self.priority, self.queue, self.turn = lane_id, number, priority, queue, turn
        self.turned = False
        self.more = turn is not None
        self._front: deque[int] = deque()
        self._back: deque[int] = deque()
        self._head: deque[int] = deque()
        self._place = 0
        self._stale = False
        self._first: int | None = None
        self._last: int | None = None

    def __bool__(self) -> bool:
        return bool(self._front or self._head or (self.more and self._fetch()) or self._back)

    def add(self, jobs: Iterable[int]) -> None:
        """Put jobs at the end."""
        self._back.extend(jobs)

    def add_first(self, job: int) -> None:
        """Put a job at the front."""
        self._front.appendleft(job)

    def take(self, limit: int) -> list[int]:
        """Take up to *limit* jobs out."""
        taken: list[int] = []
        front = self._front
        while front and len(taken) < limit:
            taken.append(front.popleft())
        while len(taken) < limit and (self._head or (self.more and self._fetch())):
            head = self._head
            self._stale = True
            if len(head) <= limit - len(taken):
                taken += head
                head.clear()
                self._write_head()
            else:
                taken += [head.popleft() for _ in range(limit - len(taken))]
        back = self._back
        if len(back) <= limit - len(taken):
            taken += back
            back.clear()
        while back and len(taken) < limit:
            taken.append(back.popleft())
        return taken

    def ahead_of(self, job: int) -> int | None:
        """How many jobs stand before *job*, as far as that is known without reading much."""
        try:
            return [*self._front, *self._head, *self._back].index(job)
        except ValueError:
            return None

    def flush(self) -> None:
        """Write what is left."""
        if self._stale:
            self._write_head()
        if self._front or self._back:
            self._bounds()
            database = self.database
            assert self._first is not None
            assert self._last is not None
            front, back = list(self._front), list(self._back)
            rows = []
            while front:
                rows.append((self._first - 1, front[-SEGMENT:]))
                self._first -= 1
                del front[-SEGMENT:]
            if self._head and self._front:
                self.more = True  # the head is not the first any more
                self._head = deque()
            for begin in range(0, len(back), SEGMENT):
                self._last += 1
                rows.append((self._last, back[begin : begin + SEGMENT]))
            database.do_all("segment_add", [(self.id, place, array("I", jobs).tobytes()) for place, jobs in rows])
            if len(rows) == 1 and not self._head and not self.more:
                self._place, self._head = rows[0][0], deque(rows[0][1])
            else:
                self.more = True
            self._front.clear()
            self._back.clear()
        if self.turned:
            self.turned = False
            self.database.do("lane_turn", self.turn, self.id)

    def clear(self) -> None:
        """Forget all jobs: the run has ended."""
        self._front.clear()
        self._back.clear()
        self._head.clear()
        self._stale = self.more = False
        self.database.do("segment_clear", self.id)
        if self.turn is not None:
            self.turn, self.turned = None, True

    def _fetch(self) -> bool:
        """Read the next segment."""
        row = self.database.one("segment_next", self.id)
        if row is None:
            self.more = False
            return False
        self._place, packed = row
        self._head = deque(array("I", packed))
        return True

    def _write_head(self) -> None:
        self._stale = False
        if self._head:
            self.database.do("segment_set", array("I", self._head).tobytes(), self.id, self._place)
        else:
            self.database.do("segment_drop", self.id, self._place)

    def _bounds(self) -> None:
        """The places of the first and the last segment; where there is none, some place."""
        if self._first is None or self._last is None:
            first, last = self.database.one("segment_bounds", self.id, self.id)
            self._first, self._last = (1, 0) if first is None else (first, last)


class Lanes:
    """All lanes, as far as this process knows them; forgotten when another has changed the file."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._of: dict[int, dict[tuple[int, str], Lane]] = {}
        self._by_id: dict[int, Lane] = {}
        self._touched: dict[Lane, None] = {}

    def forget(self) -> None:
        """Another process has changed the file, or a step was undone."""
        self._of.clear()
        self._by_id.clear()
        self._touched.clear()

    def drop(self, number: int) -> None:
        """A run is none of our business any more."""
        for lane in self._of.pop(number, {}).values():
            del self._by_id[lane.id]
            self._touched.pop(lane, None)

    def of(self, number: int) -> dict[tuple[int, str], Lane]:
        """The lanes of a run by priority and queue, in the order in which they are served."""
        found = self._of.get(number)
        if found is None:
            found = self._of[number] = {}
            for lane_id, priority, queue, turn in self._database.all("lane_of_run", number):
                known = self._by_id.get(lane_id) or Lane(self._database, lane_id, number, priority, queue, turn)
                found[priority, queue] = self._by_id[lane_id] = known
        return found

    def known(self, number: int) -> Iterable[Lane]:
        """The lanes of a run in which jobs may wait, as far as is known without reading."""
        return self._of.get(number, {}).values()

    def lane(self, number: int, queue: str, priority: int) -> Lane:
        """Where the run's jobs of that queue and priority wait."""
        lanes = self.of(number)
        lane = lanes.get((priority, queue))
        if lane is None:
            cursor = self._database.do("lane_add", number, priority, queue)
            lane = Lane(self._database, int(cursor.lastrowid or 0), number, priority, queue, None)
            self._by_id[lane.id] = lanes[priority, queue] = lane
            if len(lanes) > 1:
                self._of[number] = dict(sorted(lanes.items(), key=lambda item: (item[0][0], item[1].id)))
        self._touched[lane] = None
        return lane

    def enlist(self, lane: Lane) -> None:
        """The lane has jobs: it takes its turn."""
        if lane.turn is None:
            lane.turn, lane.turned = self._database.draw(), True

    def touched(self, lane: Lane) -> None:
        """Jobs are put in or taken out."""
        self._touched[lane] = None

    def flush(self) -> None:
        """Write what is left."""
        for lane in self._touched:
            lane.flush()
        self._touched.clear()

    def take(self, queue: str, limit: int) -> Iterator[tuple[int, list[int]]]:
        """Up to *limit* jobs of a queue, by turns of runs: the run, and some of its jobs."""
        while limit > 0:
            row = self._database.one("lane_first", queue)
            if row is None:
                return
            lane = self._known(*row)
            taken = lane.take(min(TURN, limit))
            self._touched[lane] = None
            lane.turn = self._database.draw() if lane else None
            lane.turned = True
            lane.flush()
            limit -= len(taken)
            if taken:
                yield lane.number, taken

    def waiting(self, queue: str) -> bool:
        """Whether any run has jobs in a queue."""
        return any(bool(self._known(*row)) for row in self._database.all("lane_all", queue))

    def clear(self, number: int) -> None:
        """Forget the waiting jobs of a run: it has ended."""
        for lane in self.of(number).values():
            lane.clear()
            lane.flush()

    def _known(self, lane_id: int, number: int, priority: int, queue: str, turn: int) -> Lane:
        lane = self._by_id.get(lane_id)
        if lane is None:
            lane = self._by_id[lane_id] = Lane(self._database, lane_id, number, priority, queue, turn)
        return lane
