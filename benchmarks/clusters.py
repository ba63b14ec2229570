"""Flows on a Dask cluster against plain `distributed`, in one run, with the same functions on the same workers.

    python -m benchmarks.clusters [--layers 100] [--rounds 1]

A layered graph (each job takes three of the layer before) shows what a job costs on top of Dask; jobs that compute for
50 ms show how near two worker processes come to half the time of one. Rounds are interleaved; the best counts. A round
of the graph takes plain `distributed` twenty seconds or more, twice.
"""

from __future__ import annotations

import argparse
import logging
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


def computed_plainly(client: Client, count: int) -> int:
    """The same by futures."""
    futures = client.map(compute, [0.05] * count, pure=False)
    result: int = client.submit(work, *futures, pure=False).result()
    return result


def compared(title: str, ways: dict[str, Callable[[], Any]], rounds: int, ideal: float | None) -> None:
    """Measure ways in turn, and write a line that says how the first does beside the others, and the ideal."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            taken[name].append(seconds(call))
    best = {name: min(times) for name, times in taken.items()}
    ours = best.pop("ours")
    told = [f"{title}: {ours:.2f} s"]
    if ideal is not None:
        told.append(f"{ours / ideal:.2f} times the ideal of {ideal:.2f} s")
    told += [f"{name} {time:.2f} s, {ours / time:.2f} times" for name, time in best.items()]
    sys.stdout.write("; ".join(told) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write a line for each figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=1, help="of the graph; of what computes, three times as many")
    options = parser.parse_args(arguments)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # workers that end complain of their scheduler's end
    threads: dict[str, Any] = {"threads_per_worker": 1, "processes": True, "dashboard_address": ":0"}
    with (
        LocalCluster(n_workers=2, silence_logs=logging.CRITICAL, **threads) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        flows.execute(layered(3), executor=client)
        layered_plainly(client, 3)
        flow, count = computed(options.jobs), options.jobs
        computing: dict[str, Callable[[], Any]] = {
            "ours": lambda: flows.execute(flow, executor=client),
            "plain distributed": lambda: computed_plainly(client, count),
        }
        compared(f"{count} x 50 ms on 2 processes", computing, 3 * options.rounds, count * 0.05 / 2)
        square, layers = layered(options.layers), options.layers
        graphs: dict[str, Callable[[], Any]] = {
            "ours": lambda: flows.execute(square, executor=client),
            "plain distributed by futures": lambda: layered_plainly(client, layers),
            "as one graph": lambda: layered_as_a_graph(client, layers),
        }
        compared(f"layered {layers} x {layers}", graphs, options.rounds, None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
