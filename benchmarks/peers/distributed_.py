"""Dask's distributed scheduler on a cluster of this machine, as it comes: scheduler here, a worker process a core."""

import os
from collections.abc import Callable
from itertools import count
from typing import Any

from distributed import Client, LocalCluster, worker_client

from benchmarks.workloads import Each, Graph

_runs = count()


def local_cluster() -> Any:
    """The cluster that `LocalCluster()` makes on a machine of few cores: of processes with one thread each."""
    return LocalCluster(n_workers=os.cpu_count(), threads_per_worker=1, processes=True, dashboard_address=None)


def _each(fn: Callable[[int], int], items: list[int]) -> list[int]:
    with worker_client() as client:
        return list(client.gather(client.map(fn, items)))


class Cluster:
    """`client.get` on a dict graph made beforehand, with keys of its own for each run: no result is found again."""

    def __init__(self) -> None:
        self._cluster = local_cluster()
        self._client = Client(self._cluster)

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        prefix = f"run-{next(_runs)}"
        tasks: dict[str, tuple[Any, ...]] = {}
        for index, (fn, parents, listed, _) in enumerate(graph.nodes):
            keys = [f"{prefix}-{parent}" for parent in parents]
            called = (_each, fn.fn) if isinstance(fn, Each) else (fn,)
            tasks[f"{prefix}-{index}"] = (*called, keys) if listed else (*called, *keys)
        roots = [f"{prefix}-{root}" for root in graph.roots]
        return lambda: tuple(self._client.get(tasks, roots))

    def close(self) -> None:
        self._client.close()
        self._cluster.close()
