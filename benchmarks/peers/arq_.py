"""arq: it has no dependencies, so the client holds a flow together: it waits for children, then queues their parent."""

import asyncio
from typing import Any

from arq import Worker, create_pool
from arq.connections import RedisSettings

from benchmarks.peers.async_ import AsyncQueued, in_turn
from benchmarks.workloads import Graph

JOBS = 50
POLL_SECONDS = 0.01


async def source(_: Any) -> int:
    return 1


async def step(_: Any, value: int) -> int:
    return value + 1


async def gather(_: Any, values: list[int]) -> int:
    return sum(values)


async def numbers(_: Any, count: int) -> list[int]:
    return list(range(count))


def work(url: str) -> None:
    settings = RedisSettings.from_dsn(url)

    async def serve() -> None:
        functions = [source, step, gather, numbers]
        await Worker(functions, redis_settings=settings, max_jobs=JOBS, poll_delay=POLL_SECONDS).async_run()

    asyncio.run(serve())


class ByHand(AsyncQueued):
    """Timed are `enqueue_job`, 50 at once, and `result`; worker and client poll every 10 ms (by default 0.5 s)."""

    async def open(self, url: str) -> Any:
        self._pool = await create_pool(RedisSettings.from_dsn(url))

    def declare(self, graph: Graph) -> Graph:
        return graph

    async def asubmit(self, declared: Graph) -> Any:
        return asyncio.create_task(self._value(declared))

    async def await_(self, submitted: Any) -> int:
        value: int = await submitted
        return value

    async def _value(self, graph: Graph) -> int:
        if graph.shape == "chain":
            (value,) = await self._map("source", [()])
            for _ in range(graph.size - 1):
                (value,) = await self._map("step", [(value,)])
            return int(value)
        if graph.shape == "growth":
            (items,) = await self._map("numbers", [(graph.size,)])
            values = await self._map("step", [(item,) for item in items])
        else:
            values = await self._map("source", [()] * graph.size)
        (total,) = await self._map("gather", [(values,)])
        return int(total)

    async def _map(self, name: str, given: list[tuple[Any, ...]]) -> list[Any]:
        jobs = await in_turn(lambda one: self._pool.enqueue_job(name, *one), given)
        return [await job.result(poll_delay=POLL_SECONDS) for job in jobs]
