"""Attempts that are under way on the cluster, and which of them go there as one task.

A task costs Dask a millisecond or more, so jobs that are ready together go together, as far as what they do was
seen to take next to no time and to give small results: never more in one task than leaves all threads of the cluster
something, nor than takes a worker some hundredths of a second.
"""

from __future__ import annotations

import asyncio
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

SHORT_SECONDS: Final = 0.000_5
"""What takes no longer may go together."""

TOGETHER: Final = 50
"""Attempts that a task makes at most."""

SEEN: Final = 2
"""How often in a row something must have been short before it is taken to be."""


class Place(NamedTuple):
    """Where on the cluster the jobs of a queue may run: on workers with a resource, or on those of a name."""

    resources: Mapping[str, float] | None = None
    workers: tuple[Any, ...] | None = None


ANYWHERE: Final = Place()


class FlightKind:
    """What the attempts of one task in one run have in common.

    Attributes:
        data: The pickle of a `Kind`.
    """

    __slots__ = ("_short", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._short = 0

    @property
    def is_short(self) -> bool:
        """Whether attempts may go together."""
        return self._short >= SEEN

    def took(self, seconds: float, *, is_large: bool) -> None:
        """An attempt has ended; one that was held up by something else is forgiven, a large result is not."""
        short = seconds <= SHORT_SECONDS and not is_large
        self._short = min(self._short + 1, SEEN + 1) if short else -TOGETHER if is_large else self._short - SEEN


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

    __slots__ = ("done", "ended_at", "flights", "future", "heard_at", "recalled")

    def __init__(self, flights: list[Flight]) -> None:
        self.flights = flights
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


def tasks_of(flights: Sequence[Flight], threads: int) -> list[Task]:
    """How *flights*, which are alike in where they may run, go to a cluster of so many threads."""
    together = [flight for flight in flights if flight.kind.is_short and not flight.grant.suspect]
    size = min(TOGETHER, -(-len(together) // max(1, threads)))
    if size <= 1:
        return [Task([flight]) for flight in flights]
    short = set(together)
    alone = [Task([flight]) for flight in flights if flight not in short]
    return alone + [Task(together[first : first + size]) for first in range(0, len(together), size)]
