"""This library: in process, from the flow (planning is timed) and from a ready plan; in a file; over Redis."""

import asyncio
from collections.abc import Callable
from functools import cache
from typing import Any

import flows
from benchmarks.peers import Queued
from benchmarks.workloads import ALL_KINDS, SLOTS, Each, Graph, gather, join, source, step

EXECUTOR = f"memory://?concurrency={SLOTS}"
QUEUE = "contest"
MAX_JOBS = 1_000_000


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


class InFile:
    """`flows.execute(flow)` on SQLite, each result on the disk before what depends on it starts."""

    def __init__(self, folder: str) -> None:
        self._url = f"sqlite:///{folder}/runs.db?synchronous=full&max_jobs={MAX_JOBS}"

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        flow = declared(graph)
        return lambda: tuple(flows.execute(flow, executor=self._url).value)

    def close(self) -> None:
        """Nothing: files are closed when the process ends."""


@cache
def _over_redis() -> dict[str, flows.Task[..., Any]]:
    def numbers(count: int) -> list[int]:
        return list(range(count))

    return {fn.__name__: flows.task(fn, queue=QUEUE) for fn in (source, step, join, gather, numbers)}


@flows.flow
def for_workers(graph: Graph) -> Any:
    """The graph as jobs that workers elsewhere find by the names of their tasks."""
    tasks = _over_redis()
    if graph.shape == "growth":
        return tasks["gather"](flows.each(tasks["step"], tasks["numbers"](graph.size).out))
    jobs: list[flows.Job[Any]] = []
    for fn, parents, listed, _ in graph.nodes:
        taken = [jobs[parent].out for parent in parents]
        jobs.append(tasks[fn.__name__](taken) if listed else tasks[fn.__name__](*taken))
    roots = graph.roots
    return jobs[roots[0]] if len(roots) == 1 else tuple(jobs[root] for root in roots)


def work(url: str) -> None:
    """A worker process."""
    _over_redis()
    flows.Worker(executor=f"{url}?max_jobs={MAX_JOBS}", queues=[QUEUE], concurrency=SLOTS).run()


class OverRedis(Queued):
    """`flows.submit(flow)`, many by `flows.asubmit`, and `run.wait()`; handlers run in a worker process."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}?max_jobs={MAX_JOBS}"

    def declare(self, graph: Graph) -> Any:
        return for_workers(graph)

    def submit(self, declared: Any) -> Any:
        return flows.submit(declared, executor=self._url)

    def wait(self, submitted: Any) -> int:
        value: int = submitted.wait().value
        return value

    def prepare_many(self, graph: Graph, copies: int) -> Callable[[], int]:
        declared = [self.declare(graph) for _ in range(copies)]
        return lambda: sum([self.wait(run) for run in asyncio.run(self._submitted(declared))])

    async def _submitted(self, declared: list[Any]) -> list[Any]:
        return list(await asyncio.gather(*[flows.asubmit(flow, executor=self._url) for flow in declared]))

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        flow = for_workers(graph)
        several = len(graph.roots) > 1
        return lambda: tuple(self._value(flow)) if several else (self._value(flow),)

    def _value(self, flow: Any) -> Any:
        return self.submit(flow).wait().value
