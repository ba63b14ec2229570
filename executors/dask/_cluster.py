"""The cluster as this process sees it: tasks go there in batches, and what their workers report comes back.

State and flow. All of it runs on the event loop that async attempts of runs run on (`executors._leasing._loop`).
Each attempt that is under way is a `Flight`. Orders that are given within one round of the loop are submitted by one
call. Reports come as events of the scheduler, many in one; a look ten times a second finds the tasks that
ended without one: their worker has died.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from distributed.client import Client, Future

from executors._leasing._log import say
from executors._leasing._loop import loop_thread
from executors.dask import _words as words
from executors.dask._hand import make, stop
from executors.dask._plugin import PREFIX, NoRepeats
from executors.dask._remote import Remote, fetched
from executors.dask._versions import check_versions
from executors.dask._words import Mark, Order, Report
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from flows._verbs import Grant

LOOK_SECONDS: Final = 0.1

KNOWN_SECONDS: Final = 1.0
"""How long what the scheduler says of its workers is taken for true: small runs come many a second."""

SILENT_SECONDS: Final = 10.0
"""How long after the end of a task its report may take: it is lost where its worker went down at that moment."""


class Place(NamedTuple):
    """Where on the cluster the jobs of a queue may run: on workers with a resource, or on those of a name."""

    resources: Mapping[str, float] | None = None
    workers: tuple[Any, ...] | None = None


ANYWHERE: Final = Place()


class Landed(NamedTuple):
    """How an attempt ended: what its worker reports, or what became of its task."""

    what: str
    data: bytes
    seconds: float
    age: float
    worker: str


GONE: Final = "gone"
"""The scheduler is lost, and with it all tasks and results."""


UNABLE: Final = "unable"
"""The cluster could not even begin: it lacks a module, or what the attempt takes cannot travel."""


class Flight:
    """One attempt that is under way.

    Attributes:
        future: The task, once it was submitted.
        landed: Set when the attempt has ended.
        worker: Who makes it, once that is known.
        text: Why there is no report, if there is none.
    """

    def __init__(
        self, grant: Grant, kind: bytes, order: Order, inputs: Sequence[Future[Any]], place: Place, priority: int
    ) -> None:
        self.grant = grant
        self.kind, self.order, self.inputs = kind, order, inputs
        self.place, self.priority = place, priority
        self.future: Future[Any] | None = None
        self.landed: asyncio.Future[Landed] = asyncio.get_running_loop().create_future()
        self.worker = ""
        self.text = ""
        self.ended_at: float | None = None

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What the task is called on the cluster."""
        run_id, job, fence = self.order.mark
        return f"{PREFIX}{self.order.task}", run_id, job, fence

    def land(self, landed: Landed) -> None:
        """It has ended."""
        if not self.landed.done():
            self.landed.set_result(landed)


