"""Ray on this machine: a remote task for each job, which takes the references of those before it."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.setdefault("RAY_raylet_start_wait_time_s", "100")

import ray

from benchmarks.workloads import Graph, gather, join, source, step

PROCESSORS = 2
STORE_BYTES = 200_000_000


def numbers(count: int) -> list[int]:
    return list(range(count))


def listed(*values: int) -> int:
    return gather(list(values))


class Local:
    """Timed are the calls of `remote`, one a job, and `ray.get` of the roots."""

    def __init__(self) -> None:
        ray.init(
            num_cpus=PROCESSORS,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            _temp_dir=tempfile.gettempdir(),
        )
        remotes = {fn.__name__: ray.remote(fn) for fn in (source, step, join, numbers, listed)}
        stepped = remotes["step"]

        def each(items: list[int]) -> int:
            return sum(ray.get([stepped.remote(item) for item in items]))

        self._remote: dict[str, Any] = remotes | {"each": ray.remote(each)}

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        if graph.shape == "growth":
            return lambda: (self._grown(graph.size),)
        return lambda: self._run(graph)

    def _run(self, graph: Graph) -> tuple[int, ...]:
        made: list[Any] = []
        for node in graph.nodes:
            remote = self._remote["listed" if node.listed else node.fn.__name__]
            made.append(remote.remote(*(made[parent] for parent in node.parents)))
        return tuple(ray.get([made[root] for root in graph.roots]))

    def _grown(self, size: int) -> int:
        value: int = ray.get(self._remote["each"].remote(self._remote["numbers"].remote(size)))
        return value

    def close(self) -> None:
        ray.shutdown()
