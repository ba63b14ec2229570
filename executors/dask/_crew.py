"""The crew of a run on a cluster: it decides here as any crew does, and has no hands but for the library's own work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from executors._leasing import Crew
from executors._leasing._attempts import AsyncAttempt
from executors._leasing._loop import LoopLine
from executors._leasing._sharing import Sharing
from executors.dask._attempts import Attempts
from executors.dask._cluster import Cluster
from executors.dask._remote import fetched, remotes
from flows._binding import Pick
from flows._control import control
from flows._verbs import Grant, Settle

if TYPE_CHECKING:
    from executors.dask._cluster import Place
    from executors.memory import MemoryStore
    from executors.memory._run import MemoryRun


class ClusterLine(LoopLine):
    """Attempts that are under way. Their timeouts are looked after where they run."""

    async def _attend_timed(self, grant: Grant, timeout: float) -> None:
        await self._attend(grant)


class ClusterCrew(Crew):
    """Works one run off on a cluster.

    Args:
        cluster: Where.
        places: Where the jobs of queues run, if not anywhere.
    """

    def __init__(
        self,
        store: MemoryStore,
        run: MemoryRun,
        *,
        slots: int,
        name: str,
        on_end: Callable[[], None],
        cluster: Cluster,
        places: dict[str, Place],
    ) -> None:
        super().__init__(store, run, slots=slots, name=name, on_end=on_end)
        self._cluster = cluster
        attempt: AsyncAttempt = Attempts(cluster, self, places)
        if run.tracing is not None:
            attempt = run.tracing.around_async(attempt, name)
        if run.shares:
            attempt = self._sharing(attempt)
        self.async_attempt = attempt
        self._on_loop = ClusterLine(self, slots, store)
        self._control = self._at_home

    def _sharing(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt* for runs with jobs that share their results: whether two do the same is told by what they take."""
        shared = Sharing(self.store).around_async(attempt)

        async def around(grant: Grant, clock: Callable[[], float]) -> Settle:
            if grant.run.plan.settings[grant.job].idempotency_key is not None:
                await asyncio.to_thread(self._bring, grant)
            return await shared(grant, clock)

        return around

    def _at_home(self, grant: Grant, clock: Callable[[], float]) -> Settle:
        """The library's own work, which looks at values."""
        self._bring(grant)
        return control(grant, clock)

    def _bring(self, grant: Grant) -> None:
        """Have the results that a job takes here, too."""
        run, values = self.run, cast("Any", self.run.values)
        conditions = run.conditions.get(grant.job, ()) if grant.control else ()
        judged = [condition.child for condition in conditions if type(condition) is Pick]
        for child in (*run.plan.inputs[grant.job], *judged):
            if remotes((values[child],)):
                values[child] = fetched(self._cluster.client, values[child])
