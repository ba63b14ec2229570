"""Who is measured. A peer makes a graph ready (not timed) and gives back the call that is timed."""

from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Protocol

from benchmarks.workloads import Graph, Kind


class Peer(Protocol):
    """One way to run a graph.

    Attributes:
        timed: What lies inside the timing, for the report.
        kinds: The kinds of workload that it takes part in.
    """

    name: str
    timed: str
    kinds: frozenset[Kind]

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        """Everything that is not timed; afresh for each run. The call returns the values of the roots."""
        ...

    def close(self) -> None:
        """End what it holds open."""
        ...


PEERS = {
    "flows": ("benchmarks.peers.flows_", "ExecuteFlow"),
    "flows-plan": ("benchmarks.peers.flows_", "ExecutePlan"),
    "dask": ("benchmarks.peers.dask_", "DaskThreaded"),
    "dask-chunked": ("benchmarks.peers.dask_", "DaskChunked"),
    "asyncio": ("benchmarks.peers.asyncio_", "AsyncioLoop"),
}


def load(names: Iterable[str] = PEERS) -> tuple[list[Peer], dict[str, str]]:
    """The peers that can be imported here, and for each of the others why not."""
    found: list[Peer] = []
    missing: dict[str, str] = {}
    for name in names:
        module, attribute = PEERS[name]
        try:
            found.append(getattr(import_module(module), attribute)())
        except ImportError as error:
            missing[name] = str(error)
    return found, missing
