"""streaq: `start(after=[...])` for edges, `then` for jobs in a row. `after` passes no results: such jobs return 1."""

from typing import Any

from streaq import Worker

from benchmarks.peers.async_ import AsyncQueued
from benchmarks.workloads import Graph

CONCURRENCY = 50


class Tasks:
    """The decorators want the worker, and that wants the place of the server."""

    def __init__(self, url: str) -> None:
        self.worker: Any = Worker(redis_url=url, concurrency=CONCURRENCY)

        async def source() -> int:
            return 1

        async def step(value: int) -> int:
            return value + 1

        async def join() -> int:
            return 1

        self.source = self.worker.task(source)
        self.step = self.worker.task(step)
        self.join = self.worker.task(join)


def work(url: str) -> None:
    Tasks(url).worker.run_sync()


class Dependent(AsyncQueued):
    """Tasks made beforehand; timed are `enqueue_many` for those without parents, each of the others, and `result`."""

    async def open(self, url: str) -> Any:
        self._tasks = Tasks(url)
        return self._tasks.worker

    def declare(self, graph: Graph) -> Any:
        tasks = self._tasks
        if graph.shape == "chain":
            chained = tasks.source.enqueue()
            for _ in range(graph.size - 1):
                chained = chained.then(tasks.step)
            return [], [chained], [chained]
        made: list[Any] = []
        for node in graph.nodes:
            if node.parents:
                made.append(tasks.join.enqueue().start(after=[made[parent].id for parent in node.parents]))
            else:
                made.append(tasks.source.enqueue())
        heads = sum(not node.parents for node in graph.nodes)
        return made[:heads], made[heads:], [made[root] for root in graph.roots]

    async def asubmit(self, declared: Any) -> Any:
        heads, others, roots = declared
        if heads:
            await self._tasks.worker.enqueue_many(heads)
        for one in others:
            await one
        return roots

    async def await_(self, submitted: Any) -> int:
        value = 0
        for root in submitted:
            value = (await root.result()).result
        return value
