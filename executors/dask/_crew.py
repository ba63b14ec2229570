"""The crew of a run on a cluster: it decides here as any crew does, and has no hands but for the library's own work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from executors._leasing import Crew
from executors._leasing._attempts import AsyncAttempt, attempts_of
from executors._leasing._calls import abandoned
from executors._leasing._loop import LoopLine
from executors.dask._attempts import Attempts
from executors.dask._cluster import Cluster
from executors.dask._remote import fetched, remotes
from executors.dask._way import lost_scheduler
from flows._binding import Pick
from flows._handlers import Clock
from flows._verbs import Grant, Settle
from flows._worker import Drain

if TYPE_CHECKING:
    from executors._leasing._crew_run import CrewRun
    from executors._store import Store
    from executors.dask._flights import Place


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
        store: Store,
        run: CrewRun,
        *,
        slots: int,
        name: str,
        on_end: Callable[[], None],
        cluster: Cluster,
        places: dict[str, Place],
    ) -> None:
        super().__init__(store, run, slots=slots, name=name, on_end=on_end)
        self._cluster = cluster
        made = self._made = Attempts(cluster, places, self.clock, self.lose, brings=run.writing is not None)
        _, self.async_attempt = attempts_of(self, made)
        if run.shares:
            self.async_attempt = self._sharing(self.async_attempt)
        self._on_loop = ClusterLine(self, slots, store)
        self._decided = self._control
        self._control = self._at_home

    def _place(self, grants: list[Grant]) -> None:
        """All but the library's own work goes to the cluster."""
        away = [grant for grant in grants if not grant.control]
        if away:
            self._on_loop.put(away)  # type: ignore[union-attr]
        if len(away) < len(grants):
            super()._place([grant for grant in grants if grant.control])

    def _pass_on(self, settle: Settle) -> Grant | None:
        """No hand goes on with what follows, as that runs on the cluster."""
        return None

    def lose(self) -> None:
        """The scheduler is gone: the run ends, or is let go of where it is kept."""
        if self.fallen is not None:
            return
        gone = lost_scheduler(self.run.id, kept=self.run.costly)
        with self._turn_lock:  # waited for: what is let go of must not be claimed again by a turn that is under way
            self.core.feed(Drain(), self.clock())
            self._carry_out()
        if self.run.costly:
            abandoned(self, gone)
            self.fallen = gone  # last: who waits may let go of the file, then
            self._close()
        else:
            self.fallen = gone  # first: who waits sees the end of the run next
            self.store.abandon(self.run, str(gone))
            self.fall(gone)

    def _sharing(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt* for runs with jobs that share their results: whether two do the same is told by what they take."""

        async def around(grant: Grant, clock: Clock) -> Settle:
            if grant.run.plan.settings[grant.job].idempotency_key is not None:
                started_at = clock()
                try:
                    await asyncio.to_thread(self._bring, grant)
                except Exception as error:
                    return self._made.not_brought(grant, "what it takes was lost", error, started_at)
            return await attempt(grant, clock)

        return around

    def _at_home(self, grant: Grant, clock: Clock) -> Settle:
        """The library's own work, which looks at values."""
        started_at = clock()
        try:
            self._bring(grant)
        except Exception as error:
            return self._made.not_brought(grant, "what it takes was lost", error, started_at)
        return self._decided(grant, clock)

    def _bring(self, grant: Grant) -> None:
        """Have the results that a job takes here, too."""
        if self.run.writing is not None:
            return
        run, values = self.run, cast("Any", self.run.values)
        conditions = run.conditions.get(grant.job, ()) if grant.control else ()
        judged = [condition.child for condition in conditions if type(condition) is Pick]
        for child in (*run.plan.inputs[grant.job], *judged):
            if remotes((values[child],)):
                values[child] = fetched(self._cluster.client, values[child])
