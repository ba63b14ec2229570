"""Runs on a cluster that are kept on a Redis server, and go on from there when the cluster or this process was lost.

The process that submits or resumes a run works as a worker of the server does: it claims jobs, holds their leases, and
settles them. Only what makes the attempts is the cluster. Others that do the same beside it share the jobs of all runs.
"""

from __future__ import annotations

import functools
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._any_attempts import AnyAttempts
from executors._leasing._callers import next_name
from executors._leasing._floor import Floor
from executors._leasing._loop import LoopLine
from executors._leasing._seats import Seats
from executors._leasing._workshop import Workshop
from executors._stored import check_handlers
from executors.dask._attempts import Attempts
from executors.dask._cluster import Cluster
from executors.dask._crew import ClusterLine
from executors.dask._way import OnCluster, Way, lost_scheduler
from executors.redis._executor import RedisExecutor, RedisRecord
from flows import _registry
from flows._handlers import Clock
from flows._verbs import Grant, Settle
from flows.errors import DefinitionError
from flows.executor import RunOptions

if TYPE_CHECKING:
    from executors._leasing._attempts import AsyncAttempt
    from flows._plan import Plan

NAMESPACE: Final = "dask"
"""Where the URL of the journal does not say: the usual workers of the server must not find these jobs."""

GRACE_SECONDS: Final = 2.0
"""How long what runs on the cluster may go on when the executor is closed, before it is given back."""

RUNS_KNOWN: Final = 256


class FleetJournal(OnCluster, RedisExecutor):
    """Runs on a Redis server whose attempts are made on a Dask cluster, for the process that submits or resumes them.

    Results come home and are stored as JSON. What a process held that was killed goes to others when its leases have
    run out; what was there when the scheduler was lost, at once.

    Args:
        way: The way to the cluster.
        journal: The URL of the server.
        slots: Attempts on the cluster at once.
    """

    embedded = True
    resumes = True

    def __init__(self, way: Way, journal: str, slots: int) -> None:
        if "namespace=" not in journal:
            journal += f"{'&' if '?' in journal else '?'}namespace={NAMESPACE}"
        super().__init__(journal)
        self._way = way
        self._slots = slots
        self._lock = threading.Lock()
        self._shops: dict[str, ClusterShop] = {}
        """By queue."""

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> RedisRecord:
        """Store a run: all of it or, if this raises, nothing.

        Raises:
            UnknownTaskError: A job's task is not registered here.
            UnsupportedError: A queue of the flow has limits.
            UnavailableError: The scheduler or the server does not answer.
        """
        self.admit(plan)
        check_handlers(plan)
        record = super().submit(plan, options, background=background)
        if background:
            self._serve(record)
        return record

    def work(self, record: RedisRecord, timeout: float | None) -> bool:
        """Work the run off, and return when it has ended.

        Raises:
            UnavailableError: The scheduler was lost; the run goes on when somebody resumes it.
        """
        if not record.ended:
            self._serve(record)
        return super().work(record, timeout)

    def join(self, record: RedisRecord, *, blocks: bool = False) -> None:
        """Work the run off in background threads, if nobody here does yet."""
        if not record.ended:
            self._serve(record)
        super().join(record)

    def close(self) -> None:
        """Give back what is under way, and end the connections."""
        with self._lock:
            shops, self._shops = set(self._shops.values()), {}
        for shop in shops:
            shop.drain()
        for shop in shops:
            shop.wait()
        super().close()
        self._way.close()

    def _see_to(self, record: RedisRecord) -> None:
        super()._see_to(record)
        self._serve(record)

    def _serve(self, record: RedisRecord) -> None:
        """See that somebody here claims the jobs of the run's queues."""
        kinds = [kind for kind in record.header.kinds if not kind.is_control]
        unknown = [_registry.unknown(kind.name, kind.queue, kind.name) for kind in kinds if kind.handler() is None]
        if unknown:
            raise DefinitionError.of(unknown)
        queues = {kind.queue for kind in kinds} or {"default"}
        with self._lock:
            lost = {shop for shop in self._shops.values() if shop.lost or shop.pid != os.getpid()}
            self._shops = {queue: shop for queue, shop in self._shops.items() if shop not in lost}
            if any(shop.lost for shop in lost):
                raise lost_scheduler(record.id, kept=True)
            missing = frozenset(queues.difference(self._shops))
            if missing:
                shop = ClusterShop(self.worker_store({}), self._way.cluster(), missing, self._slots, self._stir)
                shop.start()
                self._shops |= dict.fromkeys(missing, shop)

    def _stir(self) -> None:
        """Have who waits see that the scheduler is gone."""
        for part in self.parts:
            part.ends.stir()
            part.reader.stir()


class ClusterFloor(Floor):
    """Waits on the loop for all handlers."""

    distant = True

    def new_line(self) -> LoopLine:
        """Where attempts stand in line."""
        return ClusterLine(self, self.slots)


class ClusterAttempts(AnyAttempts):
    """Makes attempts by *attempt*."""

    def __init__(self, store: Any, worker: str, over: threading.Event, attempt: AsyncAttempt) -> None:
        super().__init__(store, worker, Seats(1), over)
        self._perform_async = store.writing.around_async(attempt)


class ClusterShop(Workshop):
    """Claims jobs as a worker does, and has the cluster make the attempts.

    Args:
        queues: Whose jobs.
        on_loss: Called once when the scheduler is gone.

    Attributes:
        lost: Whether it is.
        pid: The process whose threads these are.
    """

    floor_type = ClusterFloor

    def __init__(
        self, store: Any, cluster: Cluster, queues: frozenset[str], slots: int, on_loss: Callable[[], None]
    ) -> None:
        self._cluster = cluster
        self._on_loss = on_loss
        self._places = cluster.places(sorted(queues))
        self.lost, self.pid = False, os.getpid()
        name = f"{socket.gethostname()}-{next_name()}"
        about: dict[str, Any] = {"grace": GRACE_SECONDS, "processes": 1, "ahead": False, "logs_jobs": True}
        super().__init__(store, name=name, queues=queues, slots=slots, **about)

    def new_attempts(self, seats: Seats, over: threading.Event) -> AnyAttempts:
        """What makes the attempts."""
        made = functools.lru_cache(RUNS_KNOWN)(self._attempts_of)

        async def attempt(grant: Grant, clock: Clock) -> Settle:
            return await made(grant.run.id)(grant, clock)

        return ClusterAttempts(self.store, self.name, over, attempt)

    def _attempts_of(self, run_id: str) -> Attempts:
        return Attempts(self._cluster, self._places, self.clock, self._lose_scheduler, brings=True)

    def _lose_scheduler(self) -> None:
        if not self.lost:
            self.lost = True
            self.drain()
            self._on_loss()
