"""taskiq with taskiq-pipelines: a list, `map` over it, a parent that takes the results; `call_next` in a row."""

import asyncio
from typing import Any

from taskiq.api import run_receiver_task
from taskiq_pipelines import Pipeline, PipelineMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from benchmarks.peers.async_ import AsyncQueued
from benchmarks.workloads import Graph

TASKS = 50
POLL_SECONDS = 0.01


class Tasks:
    """The decorators want the broker, and that wants the place of the server."""

    def __init__(self, url: str) -> None:
        results: Any = RedisAsyncResultBackend(url, result_ex_time=3600)
        self.broker = RedisStreamBroker(url).with_result_backend(results).with_middlewares(PipelineMiddleware())
        named = self.broker.register_task
        self.source = named(_source, "source")
        self.step = named(_step, "step")
        self.one = named(_one, "one")
        self.gather = named(_gather, "gather")
        self.numbers = named(_numbers, "numbers")


async def _source() -> int:
    return 1


async def _step(value: int) -> int:
    return value + 1


async def _one(_: int) -> int:
    return 1


async def _gather(values: list[int]) -> int:
    return sum(values)


async def _numbers(count: int) -> list[int]:
    return list(range(count))


def work(url: str) -> None:
    async def serve() -> None:
        broker = Tasks(url).broker
        await broker.startup()
        await run_receiver_task(broker, max_async_tasks=TASKS)

    asyncio.run(serve())


class Pipelines(AsyncQueued):
    """Pipelines made beforehand; timed are `kiq` and `wait_result`."""

    async def open(self, url: str) -> Any:
        self._tasks = Tasks(url)
        await self._tasks.broker.startup()

    def declare(self, graph: Graph) -> Any:
        tasks, broker = self._tasks, self._tasks.broker
        if graph.shape == "chain":
            chained: Any = Pipeline(broker, tasks.source)
            for _ in range(graph.size - 1):
                chained = chained.call_next(tasks.step)
            return chained, ()
        each: Any = tasks.step if graph.shape == "growth" else tasks.one
        mapped: Any = Pipeline(broker, tasks.numbers).map(each, check_interval=POLL_SECONDS)
        return mapped.call_next(tasks.gather), (graph.size,)

    async def asubmit(self, declared: Any) -> Any:
        pipeline, given = declared
        return await pipeline.kiq(*given)

    async def await_(self, submitted: Any) -> int:
        value: int = (await submitted.wait_result(check_interval=POLL_SECONDS)).return_value
        return value
