"""Prefect, with the server that it starts for itself when there is none: a task run for each job, in threads."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

os.environ.update(
    PREFECT_HOME=tempfile.mkdtemp(),
    PREFECT_LOGGING_LEVEL="ERROR",
    PREFECT_LOGGING_SERVER_LEVEL="ERROR",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="100",
)

from prefect import flow, task

from benchmarks.workloads import Each, Graph

_tasks: dict[str, Any] = {}


def _task(fn: Callable[..., Any]) -> Any:
    name = fn.__name__
    if name not in _tasks:
        _tasks[name] = task(fn, name=name)
    return _tasks[name]


@flow
def run(graph: Any) -> list[int]:
    """Submit each job with the futures of those before it; a list is mapped over when it is there."""
    made: list[Any] = []
    for fn, parents, listed, _ in graph.nodes:
        taken = [made[parent] for parent in parents]
        if isinstance(fn, Each):
            made.append(_task(fn.fn).map(taken[0].result()))
        elif listed:
            made.append(_task(fn).submit(taken[0] if graph.shape == "growth" else taken))
        else:
            made.append(_task(fn).submit(*taken))
    return [made[root].result() for root in graph.roots]


class Flows:
    """A call of the flow function."""

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        _tasks.pop("numbers", None)  # of each list its own
        return lambda: tuple(run(graph))

    def close(self) -> None:
        """Nothing: its server ends with the process."""
