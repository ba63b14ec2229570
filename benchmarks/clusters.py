"""Flows on a Dask cluster against plain `distributed`, in one run, with the same functions on the same workers.

    python -m benchmarks.clusters [--layers 100] [--rounds 3]

A layered graph (each job takes three of the layer before) shows what a job costs on top of Dask; jobs that compute for
50 ms show how near two worker processes come to half the time of one. Rounds are interleaved; the best counts.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from dask.delayed import delayed
from distributed import Client, LocalCluster

import flows

WAYS = 3
"""What each job of a layer takes of the layer before."""


def work(*taken: int) -> int:
    """Next to nothing."""
    return len(taken)


def compute(seconds: float) -> int:
    """Pure Python, for so long."""
    end, turns = time.process_time() + seconds, 0
    while time.process_time() < end:
        turns += 1
    return turns


def layered(layers: int) -> flows.Job[int]:
    """A square graph under one root."""
    task = flows.task(work)
    jobs = [task() for _ in range(layers)]
    for _ in range(layers - 1):
        jobs = [task(*[jobs[(place + way) % layers].out for way in range(WAYS)]) for place in range(layers)]
    return task(*[job.out for job in jobs])


def layered_plainly(client: Client, layers: int) -> int:
    """The same by futures."""
    futures = [client.submit(work, pure=False) for _ in range(layers)]
    for _ in range(layers - 1):
        futures = [
            client.submit(work, *[futures[(place + way) % layers] for way in range(WAYS)], pure=False)
            for place in range(layers)
        ]
    result: int = client.submit(work, *futures, pure=False).result()
    return result


def layered_as_a_graph(client: Client, layers: int) -> int:
    """The same, submitted whole: what Dask is best at."""
    task = delayed(work, pure=False)
    jobs = [task() for _ in range(layers)]
    for _ in range(layers - 1):
        jobs = [task(*[jobs[(place + way) % layers] for way in range(WAYS)]) for place in range(layers)]
    result: int = client.compute(task(*jobs), optimize_graph=False).result()
    return result


def computed(count: int) -> flows.Job[int]:
    """Jobs that compute, and one that counts them."""
    task = flows.task(compute)
    return flows.task(work)(*[task(0.05).out for _ in range(count)])


def seconds(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write a line for each figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    threads: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with LocalCluster(n_workers=2, **threads) as cluster, Client(cluster, set_as_default=False) as client:
        ours: list[float] = []
        theirs: list[float] = []
        graphs: list[float] = []
        computing: list[float] = []
        flows.execute(layered(3), executor=client)
        layered_plainly(client, 3)
        for _ in range(options.rounds):
            flow = layered(options.layers)
            theirs.append(seconds(lambda: layered_plainly(client, options.layers)))
            graphs.append(seconds(lambda: layered_as_a_graph(client, options.layers)))
            ours.append(seconds(functools.partial(flows.execute, flow, executor=client)))
            flow = computed(options.jobs)
            computing.append(seconds(functools.partial(flows.execute, flow, executor=client)))
    ideal = options.jobs * 0.05 / 2
    best, plain, graph = min(ours), min(theirs), min(graphs)
    sides = f"{options.layers} x {options.layers}"
    told = f"layered {sides}: {best:.2f} s; plain distributed by futures {plain:.2f} s, {best / plain:.2f} times; "
    told += f"as one graph {graph:.2f} s, {best / graph:.2f} times\n"
    told += (
        f"{options.jobs} x 50 ms on 2 processes: {min(computing):.2f} s, {min(computing) / ideal:.2f} times the ideal\n"
    )
    sys.stdout.write(told)
    return 0


if __name__ == "__main__":
    sys.exit(main())
