"""Take the figures: peers in turn (A, B, C, A, B, C, ...) in one process, so that a busy spell hits them all.

Each run gets a graph made ready afresh. The garbage collector is on during the runs, as it is for users, and
a full collection precedes each turn, so that nobody pays for what the peer before left behind.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

from benchmarks.peers import Peer
from benchmarks.workloads import Graph, Workload, last_stamp, small_flow

IMPORT_ROUNDS = 11


class WrongValueError(AssertionError):
    """A peer's value differs from that of the plain loop: its time would mean nothing."""


class Spread(NamedTuple):
    """Median and extremes over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Spread":
        return cls(median(samples), min(samples), max(samples))


@dataclass(slots=True)
class Series:
    """One peer on one workload: a figure in seconds for each round.

    Attributes:
        samples: Seconds a run; of all runs of the round for `orders`, their p50 for `latency`; start to end of the
            last no-op for `straggler`.
        calm: For `straggler`, the same without the slow handler; for `growth`, the fan-in.
    """

    peer: str
    samples: list[float] = field(default_factory=list)
    calm: list[float] = field(default_factory=list)


def speedup(ours: Series, theirs: Series) -> Spread:
    """How many times faster `ours` is: the ratios of the rounds, each taken from neighbouring turns."""
    return Spread.of([b / a for a, b in zip(ours.samples, theirs.samples, strict=True)])


def warm_up(peers: Sequence[Peer]) -> None:
    """Start pools and threads, and load what peers load late, before the first timing."""
    graph = Graph(small_flow())
    for peer in peers:
        for _ in range(3):
            _checked(peer, graph.value(), peer.prepare(graph)())


def measure(workload: Workload, peers: Sequence[Peer]) -> list[Series]:
    """Run `workload` in turn on all peers that take part in its kind, `workload.rounds` times.

    Raises:
        WrongValueError: A peer computed another value than the plain loop.
    """
    peers = [peer for peer in peers if workload.kind in peer.kinds]
    series = [Series(peer.name) for peer in peers]
    expected = workload.graph.value()
    for _ in range(workload.rounds):
        for peer, its in zip(peers, series, strict=True):
            if workload.kind == "growth" and workload.calm is not None:
                its.calm.append(_seconds(peer, workload, workload.calm))
                its.samples.append(_seconds(peer, workload, workload.graph))
            elif workload.calm is not None:
                its.calm.append(_last_no_op(peer, workload.calm, expected))
                its.samples.append(_last_no_op(peer, workload.graph, expected))
            else:
                its.samples.append(_seconds(peer, workload, workload.graph))
    return series


def _seconds(peer: Peer, workload: Workload, graph: Graph) -> float:
    expected = graph.value()
    ready = [peer.prepare(graph) for _ in range(workload.calls)]
    gc.collect()
    times = []
    for run in ready:
        began = time.perf_counter()
        value = run()
        times.append(time.perf_counter() - began)
        _checked(peer, expected, value)
    return sum(times) if workload.kind == "orders" else median(times)


def _last_no_op(peer: Peer, graph: Graph, expected: tuple[int, ...]) -> float:
    run: Callable[[], tuple[int, ...]] = peer.prepare(graph)
    gc.collect()
    began = time.perf_counter()
    value = run()
    _checked(peer, expected, value)
    return last_stamp[0] - began


def _checked(peer: Peer, expected: tuple[int, ...], value: tuple[int, ...]) -> None:
    if value != expected:
        raise WrongValueError(f"{peer.name}: {str(value)[:80]} instead of {str(expected)[:80]}")


def processor_seconds(call: Callable[[], object], rounds: int) -> list[float]:
    """What *call* takes of the processor, warm, in each of the rounds."""
    call()
    gc.collect()
    samples = []
    for _ in range(rounds):
        began = time.process_time()
        call()
        samples.append(time.process_time() - began)
    return samples


def measure_imports(modules: Sequence[str]) -> tuple[list[Series], dict[str, str]]:
    """Seconds that `import module` takes in fresh interpreters, in turn; and why a module cannot be imported.

    The clock starts inside the new interpreter: its own start-up, the same for all, would dilute the ratio.
    A first, untimed turn compiles the modules and tells which of them are there.
    """
    missing: dict[str, str] = {}
    for module in modules:
        failure = _fresh(module).stderr.strip()
        if failure:
            missing[module] = failure.splitlines()[-1]
    series = [Series(module) for module in modules if module not in missing]
    for _ in range(IMPORT_ROUNDS):
        for its in series:
            its.samples.append(float(_fresh(its.peer).stdout))
    return series, missing


def _fresh(module: str) -> subprocess.CompletedProcess[str]:
    code = f"from time import perf_counter as t; a = t(); import {module}; print(t() - a)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
