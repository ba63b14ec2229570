"""A run whose results are on a cluster: they come home when they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from executors.dask._remote import fetched, remotes
from executors.memory._run import MemoryRun
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from executors.dask._cluster import Cluster


class ClusterRun(MemoryRun):
    """One run, decided here."""

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
