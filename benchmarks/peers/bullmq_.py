"""BullMQ on Python: `FlowProducer.add`, many flows by `addBulk`; a job that grows adds children and waits for them."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

from bullmq import FlowProducer, Queue, QueueEvents, WaitingChildrenError, Worker

from benchmarks.peers.async_ import AsyncQueued
from benchmarks.workloads import Graph

SLOTS = 50
READING_SECONDS = 1.0
"""Nothing tells when the client's events are being read."""


def connection(url: str) -> dict[str, Any]:
    """Blocking commands last up to ten seconds, longer than redis-py's own limit."""
    place = urlsplit(url)
    return {"host": place.hostname, "port": place.port, "db": int(place.path[1:]), "socket_timeout": 30}


def declared(name: str, queue: str, children: list[Any] | None = None, **data: Any) -> dict[str, Any]:
    job: dict[str, Any] = {"name": name, "queueName": queue, "data": data}
    return job | {"children": children} if children else job


def work(url: str) -> None:
    options: dict[str, Any] = {"connection": connection(url), "concurrency": SLOTS}

    async def serve() -> None:
        bench = Queue("bench", {"connection": connection(url)})

        async def grow(job: Any, token: str) -> int:
            if "numbers" in job.data:
                count = job.data["numbers"]
                await job.updateData({})
                parent = {"id": job.id, "queue": f"bull:{job.queue.name}"}
                await bench.addBulk(
                    [{"name": "child", "data": {"value": one}, "opts": {"parent": parent}} for one in range(count)]
                )
                if await job.moveToWaitingChildren(token, {}):
                    raise WaitingChildrenError
            return sum((await job.getChildrenValues()).values())

        async def handle(job: Any, token: str) -> int:
            match job.name:
                case "source":
                    return 1
                case "child":
                    return int(job.data["value"]) + 1
                case "grow":
                    return await grow(job, token)
            total: int = sum((await job.getChildrenValues()).values())
            return total + 1 if job.name == "step" else total

        # Roots have a queue of their own, so that the client hears of no other jobs.
        workers = [Worker(queue, handle, options) for queue in ("bench", "roots")]
        await asyncio.Event().wait()
        del workers

    asyncio.run(serve())


class Producer(AsyncQueued):
    """Trees made beforehand; timed are `add` or `addBulk`, and the wait for the events of the roots."""

    async def open(self, url: str) -> Any:
        self._producer = FlowProducer(connection(url))
        self._values: dict[str, asyncio.Future[int]] = {}
        self._events = QueueEvents("roots", {"connection": connection(url)})
        self._events.on("completed", lambda told, _: self._value(told["jobId"]).set_result(told["returnvalue"]))
        await asyncio.sleep(READING_SECONDS)

    def declare(self, graph: Graph) -> Any:
        match graph.shape:
            case "chain":
                last = declared("source", "bench")
                for place in range(1, graph.size):
                    last = declared("step", "roots" if place == graph.size - 1 else "bench", [last])
                return last
            case "growth":
                return declared("grow", "roots", numbers=graph.size)
        return declared("gather", "roots", [declared("source", "bench") for _ in range(graph.size)])

    async def asubmit(self, declared: Any) -> Any:
        return (await self._producer.add(declared))["job"].id

    async def await_(self, submitted: Any) -> int:
        value = await self._value(submitted)
        del self._values[submitted]
        return value

    async def all_of(self, declared: list[Any]) -> list[int]:
        return [await self.await_(node["job"].id) for node in await self._producer.addBulk(declared)]

    def _value(self, job: str) -> "asyncio.Future[int]":
        if job not in self._values:
            self._values[job] = asyncio.get_running_loop().create_future()
        return self._values[job]
