"""Hamilton: a function for each job, whose parameters bear the names of the functions that it takes results of."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hamilton import driver
from hamilton.htypes import Collect, Parallelizable

from benchmarks.workloads import Graph, gather, join, source, step

_GROWTH = """
def item() -> Parallelizable[int]:
    yield from range({size})
def stepped(item: int) -> int:
    return step(item)
def total(stepped: Collect[int]) -> int:
    return sum(stepped)
"""


class Drivers:
    """The functions are written beforehand; timed are building a driver, which plans, and `execute`."""

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        grows = graph.shape == "growth"
        module = _module(_GROWTH.format(size=graph.size) if grows else _written(graph))
        roots = ["total"] if grows else [f"job_{root}" for root in graph.roots]

        def run() -> tuple[int, ...]:
            builder = driver.Builder().with_modules(module)
            if grows:
                builder = builder.enable_dynamic_execution(allow_experimental_mode=True)
            results: dict[str, Any] = builder.build().execute(roots)
            return tuple(int(results[root]) for root in roots)

        return run

    def close(self) -> None:
        """Nothing: it has no threads."""


def _written(graph: Graph) -> str:
    lines = []
    for index, node in enumerate(graph.nodes):
        taken = [f"job_{parent}" for parent in node.parents]
        names = ", ".join(taken)
        given = f"[{names}]" if node.listed else names
        head = ", ".join(f"{name}: int" for name in taken)
        lines.append(f"def job_{index}({head}) -> int:\n    return {node.fn.__name__}({given})\n")
    return "".join(lines)


def _module(text: str) -> ModuleType:
    module = ModuleType("contest_functions")
    vars(module).update(source=source, step=step, join=join, gather=gather)
    vars(module).update(Parallelizable=Parallelizable, Collect=Collect)
    sys.modules[module.__name__] = module  # it takes those functions only whose module it finds there
    exec(compile(text, module.__name__, "exec"), vars(module))  # what stands there was written above
    return module
