"""Flows on a Dask cluster against plain `distributed`, in one run, with the same functions on the same workers.

    python -m benchmarks.clusters [--layers 100] [--rounds 1]

A layered graph (each job takes three of the layer before) shows what a job costs on top of Dask; jobs that compute for
50 ms show how near two worker processes come to half the time of one. A job is a loop of so many turns, not of so much
time on a clock, which would not tell when others have the processor. The ideal is measured beside: a worker does half
of all turns in one call, as a process without Dask would. Rounds are interleaved; the best counts. Processor time is
that of this process, which has the scheduler in it, and takes it from the workers where there are two processors. A
round of the graph takes plain `distributed` twenty seconds or more, twice.
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


def compute(turns: int) -> int:
    """Pure Python, so many turns of a loop."""
    total = 0
    for turn in range(turns):
        total = (total + turn * turn) % 1_000_003
    return total


def turns_of(seconds: float, client: Client) -> int:
    """The turns that take so long while all workers compute: they may share more than they seem to."""

    def timed(turns: int) -> float:
        begun = time.thread_time()
        compute(turns)
        return time.thread_time() - begun

    sample = 1_000_000
    found = [min(client.run(timed, sample).values()) for _ in range(5)]
    return int(sample * seconds / min(found))


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


def computed(count: int, turns: int) -> flows.Job[int]:
    """Jobs that compute, and one that counts them."""
    task = flows.task(compute)
    return flows.task(work)(*[task(turns).out for _ in range(count)])


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """How long a call takes, and how much of a processor this process."""
    begun, used = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - begun, time.process_time() - used


def computed_plainly(client: Client, count: int, turns: int) -> int:
    """The same by futures."""
    futures = client.map(compute, [turns] * count, pure=False)
    result: int = client.submit(work, *futures, pure=False).result()
    return result


def computed_in_halves(client: Client, count: int, turns: int) -> int:
    """The same, a call for each worker."""

    def half() -> int:
        return sum(compute(turns) for _ in range(count // 2))

    workers = list(client.scheduler_info(n_workers=-1)["workers"])
    futures = [client.submit(half, workers=[worker], pure=False) for worker in workers]
    return sum(client.gather(futures))


def compared(title: str, ways: dict[str, Callable[[], Any]], rounds: int) -> None:
    """Measure ways in turn, and write a line that says how the first does beside the others."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, call in ways.items():
            taken[name].append(seconds(call))
    best = {name: min(times) for name, times in taken.items()}
    ours, used = best.pop("ours")
    told = [f"{title}: {ours:.2f} s, {used:.2f} of a processor here"]
    told += [f"{name} {time:.2f} s ({used:.2f}), {ours / time:.2f} times" for name, (time, used) in best.items()]
    if rounds > 1:
        told.append("rounds " + " ".join(f"{time:.2f}" for time, _ in taken["ours"]))
    sys.stdout.write("; ".join(told) + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write a line for each figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", type=int, default=100, help="0: no graph")
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
        turns, count = turns_of(0.05, client), options.jobs
        flow = computed(count, turns)
        computing: dict[str, Callable[[], Any]] = {
            "ours": lambda: flows.execute(flow, executor=client),
            "ideal": lambda: computed_in_halves(client, count, turns),
            "plain distributed": lambda: computed_plainly(client, count, turns),
        }
        compared(f"{count} x 50 ms on 2 processes", computing, 3 * options.rounds)
        square, layers = layered(options.layers), options.layers
        graphs: dict[str, Callable[[], Any]] = {
            "ours": lambda: flows.execute(square, executor=client),
            "plain distributed by futures": lambda: layered_plainly(client, layers),
            "as one graph": lambda: layered_as_a_graph(client, layers),
        }
        if layers:
            compared(f"layered {layers} x {layers}", graphs, options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
