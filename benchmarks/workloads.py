"""What is measured: graphs as plain data, the same for every peer, and the functions their nodes call.

A node's parents always have lower indexes than the node, so the list is in topological order and a plain loop
gives the value that every peer must arrive at (`Graph.value`).
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

SLOTS = 50
NAP = 0.05
LONG_NAP = 0.5

Kind = Literal["throughput", "orders", "latency", "overlap", "straggler", "growth", "memory", "idle", "start"]
ALL_KINDS: frozenset[Kind] = frozenset({"throughput", "orders", "latency", "overlap", "straggler"})
"""What every peer can do; lists known only at run time (`growth`) are ours alone."""
NO_OPS: frozenset[Kind] = frozenset({"throughput", "orders", "latency"})
Size = Literal["full", "quick", "tiny"]

last_stamp = [0.0]
"""When the latest stamping handler ended (`time.perf_counter`). A list, so that handlers share one cell."""


def source() -> int:
    """A job without parents that does nothing."""
    return 1


def step(value: int) -> int:
    """One link of a chain."""
    return value + 1


def join(first: int, second: int, third: int) -> int:
    """Take three results. Cut to 20 bits: the plain sum would grow into big integers over 100 layers."""
    return (first + second + third + 1) & 0xFFFFF


def gather(values: list[int]) -> int:
    """Take any number of results as one list."""
    return sum(values)


def stamping_source() -> int:
    """`source`, leaving the time of its end."""
    last_stamp[0] = time.perf_counter()
    return 1


def stamping_join(first: int, second: int, third: int) -> int:
    """`join`, leaving the time of its end."""
    last_stamp[0] = time.perf_counter()
    return (first + second + third + 1) & 0xFFFFF


def nap() -> int:
    """Block the thread for `NAP` seconds."""
    time.sleep(NAP)
    return 1


def long_nap() -> int:
    """Block the thread for `LONG_NAP` seconds."""
    time.sleep(LONG_NAP)
    return 1


@dataclass(frozen=True, slots=True)
class Each:
    """Calls `fn` for each item of a list; peers that can, make a job of each call."""

    fn: Callable[..., int]

    def __call__(self, items: list[int]) -> list[int]:
        return [self.fn(item) for item in items]


class Node(NamedTuple):
    """One job: `fn` called with its parents' results, in order, or with one list of them if `listed`.

    `blocks` says that the function sleeps (and returns 1). Only the asyncio loop reads it, which without that
    knowledge would stand still; the other peers have to find out.
    """

    fn: Callable[..., Any]
    parents: tuple[int, ...] = ()
    listed: bool = False
    blocks: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """A DAG. `slots` is how many handlers may run at once; None leaves it to the peer's default.

    `shape` and `size` are what `shaped` made it from, so that a program elsewhere makes the same one.
    """

    nodes: tuple[Node, ...]
    slots: int | None = None
    shape: str = ""
    size: int = 0

    @property
    def roots(self) -> tuple[int, ...]:
        """The nodes that nothing depends on, whose results are the graph's value."""
        used = {parent for node in self.nodes for parent in node.parents}
        return tuple(index for index in range(len(self.nodes)) if index not in used)

    def value(self) -> tuple[int, ...]:
        """The roots' results, worked out by a plain loop without sleeping."""
        results: list[Any] = []
        for node in self.nodes:
            taken = [results[parent] for parent in node.parents]
            if node.blocks:
                results.append(1)
            else:
                results.append(node.fn(taken) if node.listed else node.fn(*taken))
        return tuple(results[root] for root in self.roots)


@dataclass(frozen=True, slots=True)
class Workload:
    """One line of the report.

    Attributes:
        kind: What is taken as the figure: seconds a run (`throughput`, `overlap`), those of many short runs in all
            (`orders`) or their p50 (`latency`), how long after the start the last no-op ended (`straggler`), or seconds
            a run beside those of a fan-in of as many jobs (`growth`). Between peers also bytes that a job leaves behind
            (`memory`), what workers do without work (`idle`) and seconds from nothing to a first value (`start`).
        graph: What runs.
        calm: For `straggler`, the same graph with a no-op in the slow handler's place; for `growth`, the fan-in.
        rounds: How often each peer has its turn.
        calls: Runs in one turn (more than one only for `orders` and `latency`).
        ideal: For `overlap`, the seconds that the naps take when all of them overlap.
    """

    name: str
    kind: Kind
    about: str
    graph: Graph
    rounds: int
    calls: int = 1
    calm: Graph | None = None
    ideal: float = 0.0


def layered(
    layers: int,
    width: int,
    *,
    leaf: Callable[..., int] = source,
    inner: Callable[..., int] = join,
    seed: int = 7,
) -> tuple[Node, ...]:
    """`layers` of `width` nodes, each with three random parents in the layer before (drawn from `seed`)."""
    draw = random.Random(seed)
    nodes = [Node(leaf)] * width
    for start in range(0, (layers - 1) * width, width):
        above = range(start, start + width)
        nodes += [Node(inner, tuple(draw.sample(above, 3))) for _ in range(width)]
    return tuple(nodes)


def fan_in(leaves: tuple[Node, ...]) -> tuple[Node, ...]:
    """`leaves` (no parents) and one node that takes all their results as a list."""
    return (*leaves, Node(gather, tuple(range(len(leaves))), listed=True))


