"""DaskExecutor: runs decided in this process, and computed on a Dask cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from executors._leasing import Crew
from executors.dask._attempts import ClusterHandler
from executors.dask._cluster import Cluster, connected
from executors.dask._crew import ClusterCrew
from executors.dask._run import ClusterRun
from executors.memory._executor import Home, MemoryExecutor, tasks_of
from flows._bodies import bodies_of
from flows._executors import masked
from flows._handlers import Handler
from flows._names import shown
from flows._plan import Plan
from flows.errors import DefinitionError, UnavailableError, UnknownExecutorError, UnsupportedError
from flows.executor import RunOptions, WorkerOptions

if TYPE_CHECKING:
    from distributed.client import Client

    from executors._leasing._workshop import Workshop

CONCURRENCY: Final = 10_000
"""Attempts that a run has on the cluster at once, where the URL does not say; Dask has them wait for its threads."""

CONNECT_SECONDS: Final = 5.0


class DaskExecutor(MemoryExecutor):
    """Runs on a Dask cluster.

    ``dask://scheduler:8786`` or a `distributed.Client`. What a run means is decided in this process, whose memory has
    the run; an attempt of a job is one task on the cluster, with a key and without Dask's own retries. Results stay in
    the memory of the workers for as long as the `Run` is held, and come here when they are read.

    ``concurrency=N`` says how many attempts of a run may be on the cluster at once. Where all that is ready is there,
    its order is Dask's, by the jobs' priorities; with a smaller number it is the library's.

    Raises:
        UnavailableError: The scheduler does not answer.
        ExecutorError: The cluster has other versions of this library or of Python.
    """

    embedded = True
    run_type = ClusterRun

    def __init__(self, where: str | Client) -> None:
        super().__init__("memory://?private=1")
        self._address, self.slots = _place(where) if isinstance(where, str) else (None, CONCURRENCY)
        self.cluster = _joined(self._address) if self._address else _cluster_of(cast("Client", where))
        self._own = Home()

    @classmethod
    def of(cls, client: Client) -> DaskExecutor:
        """The executor for a client; the same for each call with it, so that runs are found again."""
        with _lock:
            _forget_closed(_executors)
            found = _executors.get(client)
        if found is None:
            made = cls(client)
            with _lock:
                found = _executors.setdefault(client, made)
        return found

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> ClusterRun:
        """Accept a run: all of it or, if this raises, nothing.

        Raises:
            UnsupportedError: A queue of the flow has limits, which would have to hold for all clients of the cluster.
            UnavailableError: The scheduler is gone, and does not answer either to a new client.
        """
        limited = [queue for queue, limits in plan.limits.items() if limits != (None, None)]
        if limited:
            raise UnsupportedError(
                f"queue {limited[0]!r} has limits, which a Dask cluster cannot keep over all its clients: leave "
                "concurrency and rate out, or give its workers a resource of the queue's name"
            )
        if self.cluster.away:
            if self._address is None:
                raise UnavailableError("the client of the Dask cluster is not connected any more; make a new one")
            self.cluster = _joined(self._address)
        record = cast("ClusterRun", super().submit(plan, options, background=False))
        record.cluster = self.cluster
        if background:
            self._start(record)
        return record

    def handlers(self, plan: Plan[Any]) -> Sequence[Handler]:
        """The handler of each job.

        Raises:
            DefinitionError: A job's task is not known here, or its function cannot run where it is to.
        """
        made: dict[tuple[Any, bool], Handler] = {}
        problems: list[DefinitionError] = []
        for task, settings in zip(tasks_of(plan), plan.settings, strict=True):
            kind = task, settings.run_in == "process"
            if kind not in made:
                try:
                    made[kind] = ClusterHandler(task, in_process=kind[1])
                except DefinitionError as error:
                    problems.append(error)
        if problems:
            raise DefinitionError.of(problems)
        return [
            made[task, settings.run_in == "process"]
            for task, settings in zip(tasks_of(plan), plan.settings, strict=True)
        ]

    @property
    def crew_type(self) -> Callable[..., Crew]:  # type: ignore[override]
        """Who works a run off."""
        return self._new_crew

    def _new_crew(self, store: Any, run: ClusterRun, **options: Any) -> Crew:
        queues = {
            queue for part in (run.plan, *[body.plan for body in bodies_of(run.plan)]) for queue in part.queues_of
        }
        places = self.cluster.places(sorted(queues))
        return ClusterCrew(store, run, **options, cluster=self.cluster, places=places)

    def serve(self, options: WorkerOptions) -> Workshop:
        """There are no workers but those of the cluster.

        Raises:
            UnsupportedError: Always.
        """
        raise UnsupportedError("a Dask cluster has workers of its own: start them with `dask worker`")

    def close(self) -> None:
        """Close the client, if it was made here. Runs must have ended; results that were not read are gone."""
        if self._address is not None:
            self.cluster.client.close()


def _place(url: str) -> tuple[str, int]:
    """The address of the scheduler that *url* names, and how many attempts at once."""
    from urllib.parse import parse_qsl, urlsplit

    parts, spot = urlsplit(url), shown(masked(url))
    if not parts.netloc or parts.path not in ("", "/") or parts.fragment:
        raise UnknownExecutorError(f"{spot}: dask:// takes the address of a scheduler, as in dask://localhost:8786")
    slots = CONCURRENCY
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "concurrency":
            raise UnknownExecutorError(f"{spot}: dask:// has no option {shown(name)}; there is concurrency")
        if not (value.isdecimal() and len(value) < 20 and 0 < int(value) <= CONCURRENCY):
            raise UnknownExecutorError(f"{spot}: concurrency={shown(value)} must be a whole number up to {CONCURRENCY}")
        slots = int(value)
    netloc = parts.netloc if parts.port is not None else f"{parts.netloc}:8786"
    return f"tcp://{netloc}", slots


_lock = threading.Lock()
_executors: dict[Client, DaskExecutor] = {}
_clusters: dict[Client, Cluster] = {}


def _joined(address: str) -> Cluster:
    """The cluster at *address*, through a client of its own."""
    client = connected(address, CONNECT_SECONDS)
    try:
        return _cluster_of(client)
    except BaseException:
        client.close()
        raise


def _cluster_of(client: Client) -> Cluster:
    """The cluster behind *client*: asked once, and heard of by one listener."""
    with _lock:
        _forget_closed(_clusters)
        found = _clusters.get(client)
        if found is None:
            found = _clusters[client] = Cluster(client)
        return found


def _forget_closed(by_client: dict[Client, Any]) -> None:
    for client in [client for client in by_client if client.status == "closed"]:
        del by_client[client]
