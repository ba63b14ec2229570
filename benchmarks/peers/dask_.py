"""Dask's threaded scheduler on a raw dict graph: its leanest way in, without `delayed` or collections."""

from collections.abc import Callable
from typing import Any

import dask.threaded
from dask._task_spec import convert_legacy_graph

from benchmarks.workloads import ALL_KINDS, NO_OPS, Graph

CHUNK = 64


class DaskThreaded:
    """`dask.threaded.get`, on its standing pools: one thread a core, or as many as the graph has slots."""

    name = "dask"
    timed = (
        "dask.threaded.get(dict, roots): its own ordering and run, on a standing pool (one thread a core; "
        "50 threads for the blocking workload); dict graph built beforehand"
    )
    kinds = ALL_KINDS

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        tasks, roots = _declared(graph)
        return lambda: tuple(dask.threaded.get(tasks, roots, num_workers=graph.slots))

    def close(self) -> None:
        """Nothing: the pools are Dask's, for the life of the process."""


class DaskChunked:
    """The same, handing jobs to its threads in batches.

    Not the default, since a batch runs one job after the other: blocking handlers no longer overlap and a
    slow one delays those behind it, so only no-ops are run this way. Here so that the figures against the
    default are not taken for figures against the best that Dask can do with no-ops.
    """

    name = "dask-chunked"
    timed = f"as dask, with chunksize={CHUNK}; no-ops only"
    kinds = NO_OPS

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        tasks, roots = _declared(graph)
        return lambda: tuple(dask.threaded.get(tasks, roots, chunksize=CHUNK))

    def close(self) -> None:
        """Nothing, as above."""


class DaskPrepared:
    """The same on a graph that has been made ready: each dict of tuples that is handed over is made so first.

    Dask's own collections make their graphs in this form; that of tuples is older, and costs up to a quarter more.
    """

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        tasks, roots = _declared(graph)
        ready = convert_legacy_graph(tasks)
        return lambda: tuple(dask.threaded.get(ready, roots))

    def close(self) -> None:
        """Nothing, as above."""


def _declared(graph: Graph) -> tuple[dict[str, tuple[Any, ...]], list[str]]:
    tasks: dict[str, tuple[Any, ...]] = {}
    for index, (fn, parents, listed, _) in enumerate(graph.nodes):
        keys = [f"job-{parent}" for parent in parents]
        tasks[f"job-{index}"] = (fn, keys) if listed else (fn, *keys)
    return tasks, [f"job-{root}" for root in graph.roots]
