"""Attempts that are under way on the cluster, and which of them go there as one task.

A task costs Dask some milliseconds, so jobs that are ready together go together, as far as it is known how long they
take, and that their results are small: never more in one task than leaves all threads of the cluster something, and
the less the fewer there are left, so that all threads have done at about the same time. Of what is not known a few go
first, and the others when one of those has ended, or after a while.
"""

from __future__ import annotations

import asyncio
import math
import pickle
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import flows
from executors.dask._plugin import PREFIX
from executors.dask._words import Batch, Order, Slot

if TYPE_CHECKING:
    from distributed.client import Future

    from executors.dask._remote import Remote
    from flows._verbs import Grant

TOGETHER: Final = 64
"""Attempts that a task makes at most."""

TASK_SECONDS: Final = 0.02, 0.25
"""How long a task may take in any case, and where it is a small part of what there is to do."""

SMALL_PART: Final = 4
"""The share of a thread in what is ready over what it has in one task, then."""

FIRST: Final = 3
"""How many go first for each thread, of what is not known."""

LATE_SECONDS: Final = 0.1
"""What a task takes beyond twice the time expected until what has not begun is asked back."""


class Place(NamedTuple):
    """Where on the cluster the jobs of a queue may run: on workers with a resource, or on those of a name."""

    resources: Mapping[str, float] | None = None
    workers: tuple[Any, ...] | None = None


ANYWHERE: Final = Place()


class FlightKind:
    """What the attempts of one task in one run have in common.

    Attributes:
        data: The pickle of a `Kind`.
        seconds: How long one takes, rather too much than too little; None while nobody knows.
        first: How many went while nobody knew.
    """

    __slots__ = ("_large", "data", "first", "seconds")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.seconds: float | None = None
        self.first = 0
        self._large = False

    def took(self, seconds: float, *, is_large: bool) -> None:
        """An attempt has ended; one with a large result shows that they had better go alone."""
        self._large = self._large or is_large
        self.seconds = math.inf if self._large else max(seconds, 0.7 * (self.seconds or 0.0))


class Landed(NamedTuple):
    """How an attempt ended: what its worker reports, or what became of its task."""

    what: str
    data: bytes
    seconds: float
    age: float
    worker: str


class Flight:
    """One attempt that is under way.

    Attributes:
        inputs: The results that it takes.
        task: What it went with, once it was sent.
        place: Its place among those.
        landed: Set when the attempt has ended.
        worker: Who makes it, once that is known.
        text: Why there is no report, if there is none.
    """

    __slots__ = ("grant", "inputs", "kind", "landed", "order", "place", "priority", "task", "text", "where", "worker")

    def __init__(
        self, grant: Grant, kind: FlightKind, order: Order, inputs: Sequence[Remote], where: Place, priority: int
    ) -> None:
        self.grant = grant
        self.kind, self.order, self.inputs = kind, order, inputs
        self.where, self.priority = where, priority
        self.task: Task | None = None
        self.place: int | None = None
        self.landed: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
        self.worker = ""
        self.text = ""

    def land(self, landed: Landed) -> None:
        """It has ended."""
        if not self.landed.done():
            self.landed.set_result(landed)


class Task:
    """Attempts that go to the cluster as one task of its.

    Attributes:
        future: The task, once it was submitted.
        done: Flights whose handlers have returned while the task goes on: nobody can take their results yet.
        heard_at: When the first report of it came.
        ended_at: Since when it is known to have ended.
        recalled: Whether what has not begun was asked back.
    """

    __slots__ = ("done", "ended_at", "flights", "future", "heard_at", "recalled", "seconds")

    def __init__(self, flights: list[Flight], seconds: float = 0.0) -> None:
        self.flights, self.seconds = flights, seconds
        self.future: Future[Any] | None = None
        self.done: list[tuple[Flight, Landed]] = []
        self.heard_at: float | None = None
        self.ended_at: float | None = None
        self.recalled = False
        for place, flight in enumerate(flights):
            flight.task = self
            if len(flights) > 1:
                flight.place = place

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What it is called on the cluster."""
        order = self.flights[0].order
        return f"{PREFIX}{order.task if len(self.flights) == 1 else 'several'}", *order.mark

    def is_late(self, now: float) -> bool:
        """Whether something in it takes longer than was expected, and others wait for that."""
        waits = len(self.flights) > 1 and not self.recalled and self.heard_at is not None
        return waits and now - (self.heard_at or now) > LATE_SECONDS + 2 * self.seconds

    @property
    def worker(self) -> str:
        """Who has it, once that is known."""
        return next((flight.worker for flight in self.flights if flight.worker), "")

    @property
    def status(self) -> str | None:
        """What Dask says of it."""
        return "lost" if self.future is None else self.future.status

    def written(self, topic: str) -> tuple[bytes, list[Future[Any]]]:
        """A pickle of its `Batch`, and the futures of what its attempts take."""
        kinds: dict[bytes, int] = {}
        found: dict[Any, tuple[int, Future[Any]]] = {}
        orders: list[tuple[int, Order, tuple[Slot, ...]]] = []
        for flight in self.flights:
            slots = []
            for remote in flight.inputs:
                future = remote._future
                index, _ = found.setdefault(future.key, (len(found), future))
                slots.append((index, remote._place))
            orders.append((kinds.setdefault(flight.kind.data, len(kinds)), flight.order, tuple(slots)))
        batch = Batch(topic, flows.__version__, tuple(kinds), orders)
        return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL), [future for _, future in found.values()]


def parted(flights: Sequence[Flight], threads: int, *, all_now: bool) -> tuple[list[Task], list[Flight]]:
    """How *flights*, which are alike in where they may run, go to a cluster of so many threads, and which go later."""
    known: list[Flight] = []
    tasks: list[Task] = []
    later: list[Flight] = []
    for flight in flights:
        kind = flight.kind
        if flight.grant.suspect or kind.seconds == math.inf:
            tasks.append(Task([flight]))
        elif kind.seconds is not None:
            known.append(flight)
        elif all_now or kind.first < FIRST * threads:
            kind.first += 1
            tasks.append(Task([flight]))
        else:
            later.append(flight)
    return tasks + _together(known, threads), later


def _together(flights: list[Flight], threads: int) -> list[Task]:
    left = sum(flight.kind.seconds or 0.0 for flight in flights)
    least, most = TASK_SECONDS
    tasks, first = [], 0
    count = min(TOGETHER, -(-len(flights) // threads))
    while first < len(flights):
        end, seconds = first, 0.0
        longest = min(most, max(least, left / threads / SMALL_PART))
        while end < len(flights) and end - first < count:
            one = flights[end].kind.seconds or 0.0
            if end > first and seconds + one > longest:
                break
            end, seconds = end + 1, seconds + one
        tasks.append(Task(flights[first:end], seconds))
        first, left = end, left - seconds
    return tasks
