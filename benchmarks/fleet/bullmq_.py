"""BullMQ on Python: `python bullmq_.py client PORT DATABASE`, or `worker`; see `drivers`.

Run by the interpreter of an environment that has BullMQ and nothing of ours, so it stands alone.
"""

import asyncio
import json
import sys
import time
from typing import Any

from bullmq import FlowProducer, QueueEvents, Worker

SLOTS = 50


def connection(port: str, database: str) -> dict[str, Any]:
    """Blocking commands last up to ten seconds, longer than the client's own default timeout."""
    return {"host": "127.0.0.1", "port": int(port), "db": int(database), "socket_timeout": 30}


async def handle(job: Any, token: str) -> int:
    if job.name == "source":
        return 1
    values = await job.getChildrenValues()
    total: int = sum(values.values())
    return total + 1 if job.name == "step" else total


def declared(name: str, queue: str, children: list[Any] | None = None) -> dict[str, Any]:
    job: dict[str, Any] = {"name": name, "queueName": queue, "data": {}}
    return job | {"children": children} if children else job


def fan_in(width: int) -> dict[str, Any]:
    return declared("gather", "roots", [declared("source", "bench") for _ in range(width)])


def chain(length: int) -> dict[str, Any]:
    last = declared("source", "bench")
    for place in range(1, length):
        last = declared("step", "roots" if place == length - 1 else "bench", [last])
    return last


async def work(*server: str) -> None:
    """Roots have a queue of their own, so that the client hears of no other jobs."""
    options = {"connection": connection(*server), "concurrency": SLOTS}
    workers = [Worker(queue, handle, options) for queue in ("bench", "roots")]
    print("ready", flush=True)
    await asyncio.Event().wait()
    del workers


class Client:
    def __init__(self, *server: str) -> None:
        self.producer = FlowProducer(connection(*server))
        self.events = QueueEvents("roots", {"connection": connection(*server)})
        self.values: dict[str, asyncio.Future[int]] = {}
        self.events.on("completed", lambda args, _: self.result(args["jobId"]).set_result(args["returnvalue"]))

    def result(self, job: str) -> "asyncio.Future[int]":
        if job not in self.values:
            self.values[job] = asyncio.get_running_loop().create_future()
        return self.values[job]

    async def run(self, flow: dict[str, Any]) -> int:
        return await self.result((await self.producer.add(flow))["job"].id)

    async def orders(self, flows: list[dict[str, Any]]) -> int:
        nodes = await self.producer.addBulk(flows)
        return sum([await self.result(node["job"].id) for node in nodes])


async def turn(client: Client, shape: str, size: int, calls: int) -> dict[str, Any]:
    seconds, value = [], 0
    for _ in range(calls):
        many = [fan_in(3) for _ in range(size if shape == "orders" else 0)]
        flow = chain(size) if shape == "chain" else fan_in(size)
        began = time.perf_counter()
        value = await (client.orders(many) if many else client.run(flow))
        seconds.append(time.perf_counter() - began)
        client.values.clear()
    return {"seconds": seconds, "value": value}


async def serve(*server: str) -> None:
    client = Client(*server)
    await asyncio.sleep(1)  # nothing tells when its events are being read
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await turn(client, **json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run({"worker": work, "client": serve}[sys.argv[1]](*sys.argv[2:]))
