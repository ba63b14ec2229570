"""What contenders are measured on: the same shapes for all, at the size of the set."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Literal

from benchmarks.contest.contenders import Contender
from benchmarks.workloads import Graph, Kind, Workload, shaped

Set = Literal["tiny", "quick", "short", "all"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much a set asks for.

    Attributes:
        limit: Seconds that a turn may take.
        slack: How many times more jobs than in the short set those are given who are given fewer.
        idle: Seconds that are watched, `IDLE_TIMES`, for what processes do without work.
    """

    rounds: int
    wide: tuple[int, ...]
    chain: int
    orders: int
    calls: int
    side: int
    growth: int
    memory: int
    limit: float
    idle: float
    slack: int = 1


SETS: dict[Set, Sizes] = {
    "tiny": Sizes(1, (5,), 4, 3, 2, 3, 4, 20, 60.0, 0.05),
    "quick": Sizes(1, (200,), 20, 20, 5, 10, 50, 200, 60.0, 0.5),
    "short": Sizes(3, (1_000, 10_000), 200, 1_000, 20, 100, 1_000, 5_000, 40.0, 0.5),
    "all": Sizes(5, (1_000, 10_000, 50_000), 200, 1_000, 50, 100, 10_000, 10_000, 180.0, 3.0, 10),
}


def contests(which: Set) -> list[Workload]:
    """The workloads of a set, in the order in which a contender is given them: memory first, as a peak only grows."""
    size = SETS[which]
    of = shaped
    found = [
        _contest("start", "start", "from the start of its processes to a first value", of("fan_in", 3)),
        _contest("memory", "memory", f"{size.memory:,} jobs: bytes of each", of("fan_in", size.memory)),
        _contest("small_flow", "latency", "a parent and 3 children: submit to value, p50", of("fan_in", 3), size.calls),
        _contest("chain", "throughput", f"{size.chain:,} jobs in a row", of("chain", size.chain)),
        _contest(
            "orders",
            "orders",
            f"{size.orders:,} flows of a parent and 3 children; over Redis all are submitted, then all waited for; "
            "elsewhere they run one after the other",
            of("fan_in", 3),
            size.orders,
        ),
    ]
    for wide in size.wide:
        name = f"fan_in_{wide // 1000}k" if wide >= 1_000 else f"fan_in_{wide}"
        about = f"{wide:,} jobs, and one that takes all their results"
        found.append(_contest(name, "throughput", about, of("fan_in", wide)))
    return [
        *found,
        _contest(
            "layers",
            "throughput",
            f"{size.side} x {size.side} jobs, each taking the results of three random ones of the layer before",
            of("layers", size.side),
        ),
        _contest(
            "growth",
            "throughput",
            f"a job for each of {size.growth:,} items that a job returns, and one that takes all their results",
            of("growth", size.growth),
        ),
        _contest("idle", "idle", "processor time of all processes, without work", of("fan_in", 3)),
    ]


def _contest(name: str, kind: Kind, about: str, graph: Graph, calls: int = 1) -> Workload:
    return Workload(name, kind, about, graph, rounds=0, calls=calls)


def jobs_of(workload: Workload) -> int:
    """How many jobs one call has."""
    copies = workload.calls if workload.kind == "orders" else 1
    graph = workload.graph
    return copies * (graph.size + 2 if graph.shape == "growth" else len(graph.nodes))


def fitted(workload: Workload, contender: Contender, slack: int) -> Workload:
    """The same, cut to what the contender is given at most; the short ones are left as they are."""
    most = contender.at_most * slack
    if workload.kind == "orders":
        flows = min(workload.calls, most // 4, contender.flows_at_most * slack)
        return workload if flows == workload.calls else replace(workload, calls=flows)
    shape, size = workload.graph.shape, workload.graph.size
    if workload.kind not in {"throughput", "memory"} or (size * size if shape == "layers" else size) <= most:
        return workload
    return replace(workload, graph=shaped(shape, max(3, isqrt(most)) if shape == "layers" else most))
