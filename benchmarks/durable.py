"""What it costs to survive a loss of power: flows in a file, beside DBOS's durable steps, and bare commits of one row.

The commits are SQLite's, in a file of the same kind (a write-ahead log, synchronous=FULL) in the same folder, in turn
with the flows: what a disk takes for a commit differs by a factor of a hundred, so that only the ratios say something.
DBOS's steps are those of one workflow, a hundred a turn, as it comes: on the same disk, in a process of its own.
"""

import gc
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import flows
from benchmarks.contest.contenders import CONTENDERS
from benchmarks.contest.driver import AtWork, FellOutError
from benchmarks.environments import NotThereError
from benchmarks.measure import Series, Spread, WrongValueError, speedup
from benchmarks.peers.flows_ import declared
from benchmarks.report import HEADLINE, Row, Target
from benchmarks.workloads import Graph, Node, chain, fan_in, layered, source

CHAIN_TARGET = 1.5
FLAT_TARGET = 0.5
DBOS_TARGETS = {"durable_layered": 60.0, "durable_fan_in": 60.0, "durable_chain": 5.0}
DBOS = "dbos"
STEPS = 100
TURN_SECONDS = 120.0
COMMITS = 500
ROUNDS = 3

ABOUT = {
    "durable_layered": "the layered graph with executor=sqlite:///, FULL; beside a commit and a step of DBOS a job",
    "durable_fan_in": "the same for a wide fan-in",
    "durable_chain": "the same for a chain, each link of which is a commit",
    "durable_flat": "processor time of a fan-in in a file (synchronous=normal), by number of jobs",
}
SIZES = {
    "tiny": (4, 20, 10, (50, 100)),
    "quick": (40, 2_000, 200, (1_000, 10_000)),
    "full": (100, 10_000, 1_000, (1_000, 10_000, 100_000)),
}
"""Width of the layered graph, leaves of the fan-in, links of the chain, sizes of `durable_flat`."""


def durable_rows(name: str, size: str) -> list[Row]:
    """Measure one of `ABOUT` at a size of `SIZES`."""
    side, leaves, links, flat = SIZES[size]
    if name == "durable_flat":
        return flat_rows([(jobs, measure_flat(jobs)) for jobs in flat])
    graphs = {
        "durable_layered": lambda: layered(side, side),
        "durable_fan_in": lambda: fan_in((Node(source),) * leaves),
        "durable_chain": lambda: chain(links),
    }
    graph = Graph(graphs[name]())
    return rows(name, len(graph.nodes), *measure(graph, dbos=size != "tiny"))


def measure(graph: Graph, *, dbos: bool) -> list[Series]:
    """Seconds of a run in a file, of as many bare commits as it has jobs, and of as many steps of DBOS, in turn.

    Args:
        dbos: Whether to look for DBOS, too; without it, or where it cannot be had, its series has no samples.

    Raises:
        WrongValueError: The run had another value than the plain loop.
    """
    ours, bare, steps = Series(HEADLINE), Series("bare commits"), Series(DBOS)
    jobs = len(graph.nodes)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            before = time.process_time()
            ours.samples.append(_run(graph, folder, "full", time.perf_counter))
            ours.calm.append(time.process_time() - before)
            bare.samples.append(seconds_of_commits(Path(folder), min(COMMITS, jobs)) * jobs)
            if dbos:
                try:
                    seconds, processor = seconds_of_a_step(folder)
                except (NotThereError, FellOutError) as error:
                    sys.stderr.write(f"  not measured: {error}\n")
                    dbos = False
                else:
                    steps.samples.append(seconds * jobs)
                    steps.calm.append(processor * jobs)
    return [ours, bare, steps]


def measure_flat(jobs: int) -> Series:
    """Processor seconds of a fan-in of so many jobs, all threads together."""
    its = Series(HEADLINE)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            its.samples.append(_run(Graph(fan_in((Node(source),) * (jobs - 1))), folder, "normal", time.process_time))
    return its


def _run(graph: Graph, folder: str, synchronous: str, clock: Callable[[], float]) -> float:
    from executors.sqlite import SqliteExecutor

    executor: Any = SqliteExecutor(f"sqlite:///{folder}/runs.db?synchronous={synchronous}")
    plan = flows.plan(declared(graph))
    gc.collect()
    began = clock()
    value = tuple(flows.execute(plan, executor=executor).value)
    took = clock() - began
    executor.close()
    if value != graph.value():
        raise WrongValueError(f"{HEADLINE}: {value} instead of {graph.value()}")
    return took


def seconds_of_a_step(folder: str) -> tuple[float, float]:
    """What a durable step of DBOS takes on the disk of *folder*, by the clock and of the processor.

    Raises:
        NotThereError: It cannot be installed.
        FellOutError: It does not run here.
    """
    with closing(AtWork(CONTENDERS[DBOS], folder)) as at_work:
        at_work.turn("chain", 5, limit=TURN_SECONDS)  # what is loaded late is loaded now
        before = at_work.processor_seconds() or 0.0
        (seconds,) = at_work.turn("chain", STEPS, limit=TURN_SECONDS).seconds
        after = at_work.processor_seconds() or 0.0
    return seconds / STEPS, (after - before) / STEPS


def seconds_of_commits(folder: Path, count: int) -> float:
    """What a commit of one row takes on the disk of *folder*."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE line (number INTEGER PRIMARY KEY, text TEXT)")
    began = time.perf_counter()
    for _ in range(count):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO line (text) VALUES ('a line')")
        connection.execute("COMMIT")
    took = time.perf_counter() - began
    connection.close()
    return took / count


def rows(name: str, jobs: int, ours: Series, bare: Series, steps: Series | None = None) -> list[Row]:
    """All that were measured as rows; ours is judged. `calm` of a series has the processor's seconds."""
    targets = []
    if name == "durable_chain":
        ratio = 1 / speedup(ours, bare).median
        targets.append(Target(f"<= {CHAIN_TARGET:g}x bare commits", ratio, ratio <= CHAIN_TARGET))
    beside = [ours, bare]
    if steps is not None and steps.samples:
        beside.append(steps)
        wanted, times = DBOS_TARGETS[name], speedup(ours, steps).median
        targets.append(Target(f">= {wanted:g}x {DBOS}", times, times >= wanted))
    found = []
    for its in beside:
        each = [f"{1e6 * Spread.of(its.samples).median / jobs:.0f} us a job"]
        if its.calm:
            each.append(f"{1e6 * Spread.of(its.calm).median / jobs:.0f} us of the processor")
        judged = tuple(targets) if its is ours else ()
        note = ", ".join(each)
        found.append(Row(name, its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, note, judged))
    return found


def flat_rows(measured: Sequence[tuple[int, Series]]) -> list[Row]:
    """The rows of `measure_flat`; the last one judged, over all of them."""
    costs = [Spread.of(its.samples).median / jobs for jobs, its in measured]
    mean = sum(costs) / len(costs)
    worst = max(abs(cost / mean - 1) for cost in costs)
    target = Target(f"each cost a job within {FLAT_TARGET:.0%} of their mean", worst, worst <= FLAT_TARGET)
    found = []
    for (jobs, its), cost in zip(measured, costs, strict=True):
        note = f"{1e6 * cost:.0f} us a job"
        found.append(Row("durable_flat", its.peer, jobs, len(its.samples), Spread.of(its.samples), {}, note, ()))
    return [*found[:-1], found[-1].judged(target)]