class Cluster:
    """The workers behind one client.

    Args:
        client: Connected.

    Raises:
        ExecutorError: What is installed on the cluster does not fit what is installed here.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._topic = f"flows:{client.id}"
        self._flights: dict[Mark, Flight] = {}
        self._new: list[Flight] = []
        self._stops: dict[str, list[tuple[Flight, asyncio.Future[bool]]]] = {}
        self._wanted: list[tuple[Remote, asyncio.Future[Any]]] = []
        self._looking = False
        self._known: list[dict[str, Any]] = []
        self._known_until = 0.0
        check_versions(client)
        client.register_plugin(NoRepeats(), name=NoRepeats.name)
        client.subscribe_topic(self._topic, self._heard)

    @property
    def topic(self) -> str:
        """Where workers report."""
        return self._topic

    @property
    def away(self) -> bool:
        """Whether the scheduler is gone."""
        return self.client.status != "running"

    def places(self, queues: Sequence[str]) -> dict[str, Place]:
        """Where the jobs of each queue run: a resource or a worker of its name, if there is one; else anywhere."""
        now = time.monotonic()
        if now >= self._known_until:
            self._known = [*self.client.scheduler_info(n_workers=-1)["workers"].values()]
            self._known_until = now + KNOWN_SECONDS
        known = self._known
        resources = {name for worker in known for name in worker["resources"]}
        names = {str(worker["name"]): worker["name"] for worker in known}
        found: dict[str, Place] = {}
        for queue in queues:
            if queue in resources:
                found[queue] = Place(resources={queue: 1})
            elif queue in names:
                found[queue] = Place(workers=(names[queue],))
        return found

    # On the loop.

    def send(self, flight: Flight) -> None:
        """Have an attempt made, in one call with all others of this round of the loop."""
        if self.away:
            flight.land(Landed(GONE, b"", 0.0, 0.0, ""))
            return
        self._flights[flight.order.mark] = flight
        if not self._new:
            asyncio.get_running_loop().call_soon(self._submit)
        self._new.append(flight)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def drop(self, flight: Flight) -> None:
        """An attempt is over for whoever asked for it."""
        self._flights.pop(flight.order.mark, None)

    def stop(self, flight: Flight, why: str) -> asyncio.Future[bool]:
        """Tell a handler to stop.

        Returns:
            Whether there is anything to wait for: what has not begun anywhere by now never will.
        """
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not self._stops:
            asyncio.get_running_loop().call_soon(self._send_stops)
        self._stops.setdefault(why, []).append((flight, answer))
        return answer

    def _send_stops(self) -> None:
        stops, self._stops = self._stops, {}
        threading.Thread(target=self._tell, args=(stops,), name="flows-stop", daemon=True).start()

    def _tell(self, stops: dict[str, list[tuple[Flight, asyncio.Future[bool]]]]) -> None:
        for why, told in stops.items():
            begun: set[Mark] = set()
            try:
                marks = [flight.order.mark for flight, _ in told]
                for found in self.client.run(stop, marks, why, on_error="return").values():
                    if isinstance(found, list):
                        begun.update(tuple(mark) for mark in found)
            except Exception as error:  # workers come and go; those that are gone need not be told
                say(logging.DEBUG, "not all workers could be told to stop: %s", error)
            loop_thread.call(functools.partial(_answer, told, begun))

    def _submit(self) -> None:
        alike: dict[tuple[Any, ...], list[Flight]] = {}
        for flight in self._new:
            place = flight.place
            resources = None if place.resources is None else tuple(place.resources.items())
            alike.setdefault((flight.priority, resources, place.workers), []).append(flight)
        self._new = []
        for (priority, resources, workers), flights in alike.items():
            try:
                futures = self.client.map(
                    make,
                    [flight.kind for flight in flights],
                    [flight.order for flight in flights],
                    [list(flight.inputs) for flight in flights],
                    key=[flight.key for flight in flights],
                    pure=False,
                    retries=0,
                    priority=priority,
                    resources=None if resources is None else dict(resources),
                    workers=None if workers is None else list(workers),
                )
            except Exception as error:
                for flight in flights:
                    flight.text = f"it could not be submitted: {type(error).__name__}: {error}"
                    flight.land(Landed(GONE if self.away else words.LOST, b"", 0.0, 0.0, ""))
                continue
            for flight, future in zip(flights, futures, strict=True):
                flight.future = future

    def bring(self, remote: Remote) -> asyncio.Future[Any]:
        """The value of a result, by one call with all others of this round of the loop."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._wanted:
            asyncio.get_running_loop().call_soon(self._send_wanted)
        self._wanted.append((remote, answer))
        return answer

    def _send_wanted(self) -> None:
        wanted, self._wanted = self._wanted, []
        threading.Thread(target=self._fetch, args=(wanted,), name="flows-bring", daemon=True).start()

    def _fetch(self, wanted: list[tuple[Remote, asyncio.Future[Any]]]) -> None:
        try:
            fetched(self.client, [remote for remote, _ in wanted])
        except Exception:  # of one of them: each by itself then
            say(logging.DEBUG, "results could not be brought together", exc_info=True)
        for remote, answer in wanted:
            try:
                found = functools.partial(answer.set_result, fetched(self.client, remote))
            except Exception as error:
                found = functools.partial(answer.set_exception, error)
            loop_thread.call(functools.partial(_unless_done, answer, found))

    def _take(self, worker: str, reports: Sequence[Report]) -> None:
        for mark, what, data, seconds, age in reports:
            flight = self._flights.get(mark)
            if flight is None:
                continue
            run, job = flight.grant.run, flight.grant.job
            if what == words.BEGUN:
                flight.worker = worker
                run.placed(job, worker)
            elif what == words.PROGRESS:
                run.report(job, pickle.loads(data))
            elif what == words.LOG:
                run.record(job, pickle.loads(data))
            else:
                flight.land(Landed(what, data, seconds, age, worker))

    def _look(self) -> None:
        """See which tasks have ended without a report."""
        now, away = time.monotonic(), self.away
        for flight in tuple(self._flights.values()):
            if flight.landed.done():
                continue
            status = "lost" if flight.future is None else flight.future.status
            if away:
                flight.land(Landed(GONE, b"", 0.0, 0.0, ""))
            elif flight.future is None or status == "pending":
                continue
            elif status == "finished":
                flight.ended_at = flight.ended_at or now
                if now - flight.ended_at > SILENT_SECONDS:
                    flight.text = "its worker was lost with what it had to report"
                    flight.land(Landed(words.LOST, b"", 0.0, 0.0, flight.worker))
            else:
                what, flight.text = _why(flight.future, status)
                flight.land(Landed(what, b"", 0.0, 0.0, flight.worker))
        self._looking = bool(self._flights)
        if self._looking:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    # On the loop of the client.

    def _heard(self, event: tuple[float, Mapping[str, Any]]) -> None:
        _, message = event
        reports = [Report(*one) for one in pickle.loads(message["reports"])]
        loop_thread.call(functools.partial(self._take, message["worker"], reports))


def _unless_done(answer: asyncio.Future[Any], found: Callable[[], None]) -> None:
    if not answer.done():
        found()


def _answer(told: list[tuple[Flight, asyncio.Future[bool]]], begun: set[Mark]) -> None:
    for flight, answer in told:
        if not answer.done():
            answer.set_result(flight.order.mark in begun)


def _why(future: Future[Any], status: str | None) -> tuple[str, str]:
    """What became of a task that has ended without a report, and why."""
    if status != "error":
        return words.LOST, f"its task was {status} on the cluster"
    error = future.exception()
    last = getattr(error, "last_worker", None)
    if last is not None:  # KilledWorker
        return words.LOST, f"the worker {getattr(last, 'address', last)} died"
    return UNABLE, f"the cluster could not make the attempt: {type(error).__name__}: {error}"


def lost_scheduler(run_id: str, *, kept: bool) -> UnavailableError:
    """Why a run cannot go on at the moment, or at all."""
    return UnavailableError(
        "the scheduler of the Dask cluster was lost"
        + (
            ": when there is one again, the run goes on from what had completed"
            if kept
            else f", and with it the results of run {run_id} that were there: it cannot go on"
        )
    )


def connected(address: str, timeout: float) -> Client:
    """A client of the scheduler at *address*.

    Raises:
        UnavailableError: It does not answer.
    """
    try:
        return Client(address, timeout=timeout, set_as_default=False, name="flows")
    except (OSError, TimeoutError) as error:
        raise UnavailableError(
            f"no Dask scheduler answers at {address}: {error}; start one with `dask scheduler`, or check the address"
        ) from error
