"""Who is measured. A peer makes a graph ready (not timed) and gives back the call that is timed.

`PEERS` are those in the environment and the process of the benchmarks. All the others, and what they need, are in
`benchmarks.contest.contenders`: they are peers by the same protocol, in processes and environments of their own.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, Protocol

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


class Queued:
    """A peer whose flows are handed to workers: many can be handed over before the first is waited for.

    A peer says how a graph is written in its own words (`declare`), handed over (`submit`) and waited for (`wait`).
    """

    @abstractmethod
    def declare(self, graph: Graph) -> Any:
        """What the peer is handed; afresh for each run, and not timed."""

    @abstractmethod
    def submit(self, declared: Any) -> Any:
        """Hand it over; what comes back can be waited for."""

    @abstractmethod
    def wait(self, submitted: Any) -> int:
        """The value of its only root."""

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        """One flow: submitted and waited for."""
        declared = self.declare(graph)
        return lambda: (self.wait(self.submit(declared)),)

    def prepare_many(self, graph: Graph, copies: int) -> Callable[[], int]:
        """So many flows: all submitted, then all waited for. The call returns the sum of their values."""
        declared = [self.declare(graph) for _ in range(copies)]
        return lambda: sum([self.wait(one) for one in [self.submit(flow) for flow in declared]])

    def close(self) -> None:
        """Nothing, for most: connections end with the process."""


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
