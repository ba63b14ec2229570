"""DaskExecutor: runs decided in this process, and computed on a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from executors._leasing import Crew
from executors.dask._attempts import ClusterHandler
from executors.dask._crew import ClusterCrew
from executors.dask._registered import taught
from executors.dask._remote import fetched, remotes
from executors.dask._way import OnCluster, Way, forget_closed
from executors.memory._executor import Home, MemoryExecutor, tasks_of
from executors.memory._run import MemoryRun
from flows._bodies import bodies_of
from flows._executors import SCHEMES, made_by_use, masked
from flows._handlers import Handler
from flows._names import shown
from flows._plan import Plan
from flows.errors import DefinitionError, UnavailableError, UnknownExecutorError
from flows.executor import Executor, RunOptions

if TYPE_CHECKING:
    from distributed.client import Client

    from executors.dask._cluster import Cluster

CONCURRENCY: Final = 10_000
"""Attempts that a run has on the cluster at once, where the URL does not say; Dask has them wait for its threads."""


class ClusterRun(MemoryRun):
    """One run, decided here. Its results are on the cluster and come home when they are read."""

    __slots__ = ("cluster",)

    cluster: Cluster

    def value_of(self, job: int) -> Any:
        """The result of a completed job, brought home at the first reading.

        Raises:
            UnavailableError: It is not to be had any more: the cluster is gone, or cannot give it.
        """
        value = super().value_of(job)
        if not remotes((value,)):
            return value
        try:
            return fetched(self.cluster.client, value)
        except Exception as error:
            raise UnavailableError(
                f"the result of job {self.plan.ids[job]!r} cannot be brought from the Dask cluster: "
                f"{type(error).__name__}: {error}"
            ) from error


class DaskExecutor(OnCluster, MemoryExecutor):
    """Runs on a Dask cluster.

    What a run means is decided in this process, whose memory has the run; an attempt of a job is one task on the
    cluster, with a key of its own and without Dask's retries. Results stay in the memory of the workers for as long as
    the `Run` is held, and come here when they are read.

    Args:
        way: The way to the cluster.
        slots: Attempts of a run that may be on the cluster at once. Where all that is ready is there, its order is
            Dask's, by the jobs' priorities; with fewer it is the library's.
    """

    embedded = True
    run_type = ClusterRun

    def __init__(self, way: Way, slots: int = CONCURRENCY) -> None:
        super().__init__("memory://?private=1")
        self.slots = slots
        self._way = way
        self._own = Home()

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> ClusterRun:
        """Accept a run: all of it or, if this raises, nothing.

        Raises:
            UnknownTaskError: A job's task is registered neither here nor in the workers.
            UnsupportedError: A queue of the flow has limits, which would have to hold for all clients of the cluster.
            UnavailableError: The scheduler is gone, and does not answer either to a new client.
        """
        cluster = self.admit(plan)
        record = cast("ClusterRun", super().submit(taught(plan, cluster), options, background=False))
        record.cluster = cluster
        if background:
            self._start(record)
        return record

    def handlers(self, plan: Plan[Any]) -> Sequence[Handler]:
        """The handler of each job.

        Raises:
            DefinitionError: A job's task is not known here, or its function cannot run where it is to.
        """
        made: dict[tuple[int, str, bool], Handler] = {}  # a task with other options has the same function
        problems: dict[tuple[int, str, bool], DefinitionError] = {}
        handlers: list[Handler] = []
        for task, settings in zip(tasks_of(plan), plan.settings, strict=True):
            kind = id(task.fn), task.name, settings.run_in == "process"
            handler = made.get(kind)
            if handler is None and kind not in problems:
                try:
                    handler = made[kind] = ClusterHandler(task, in_process=kind[2])
                except DefinitionError as error:
                    problems[kind] = error
            if handler is not None:
                handlers.append(handler)
        if problems:
            raise DefinitionError.of([*problems.values()])
        return handlers

    @property
    def crew_type(self) -> Callable[..., Crew]:  # type: ignore[override]
        """Who works a run off."""
        return self._new_crew

    def _new_crew(self, store: Any, run: ClusterRun, **options: Any) -> Crew:
        run.cluster = cluster = self._way.cluster()
        plans = (run.plan, *[body.plan for body in bodies_of(run.plan)])
        places = cluster.places(sorted({queue for plan in plans for queue in plan.queues_of}))
        return ClusterCrew(store, run, **options, cluster=cluster, places=places)

    def close(self) -> None:
        """Close the client, if it was made here. Runs must have ended; results that were not read are gone."""
        self._way.close()


_lock = threading.Lock()
_of_clients: dict[Client, DaskExecutor] = {}


def executor_at(where: str | Client) -> Executor:
    """The executor for ``dask://scheduler:8786``, or for a `distributed.Client`, for which it is always the same one.

    ``concurrency=N`` says how many attempts of a run may be on the cluster at once; with ``journal=sqlite:///runs.db``
    or ``journal=redis://localhost:6379/0`` runs are kept there, and go on from there. The journal's URL is escaped
    where it has options of its own.

    Raises:
        UnknownExecutorError: It is no such URL.
        UnavailableError: The scheduler does not answer.
        ExecutorError: The cluster has other versions of this library or of Python.
    """
    if isinstance(where, str):
        address, slots, journal = _place(where)
        way = Way(address)
        if journal is None:
            return DaskExecutor(way, slots)
        if made_by_use(journal):  # a file; either loads what other runs do not need
            from executors.dask._journal import JournaledExecutor

            return JournaledExecutor(way, journal, slots)
        from executors.dask._fleet_journal import FleetJournal

        return FleetJournal(way, journal, slots)
    with _lock:
        forget_closed(_of_clients)
        if where not in _of_clients:
            _of_clients[where] = DaskExecutor(Way(where))
        return _of_clients[where]


def _place(url: str) -> tuple[str, int, str | None]:
    """The address of the scheduler that *url* names, how many attempts at once, and the URL of the journal."""
    from urllib.parse import parse_qsl, urlsplit

    parts, spot = urlsplit(url), shown(masked(url))
    try:
        port = parts.port or 8786
    except ValueError:
        port = 0
    if not parts.hostname or not port or parts.path not in ("", "/") or parts.fragment:
        raise UnknownExecutorError(f"{spot}: dask:// takes the address of a scheduler, as in dask://localhost:8786")
    slots, journal = CONCURRENCY, None
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name == "concurrency":
            if not (value.isdecimal() and len(value) < 20 and 0 < int(value) <= CONCURRENCY):
                raise UnknownExecutorError(
                    f"{spot}: concurrency={shown(value)} must be a whole number up to {CONCURRENCY}"
                )
            slots = int(value)
        elif name == "journal":
            place = SCHEMES.get(value.partition(":")[0].lower(), "")
            if not place.startswith(("executors.sqlite:", "executors.redis:")):
                raise UnknownExecutorError(
                    f"{spot}: journal={shown(masked(value))} must be a file or a Redis server, as in "
                    "sqlite:///runs.db or redis://localhost:6379/0"
                )
            journal = value
        else:
            raise UnknownExecutorError(
                f"{spot}: dask:// has no option {shown(name)}; there are concurrency and journal"
            )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"tcp://{host}:{port}", slots, journal
