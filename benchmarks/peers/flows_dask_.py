"""This library on a Dask cluster: the one that plain `distributed` is measured on."""

from collections.abc import Callable
from typing import Any

from distributed import Client

import flows
from benchmarks.peers.distributed_ import local_cluster
from benchmarks.peers.flows_ import declared
from benchmarks.workloads import Graph


class OnCluster:
    """`flows.execute(flow)` with the client of the cluster as executor, until the values are here."""

    def __init__(self) -> None:
        self._cluster = local_cluster()
        self._client: Any = Client(self._cluster)

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        flow = declared(graph)
        return lambda: tuple(flows.execute(flow, executor=self._client).value)

    def close(self) -> None:
        self._client.close()
        self._cluster.close()