def chain(length: int) -> tuple[Node, ...]:
    """One node after the other."""
    return (Node(source), *(Node(step, (index,)) for index in range(length - 1)))


def numbers_up_to(count: int) -> tuple[Node, ...]:
    """A list that is known only at run time, a job for each of its items, and one that takes all their results."""

    def numbers() -> list[int]:
        return list(range(count))

    return (Node(numbers), Node(Each(step), (0,)), Node(gather, (1,)))


def shaped(shape: str, size: int) -> Graph:
    """A `fan_in` of so many leaves, a `chain` of so many jobs, `layers` of size x size, `growth` to so many."""
    nodes = {
        "fan_in": lambda: fan_in((Node(source),) * size),
        "chain": lambda: chain(size),
        "layers": lambda: layered(size, size),
        "growth": lambda: numbers_up_to(size),
    }
    return Graph(nodes[shape](), shape=shape, size=size)


def small_flow() -> tuple[Node, ...]:
    """A parent that takes the results of three children."""
    return (Node(source), Node(source), Node(source), Node(join, (0, 1, 2)))


def _flat_straggler(count: int, slow: bool) -> Graph:
    """`count` no-ops in one fan-in, and in the middle of them one that is slow if `slow`."""
    ready = [Node(stamping_source)] * count
    ready.insert(count // 2, Node(long_nap, blocks=True) if slow else Node(source))
    return Graph(fan_in(tuple(ready)))


def _layered_straggler(layers: int, width: int, slow: bool) -> Graph:
    """Layers of no-ops, and beside them, first in the declared order, one that is slow if `slow`."""
    first = Node(long_nap, blocks=True) if slow else Node(source)
    rest = layered(layers, width, leaf=stamping_source, inner=stamping_join)
    shifted = tuple(Node(node.fn, tuple(parent + 1 for parent in node.parents)) for node in rest)
    return Graph((first, *shifted))


def _throughput(size: Size) -> list[Workload]:
    side, leaves, links = {"full": (100, 10_000, 1_000), "quick": (40, 2_000, 500), "tiny": (5, 20, 10)}[size]
    rounds = {"full": 5, "quick": 3, "tiny": 1}[size]
    return [
        Workload(
            "layered",
            "throughput",
            f"{side} x {side} no-ops, 3 random parents each, results passed",
            Graph(layered(side, side)),
            rounds,
        ),
        Workload(
            "fan_in",
            "throughput",
            f"{leaves} no-ops, one job takes all their results",
            Graph(fan_in((Node(source),) * leaves)),
            rounds,
        ),
        Workload("chain", "throughput", f"{links} jobs in a row", Graph(chain(links)), 2 * rounds),
    ]


def _short(size: Size) -> list[Workload]:
    rounds, calls = {"full": (20, 25), "quick": (8, 25), "tiny": (2, 2)}[size]
    orders = {"full": 1_000, "quick": 200, "tiny": 3}[size]
    naps = fan_in((Node(nap, blocks=True),) * (5 if size == "tiny" else SLOTS))
    return [
        Workload(
            "small_flow",
            "latency",
            f"a parent and 3 children, p50 of {rounds * calls} runs",
            Graph(small_flow()),
            rounds,
            calls,
        ),
        Workload(
            "orders",
            "orders",
            f"{orders:,} flows of a parent and 3 children, each run on its own",
            Graph(small_flow()),
            {"full": 5, "quick": 3, "tiny": 1}[size],
            orders,
        ),
        Workload(
            "blocking",
            "overlap",
            f"{len(naps) - 1} handlers of {NAP * 1e3:.0f} ms on {SLOTS} slots, one job takes all results",
            Graph(naps, slots=SLOTS),
            {"full": 7, "quick": 3, "tiny": 1}[size],
            ideal=NAP,
        ),
    ]


def _stragglers(size: Size) -> list[Workload]:
    layers = {"full": 200, "quick": 40, "tiny": 2}[size]
    width = 10 if size == "tiny" else 100
    count = layers * width
    rounds = {"full": 3, "quick": 2, "tiny": 1}[size]
    late = f"one handler of {LONG_NAP * 1e3:.0f} ms among {count} no-ops"
    return [
        Workload(
            "straggler_flat",
            "straggler",
            f"{late}, all ready at once: when the last no-op ended",
            _flat_straggler(count, slow=True),
            rounds,
            calm=_flat_straggler(count, slow=False),
        ),
        Workload(
            "straggler_layers",
            "straggler",
            f"{late} in {layers} layers, the slow one declared first: when the last no-op ended",
            _layered_straggler(layers, width, slow=True),
            rounds,
            calm=_layered_straggler(layers, width, slow=False),
        ),
    ]


def _growth(size: Size) -> Workload:
    count = {"full": 20_000, "quick": 5_000, "tiny": 20}[size]
    plain = fan_in((Node(source),) * count)
    return Workload(
        "each",
        "growth",
        f"{count} no-ops over a list known at run time, beside a fan-in of as many",
        shaped("growth", count),
        {"full": 7, "quick": 3, "tiny": 1}[size],
        calm=Graph(plain),
    )


def workloads(size: Size = "full") -> tuple[Workload, ...]:
    """All workloads: at `full` size for figures, `quick` for a look, `tiny` for the tests."""
    return (*_throughput(size), *_short(size), *_stragglers(size), _growth(size))
