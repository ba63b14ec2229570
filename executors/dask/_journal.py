"""Runs on a cluster that are kept in a file, and go on from it when the cluster or this process was lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from executors.dask._crew import ClusterCrew
from executors.dask._way import OnCluster, Way
from executors.sqlite import SqliteExecutor

if TYPE_CHECKING:
    from executors._leasing import Crew
    from executors.sqlite._executor import SqliteRecord
    from executors.sqlite._worked import WorkedRun
    from flows._plan import Plan
    from flows.executor import RunOptions


class JournaledExecutor(OnCluster, SqliteExecutor):
    """Runs in a SQLite file whose attempts are made on a Dask cluster.

    Results come home and are stored as JSON, as those of ``sqlite://`` are; what had completed is not done again.

    Args:
        way: The way to the cluster.
        journal: The URL of the file.
        slots: Attempts of a run on the cluster at once.
    """

    def __init__(self, way: Way, journal: str, slots: int) -> None:
        super().__init__(journal)
        self.slots = slots
        self._way = way

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> SqliteRecord:
        """Store a run: all of it or, if this raises, nothing.

        Raises:
            UnsupportedError: A queue of the flow has limits.
            UnavailableError: The scheduler does not answer.
        """
        self.admit(plan)
        record = super().submit(plan, options, background=False)
        if background:
            self.join(record)
        return record

    @property
    def crew_type(self) -> Callable[..., Crew]:  # type: ignore[override]
        """Who works a run off."""
        return self._new_crew

    def _new_crew(self, store: Any, run: Any, **options: Any) -> Crew:
        cluster = self._way.cluster()
        places = cluster.places(sorted({kind.queue for kind in run.header.kinds if not kind.is_control}))
        return ClusterCrew(store, run, **options, cluster=cluster, places=places)

    def _check_loop(self, run: WorkedRun) -> None:
        run.prepare()
        run.has_async = True  # all of its jobs are waited for on the loop
        super()._check_loop(run)

    def close(self) -> None:
        """Let go of the file and of the cluster."""
        super().close()
        self._way.close()
