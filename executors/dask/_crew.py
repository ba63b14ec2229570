"""The crew of a run on a cluster: it decides here as any crew does, and has no hands but for the library's own work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from executors._leasing import Crew
from executors._leasing._attempts import AsyncAttempt
from executors._leasing._calls import abandoned
from executors._leasing._loop import LoopLine
from executors._leasing._sharing import Sharing
from executors.dask._attempts import Attempts
from executors.dask._cluster import Cluster, lost_scheduler
from executors.dask._remote import Remote, fetched, remotes
from flows._binding import Pick
from flows._verbs import End, FailedSettle, Grant, Settle
from flows._worker import Drain
from flows.errors import LeaseLostError

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
        attempt: AsyncAttempt = Attempts(cluster, self, places)
        if run.writing is not None:
            attempt = run.writing.around_async(self._homing(attempt))
        if run.tracing is not None:
            attempt = run.tracing.around_async(attempt, name)
        if run.shares:
            attempt = self._sharing(attempt)
        self.async_attempt = attempt
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

    def _homing(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt* for runs that are kept here: results are brought home, to be written down."""

        async def around(grant: Grant, clock: Callable[[], float]) -> Settle:
            settle = await attempt(grant, clock)
            if type(settle.value) is not Remote:
                return settle
            try:
                settle.value = await self._cluster.bring(settle.value)
            except Exception as error:
                return self._not_brought(grant, "its result was lost", error, settle.started_at)
            return settle

        return around

    def _sharing(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt* for runs with jobs that share their results: whether two do the same is told by what they take."""
        shared = Sharing(self.store).around_async(attempt)

        async def around(grant: Grant, clock: Callable[[], float]) -> Settle:
            if grant.run.plan.settings[grant.job].idempotency_key is not None:
                started_at = clock()
                try:
                    await asyncio.to_thread(self._bring, grant)
                except Exception as error:
                    return self._not_brought(grant, "what it takes was lost", error, started_at)
            return await shared(grant, clock)

        return around

    def _at_home(self, grant: Grant, clock: Callable[[], float]) -> Settle:
        """The library's own work, which looks at values."""
        started_at = clock()
        try:
            self._bring(grant)
        except Exception as error:
            return self._not_brought(grant, "what it takes was lost", error, started_at)
        return self._decided(grant, clock)

    def _not_brought(self, grant: Grant, what: str, error: Exception, started_at: float) -> Settle:
        """A result did not come from the cluster."""
        if self._cluster.away:
            self.lose()
            return Settle(grant, End.RELEASED, None, started_at, self.clock())
        lost = LeaseLostError(f"{what}: {type(error).__name__}: {error}", job=grant.run.plan.ids[grant.job])
        return FailedSettle(grant, End.LOST, lost, started_at, self.clock())

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
