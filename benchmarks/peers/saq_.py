"""SAQ: it has no dependencies, so the client holds a flow together: it waits for children, then queues their parent."""

import asyncio
from typing import Any

from saq import Queue, Worker

from benchmarks.peers.async_ import AsyncQueued
from benchmarks.workloads import Graph

CONCURRENCY = 50
POLL_SECONDS = 0.01
WAIT_SECONDS = 600


async def source(_: Any) -> int:
    return 1


async def step(_: Any, *, value: int) -> int:
    return value + 1


async def gather(_: Any, *, values: list[int]) -> int:
    return sum(values)


async def numbers(_: Any, *, count: int) -> list[int]:
    return list(range(count))


def work(url: str) -> None:
    async def serve() -> None:
        await Worker(Queue.from_url(url), functions=[source, step, gather, numbers], concurrency=CONCURRENCY).start()

    asyncio.run(serve())


class ByHand(AsyncQueued):
    """Timed are `queue.map` and `queue.apply`, which poll, here every 10 ms (0.5 s by default)."""

    async def open(self, url: str) -> Any:
        self._queue = Queue.from_url(url)
        await self._queue.connect()

    def declare(self, graph: Graph) -> Graph:
        return graph

    async def asubmit(self, declared: Graph) -> Any:
        return asyncio.create_task(self._value(declared))

    async def await_(self, submitted: Any) -> int:
        value: int = await submitted
        return value

    async def _value(self, graph: Graph) -> int:
        if graph.shape == "chain":
            value = await self._apply("source")
            for _ in range(graph.size - 1):
                value = await self._apply("step", value=value)
            return int(value)
        if graph.shape == "growth":
            items = await self._apply("numbers", count=graph.size)
            values = await self._map("step", [{"value": item} for item in items])
        else:
            values = await self._map("source", [{} for _ in range(graph.size)])
        return int(await self._apply("gather", values=values))

    async def _apply(self, name: str, **given: Any) -> Any:
        return (await self._map(name, [given]))[0]

    async def _map(self, name: str, given: list[dict[str, Any]]) -> list[Any]:
        return list(await self._queue.map(name, given, timeout=WAIT_SECONDS, poll_interval=POLL_SECONDS))
