"""The cluster as this process sees it: tasks go there in batches, and what their workers report comes back.

State and flow. All of it runs on the event loop that async attempts of runs run on (`executors._leasing._loop`).
Each attempt that is under way is a `Flight`. Orders that are given within one round of the loop are submitted by one
call. Reports come as events of the scheduler, many in one; a look ten times a second finds the tasks that
ended without one, as their worker has died, and asks back what waits behind an attempt that takes long after all;
workers that are held up so are not given others.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import pickle
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._log import say
from executors._leasing._loop import loop_thread
from executors.dask import _words as words
from executors.dask._flights import Flight, Landed, Place, Task, parted
from executors.dask._hand import make, stop
from executors.dask._plugin import NoRepeats
from executors.dask._registered import options_of
from executors.dask._remote import Remote, fetched
from executors.dask._words import Mark, Named, Report
from flows._opts import Settings

if TYPE_CHECKING:
    from distributed.client import Client, Future

LOOK_SECONDS: Final = 0.1

ENDING_SECONDS: Final = 0.002
"""When to look again, first, whether a task has ended all of whose attempts have."""

KNOWN_SECONDS: Final = 1.0
"""How long what the scheduler says of its workers is taken for true: small runs come many a second."""

HELD_SECONDS: Final = 0.25
"""How long jobs are held back to see what others like them take; a worker that computes is not quick to say."""

SILENT_SECONDS: Final = 10.0
"""How long after the end of a task its report may take: it is lost where its worker went down at that moment."""


GONE: Final = "gone"
"""The scheduler is lost, and with it all tasks and results."""


UNABLE: Final = "unable"
"""The cluster could not even begin: it lacks a module, or what the attempt takes cannot travel."""


BACK: Final = "back"
"""It was asked back, as it had not begun."""


class Cluster:
    """The workers behind one client.

    Args:
        client: Connected, to a cluster of our version.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self._topic = f"flows:{client.id}"
        self._flights: dict[Mark, Flight] = {}
        self._new: list[Flight] = []
        self._later: list[Flight] = []
        self._held_until = 0.0
        self._threads = 1
        self._stops: dict[str, list[tuple[Flight, asyncio.Future[bool]]]] = {}
        self._wanted: list[tuple[Remote, asyncio.Future[Any]]] = []
        self._looking = False
        self._known: dict[str, dict[str, Any]] = {}
        self._known_until = 0.0
        self._late: Counter[str] = Counter()
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
            self._known = dict(self.client.scheduler_info(n_workers=-1)["workers"])
            self._known_until = now + KNOWN_SECONDS
            self._threads = sum(worker["nthreads"] for worker in self._known.values())
        known = self._known.values()
        resources = {name for worker in known for name in worker["resources"]}
        names = {str(worker["name"]): worker["name"] for worker in known}
        found: dict[str, Place] = {}
        for queue in queues:
            if queue in resources:
                found[queue] = Place(resources={queue: 1})
            elif queue in names:
                found[queue] = Place(workers=(names[queue],))
        return found

    def registered(self, named: Sequence[Named]) -> dict[Named, Settings]:
        """What counts for the jobs of tasks that workers have registered; see `options_of`."""
        found: dict[Named, Settings] = {}
        for told in self.client.run(options_of, named, on_error="ignore").values():
            found = told | found
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
        """Tell a handler to stop; without a reason, only one that has not begun.

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
            marks = [flight.order.mark for flight, _ in told]
            answers: Iterable[Any]
            try:
                answers = self.client.run(stop, marks, why, on_error="return").values()
            except Exception as error:  # workers come and go; those that are gone need not be told
                say(logging.DEBUG, "not all workers could be told to stop: %s", error)
                answers = [error]
            for found in answers:
                if isinstance(found, list):
                    begun.update(tuple(mark) for mark in found)
                elif not why:  # what is asked back stays, where it may have begun
                    begun.update(marks)
            loop_thread.call(functools.partial(_answer, told, begun))

    def _submit(self, *, all_now: bool = False) -> None:
        new, self._new, self._later = self._later + self._new, [], []
        alike: dict[tuple[Any, ...], list[Flight]] = {}
        for flight in new:
            if flight.order.mark not in self._flights:
                continue  # it was stopped meanwhile
            where = flight.where
            resources = None if where.resources is None else tuple(where.resources.items())
            alike.setdefault((flight.priority, resources, where.workers), []).append(flight)
        for (priority, resources, workers), flights in alike.items():
            # A unit of a resource is for one job.
            threads = max(1, self._threads) if resources is workers is None else len(flights)
            tasks, later = parted(flights, threads, all_now=all_now)
            if later and not self._later:
                self._held_until = max(self._held_until, time.monotonic() + HELD_SECONDS)
            self._later += later
            free = self._free() if resources is workers is None else None
            try:
                written = [task.written(self._topic) for task in tasks]
                futures = self.client.map(
                    make,
                    [data for data, _ in written],
                    [taken for _, taken in written],
                    key=[task.key for task in tasks],
                    pure=False,
                    retries=0,
                    priority=priority,
                    resources=None if resources is None else dict(resources),
                    workers=free if workers is None else list(workers),
                    allow_other_workers=free is not None,
                )
            except Exception as error:
                for flight in [flight for task in tasks for flight in task.flights]:
                    flight.text = f"it could not be submitted: {type(error).__name__}: {error}"
                    flight.land(Landed(GONE if self.away else words.LOST, b"", 0.0, 0.0, ""))
                continue
            for task, future in zip(tasks, futures, strict=True):
                task.future = future

    def _free(self) -> list[str] | None:
        """The workers that have a thread for what is new, if others hold late tasks in all of theirs.

        Dask gives a thread one task more than it works on, and would be slow to see that this one is stuck.
        """
        if not self._late:
            return None
        free = [address for address, worker in self._known.items() if self._late[address] < worker["nthreads"]]
        return free if 0 < len(free) < len(self._known) else None

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
        ended: dict[Task, None] = {}
        for mark, what, data, seconds, age in reports:
            flight = self._flights.get(mark)
            if flight is None:
                continue
            run, job, task = flight.grant.run, flight.grant.job, flight.task
            assert task is not None
            task.heard_at = task.heard_at or time.monotonic()
            if not flight.worker:
                flight.worker = worker
                run.placed(job, worker)
            if what in (words.DONE, words.RAISED):
                flight.kind.took(seconds, is_large=what == words.DONE and bool(data))
            if what == words.PROGRESS:
                run.report(job, pickle.loads(data))
            elif what == words.LOG:
                run.record(job, pickle.loads(data))
            elif what == words.DONE:
                task.done.append((flight, Landed(what, data, seconds, age, worker)))
                ended[task] = None
            elif what != words.BEGUN:
                flight.land(Landed(what, data, seconds, age, worker))
        if ended and self._later:
            self._submit()
        for task in ended:
            self._land_done(task)

    def _land_done(self, task: Task, again_in: float = ENDING_SECONDS) -> None:
        """What is done has ended when others can take its results, and no worker's death takes them back."""
        if task.status == "finished":
            done, task.done = task.done, []
            for flight, landed in done:
                flight.land(landed)
        elif len(task.done) == len(task.flights) and again_in < LOOK_SECONDS:  # its end is on the way
            asyncio.get_running_loop().call_later(again_in, self._land_done, task, 2 * again_in)

    def _look(self) -> None:
        """See what nobody reports, and again in a while, whatever comes of it: without that a run might never end."""
        try:
            self._see(time.monotonic())
        finally:
            self._looking = bool(self._flights)
            if self._looking:
                asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)

    def _see(self, now: float) -> None:
        """See which tasks have ended without a report, and which take long."""
        if self.away:
            for flight in tuple(self._flights.values()):
                flight.land(Landed(GONE, b"", 0.0, 0.0, ""))
        self._late.clear()
        for task in {flight.task: None for flight in self._flights.values() if flight.task is not None}:
            if task.future is not None and task.status == "pending":
                self._recall(task, now)
                if task.recalled and task.worker:
                    self._late[task.worker] += 1
            elif task.future is not None:
                self._land_done(task)
                self._end(task, now)
        if self._later and now >= self._held_until:
            self._submit(all_now=True)

    def _recall(self, task: Task, now: float) -> None:
        """Ask for what has not begun, if an attempt before it takes long after all."""
        if task.is_late(now):
            task.recalled = True
            for flight in task.flights:
                if not flight.worker and not flight.landed.done():  # else it has begun
                    self.stop(flight, "").add_done_callback(functools.partial(_back, flight))

    @staticmethod
    def _end(task: Task, now: float) -> None:
        """A task has ended: its attempts have as well, with a report or without."""
        task.ended_at = task.ended_at or now
        what, text = words.LOST, "its worker was lost with what it had to report"
        if task.future is not None and task.status != "finished":
            what, text = _why(task.future, task.status)
        elif now - task.ended_at <= SILENT_SECONDS:
            return
        for flight in task.flights:
            if not flight.landed.done():
                flight.text = text
                flight.land(Landed(what, b"", 0.0, 0.0, flight.worker))

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


def _back(flight: Flight, begun: asyncio.Future[bool]) -> None:
    if not begun.result():
        flight.land(Landed(BACK, b"", 0.0, 0.0, flight.worker))


def _why(future: Future[Any], status: str | None) -> tuple[str, str]:
    """What became of a task that has ended without a report, and why."""
    if status != "error":
        return words.LOST, f"its task was {status} on the cluster"
    error = future.exception()
    last = getattr(error, "last_worker", None)
    if last is not None:  # KilledWorker
        return words.LOST, f"the worker {getattr(last, 'address', last)} died"
    return UNABLE, f"the cluster could not make the attempt: {type(error).__name__}: {error}"
