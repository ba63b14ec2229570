"""DBOS: a workflow whose steps are durable, in a SQLite file; one step a job, one after the other."""

from collections.abc import Callable
from typing import Any

from dbos import DBOS

from benchmarks.workloads import Each, Graph, gather, join, shaped, source, step

_FUNCTIONS: dict[str, Callable[..., Any]] = {fn.__name__: fn for fn in (source, step, join, gather)}


@DBOS.step()
def job(name: str, taken: list[Any]) -> Any:
    """One durable step."""
    return _FUNCTIONS[name](*taken)


@DBOS.step()
def numbers(count: int) -> list[int]:
    """The list that is known only at run time."""
    return list(range(count))


@DBOS.workflow()
def run(shape: str, size: int) -> list[int]:
    """Steps in the order of the graph, as a workflow calls them: its own code hands results on."""
    graph = shaped(shape, size)
    made: list[Any] = []
    for fn, parents, listed, _ in graph.nodes:
        taken = [made[parent] for parent in parents]
        if isinstance(fn, Each):
            made.append([job("step", [item]) for item in taken[0]])
        elif graph.shape == "growth" and not parents:
            made.append(numbers(size))
        elif listed:
            made.append(job("gather", taken if shape == "growth" else [taken]))
        else:
            made.append(job(fn.__name__, taken))
    return [made[root] for root in graph.roots]


class Workflow:
    """A call of the workflow."""

    def __init__(self, folder: str) -> None:
        url = f"sqlite:///{folder}/dbos.db"
        DBOS(config={"name": "contest", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
        DBOS.launch()

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        return lambda: tuple(run(graph.shape, graph.size))

    def close(self) -> None:
        DBOS.destroy()
