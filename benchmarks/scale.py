"""What grows with a flow: planning beside a plain topological sort, bytes kept a job, and the cost a job by size."""

import gc
import subprocess
import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Sequence, Sized
from functools import partial

import flows
from benchmarks.measure import Series, Spread, WrongValueError, speedup
from benchmarks.peers.flows_ import EXECUTOR, declared
from benchmarks.report import HEADLINE, Row, Target
from benchmarks.workloads import Graph, layered

WIDTH = 100
PLAN_TARGET = 6.0
MEMORY_TARGET = 1024
FLAT_TARGET = 0.5

SIZES = {
    "tiny": {"plan": (400,), "memory": (400,), "flat": (200, 400)},
    "quick": {"plan": (10_000,), "memory": (10_000,), "flat": (1_000, 10_000)},
    "full": {"plan": (100_000,), "memory": (100_000,), "flat": (1_000, 10_000, 100_000)},
    "largest": {"plan": (1_000_000,), "memory": (100_000,), "flat": (1_000, 10_000, 100_000, 1_000_000)},
}
"""Jobs by size of the benchmark and measurement; each in layers of `WIDTH`, three edges a job."""

ABOUT = {
    "plan": "flows.plan(flow) beside Kahn's sort over adjacency lists, both made beforehand; three edges a job",
    "memory": "bytes that plan and run keep for each no-op job, as tracemalloc counts them; the user's own not counted",
    "flat": "processor time of flows.execute(flow), planning included, by number of jobs; three edges a job",
}


def scale_rows(name: str, size: str) -> list[Row]:
    """Measure one of `ABOUT` at a size of `SIZES`."""
    rows_of: dict[str, Callable[[Sequence[int]], list[Row]]] = {
        "plan": lambda sizes: plan_rows(measure_plan(sizes[0])),
        "memory": lambda sizes: memory_rows(sizes[0], measure_memory(sizes[0])),
        "flat": lambda sizes: flat_rows(measure_flat(sizes)),
    }
    return rows_of[name](SIZES[size][name])


def kahn(dependents: Sequence[Sequence[int]]) -> list[int]:
    """Kahn's topological sort as in the textbooks.

    Args:
        dependents: For each node those that come after it.
    """
    pending = [0] * len(dependents)
    for ahead in dependents:
        for node in ahead:
            pending[node] += 1
    ready = deque([node for node, count in enumerate(pending) if not count])
    order = []
    while ready:
        node = ready.popleft()
        order.append(node)
        for following in dependents[node]:
            pending[following] -= 1
            if not pending[following]:
                ready.append(following)
    return order


def measure_plan(jobs: int) -> tuple[int, list[Series]]:
    """Seconds that `flows.plan` and `kahn` take for the same graph, in turn; with the number of jobs.

    Raises:
        WrongValueError: One of them left a job out.
    """
    graph = _graph(jobs)
    dependents: list[list[int]] = [[] for _ in graph.nodes]
    for index, node in enumerate(graph.nodes):
        for parent in node.parents:
            dependents[parent].append(index)
    series = [Series(HEADLINE), Series("kahn")]
    for _ in range(_rounds(jobs)):
        flow = declared(graph)
        sorts: tuple[Callable[[], Sized], ...] = (partial(flows.plan, flow), partial(kahn, dependents))
        for its, sort in zip(series, sorts, strict=True):
            gc.collect()
            began = time.perf_counter()
            order = sort()
            its.samples.append(time.perf_counter() - began)
            if len(order) != jobs:
                raise WrongValueError(f"{its.peer}: {len(order)} jobs in order instead of {jobs}")
            del order
        del flow, sorts, sort
    return jobs, series


def plan_rows(measured: tuple[int, Sequence[Series]]) -> list[Row]:
    """The rows of `measure_plan`, ours judged."""
    jobs, (ours, theirs) = measured
    ratio = speedup(theirs, ours).median
    target = Target(f"<= {PLAN_TARGET:g}x kahn", ratio, ratio <= PLAN_TARGET)
    return [
        Row("plan", its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, "", targets)
        for its, targets in ((ours, (target,)), (theirs, ()))
    ]


def measure_memory(jobs: int) -> float:
    """Bytes a job that remain when a flow has been planned and run, taken in a fresh interpreter."""
    code = f"from benchmarks.scale import kept_bytes; print(kept_bytes({jobs}) / {jobs})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


def kept_bytes(jobs: int) -> int:
    """What a run of so many jobs and its plan keep in memory; the flow is declared before the counting begins."""
    flow = declared(_graph(jobs))
    flows.execute(declared(_graph(WIDTH)), executor=EXECUTOR)  # what is loaded and started late is no job's
    gc.collect()
    tracemalloc.start()
    run = flows.execute(flow, executor=EXECUTOR)
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    run.check()
    return kept


def memory_rows(jobs: int, kept: float) -> list[Row]:
    """The row of `measure_memory`, judged."""
    target = Target(f"< {MEMORY_TARGET:,} bytes a job", kept, kept < MEMORY_TARGET)
    return [Row("memory", HEADLINE, jobs, 1, None, {}, f"{kept:.0f} bytes a job", (target,))]


def measure_flat(sizes: Sequence[int]) -> list[tuple[int, Series]]:
    """Processor seconds to plan and run a flow, all threads together, for each number of jobs.

    Not those of the clock: the figures are compared with each other and not with a peer who takes turns, so that a
    busy spell of the machine would decide.
    """
    out = []
    for jobs in sizes:
        graph, its = _graph(jobs), Series(HEADLINE)
        for _ in range(_rounds(jobs)):
            flow = declared(graph)
            gc.collect()
            began = time.process_time()
            run = flows.execute(flow, executor=EXECUTOR)
            its.samples.append(time.process_time() - began)
            del flow, run
        out.append((jobs, its))
    return out


def flat_rows(measured: Sequence[tuple[int, Series]]) -> list[Row]:
    """The rows of `measure_flat`; the last one judged, over all of them."""
    costs = [Spread.of(its.samples).median / jobs for jobs, its in measured]
    mean = sum(costs) / len(costs)
    worst = max(abs(cost / mean - 1) for cost in costs)
    target = Target(f"each cost a job within {FLAT_TARGET:.0%} of their mean", worst, worst <= FLAT_TARGET)
    rows = [Row("flat", its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, "", ()) for jobs, its in measured]
    return [*rows[:-1], rows[-1].judged(target)]


def _graph(jobs: int) -> Graph:
    return Graph(layered(jobs // WIDTH, WIDTH))


def _rounds(jobs: int) -> int:
    return max(3, min(10, 300_000 // jobs))
