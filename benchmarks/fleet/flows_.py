"""This library over Redis: `python -m benchmarks.fleet.flows_ client PORT DATABASE`, or `worker`; see `drivers`."""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import flows
from benchmarks.workloads import gather, source, step

SLOTS = 50
QUEUE = "bench"
MAX_JOBS = 1_000_000

sources: flows.Task[[], int] = flows.task(source, queue=QUEUE)
steps: flows.Task[[int], int] = flows.task(step, queue=QUEUE)
gathers: flows.Task[[list[int]], int] = flows.task(gather, queue=QUEUE)


@flows.flow
def fan_in(width: int) -> flows.Job[int]:
    return gathers([sources().out for _ in range(width)])


@flows.flow
def chain(length: int) -> flows.Job[int]:
    last = sources()
    for _ in range(length - 1):
        last = steps(last.out)
    return last


def work(url: str) -> None:
    worker = flows.Worker(executor=url, queues=[QUEUE], concurrency=SLOTS)
    print("ready", flush=True)
    worker.run()


def turn(url: str, shape: str, size: int, calls: int) -> dict[str, Any]:
    seconds, value = [], 0
    for _ in range(calls):
        declared = (
            [fan_in(3) for _ in range(size)] if shape == "orders" else [{"chain": chain}.get(shape, fan_in)(size)]
        )
        began = time.perf_counter()
        if len(declared) > 1:
            runs = asyncio.run(submitted(declared, url))
        else:
            runs = [flows.submit(flow, executor=url) for flow in declared]
        for run in runs:
            run.wait()
        value = sum(run.value for run in runs)
        seconds.append(time.perf_counter() - began)
    return {"seconds": seconds, "value": value}


async def submitted(declared: Sequence[Any], url: str) -> list[flows.Run[Any]]:
    """All of them at the same time."""
    return await asyncio.gather(*[flows.asubmit(flow, executor=url) for flow in declared])


def serve(url: str) -> None:
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(turn(url, **json.loads(line))), flush=True)


if __name__ == "__main__":
    role, port, database = sys.argv[1:]
    {"worker": work, "client": serve}[role](f"redis://127.0.0.1:{port}/{database}?max_jobs={MAX_JOBS}")
