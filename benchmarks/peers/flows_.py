"""This library, on its in-process executor: from the flow (planning is timed), and from a ready plan."""

from collections.abc import Callable
from functools import cache
from typing import Any

import flows
from benchmarks.workloads import ALL_KINDS, SLOTS, Each, Graph

EXECUTOR = f"memory://?concurrency={SLOTS}"


@cache
def _task(fn: Callable[..., int]) -> flows.Task[..., int]:
    return flows.task(fn)


@flows.flow
def declared(graph: Graph) -> Any:
    """The graph as jobs; typed loosely, as its shape is data."""
    jobs: list[flows.Job[Any]] = []
    for fn, parents, listed, _ in graph.nodes:
        taken = [jobs[parent].out for parent in parents]
        if isinstance(fn, Each):
            jobs.append(flows.each(_task(fn.fn), taken[0]))
        else:
            jobs.append(_task(fn)(taken) if listed else _task(fn)(*taken))
    return tuple(jobs[root] for root in graph.roots)


class ExecuteFlow:
    """`flows.execute(flow)`: the headline."""

    name = "flows"
    timed = (
        f'flows.execute(flow, executor="{EXECUTOR}"): planning and run, until the value is read; '
        "flow declared beforehand"
    )
    kinds = ALL_KINDS | {"growth"}

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        flow = declared(graph)
        return lambda: tuple(flows.execute(flow, executor=EXECUTOR).value)

    def close(self) -> None:
        """Nothing: there is no connection."""


class ExecutePlan:
    """`flows.execute(plan)`: the same without the planning."""

    name = "flows-plan"
    timed = (
        f'flows.execute(plan, executor="{EXECUTOR}"): the run, until the value is read; '
        "flow declared and planned beforehand"
    )
    kinds = ALL_KINDS | {"growth"}

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        plan = flows.plan(declared(graph))
        return lambda: tuple(flows.execute(plan, executor=EXECUTOR).value)

    def close(self) -> None:
        """Nothing, as above."""
