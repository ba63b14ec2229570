"""Boxes and arrows: one box a job, or one for many that are alike where a reader could not take in all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from flows._draw._graph import Graph, Node, graph_of

if TYPE_CHECKING:
    from flows._plan import Plan

BOXES: Final = 200
"""Boxes beyond which those of alike jobs become one: what fits on a page, and is laid out in a tenth of a second."""

TIMES: Final = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a picture.

    Attributes:
        title: The job's id; of several jobs their task.
        task, queue: Of the job, or of all of them. The queue of a list is empty.
        kind: ``job``, ``list``, or ``each`` for what a list will stamp out.
        jobs: Places in the plan; none for what a list will stamp out.
        control: Whether no worker runs them: they are lists.
        retried: Whether any of them may be tried more than once.
    """

    title: str
    task: str
    queue: str
    kind: str
    jobs: Sequence[int]
    control: bool = False
    retried: bool = False

    @property
    def where(self) -> str:
        """The queue, or what there is instead of one."""
        return self.queue or ("list" if self.control else "several queues")

    @property
    def caption(self) -> str:
        """The title, and of how many jobs it is."""
        return f"{self.title} {TIMES} {len(self.jobs):,}" if len(self.jobs) > 1 else self.title


@dataclass(frozen=True, slots=True)
class Arrow:
    """From the box that runs first to the one that waits for it.

    Attributes:
        soft: Whether no result that must be there goes along: it is order-only, or optional.
        critical: Whether it is part of the critical path.
    """

    tail: int
    head: int
    soft: bool
    critical: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """What to draw of a flow.

    Attributes:
        name: The flow's.
        critical: The boxes on the critical path, if that was asked for.
    """

    name: str
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    critical: frozenset[int] = frozenset()

    @property
    def queues(self) -> list[str]:
        """The queues in order of first use."""
        return list(dict.fromkeys(box.queue for box in self.boxes if box.queue))


def picture_of(
    plan: Plan[Any], *, critical: Sequence[str] = (), over: Collection[int] = (), unfold: bool = False
) -> Picture:
    """The picture of a plan, or of the run that it belongs to.

    Args:
        critical: Ids of the jobs on the critical path, first job first, where it is to be marked.
        over: Lists that have ended, and so will stamp out nothing more.
        unfold: Draw a box for each job however many there are.
    """
    graph = graph_of(plan, over)
    keys: Sequence[Hashable] = range(len(graph.nodes))
    if not unfold and len(graph.nodes) > BOXES:
        keys = _folded(graph)
    return _assembled(plan.name, graph, keys, critical)


def _assembled(name: str, graph: Graph, keys: Sequence[Hashable], critical: Sequence[str]) -> Picture:
    """A box for each different key, in the order of their first jobs."""
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    box_of = [number[key] for key in keys]
    members: list[list[Node]] = [[] for _ in number]
    for node, box in zip(graph.nodes, box_of, strict=True):
        members[box].append(node)
    box_by_id = {node.id: box for node, box in zip(graph.nodes, box_of, strict=True)} if critical else {}
    path = [box_by_id[job_id] for job_id in critical if job_id in box_by_id]
    marked = set(pairwise(path))
    soft: dict[tuple[int, int], bool] = {}
    for child, dependent, is_soft in graph.edges:
        ends = box_of[child], box_of[dependent]
        if ends[0] != ends[1]:
            soft[ends] = soft.get(ends, True) and is_soft
    arrows = [Arrow(tail, head, is_soft, (tail, head) in marked) for (tail, head), is_soft in soft.items()]
    return Picture(name, [_box(nodes) for nodes in members], arrows, frozenset(path))


def _box(nodes: Sequence[Node]) -> Box:
    first = nodes[0]
    jobs = [node.job for node in nodes if node.job is not None]
    queues = {node.queue for node in nodes}
    control, retried = queues == {""}, any(node.retried for node in nodes)
    if len(nodes) == 1:
        return Box(first.id, first.task, first.queue, first.kind, jobs, control, retried)
    tasks = list(dict.fromkeys(node.task for node in nodes))
    title = tasks[0] if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} other tasks"
    kind = first.kind if len({node.kind for node in nodes}) == 1 else "job"
    task, queue = tasks[0] if len(tasks) == 1 else "", first.queue if len(queues) == 1 else ""
    return Box(title, task, queue, kind, jobs, control, retried)


def _folded(graph: Graph) -> Sequence[Hashable]:
    """Keys under which jobs share a box: the finest that leave no more than `BOXES`, or the coarsest there are."""
    keys: Sequence[Hashable] = ()
    for keys in _foldings(graph):
        if len(set(keys)) <= BOXES:
            break
    return keys


def _foldings(graph: Graph) -> Iterator[Sequence[Hashable]]:
    """Ways to fold, from fine to coarse.

    First jobs of one task that stand between the same neighbours, which hides nothing; then those of one task at
    about the same height; then those of one queue; at last any.
    """
    yield _alike(graph)
    heights = _heights(graph)
    what: Callable[[Node], Hashable]
    for what in (lambda node: (node.task, node.queue), lambda node: node.queue, lambda _: None):
        step = 1
        while step <= max(heights, default=0) * 2 + 1:
            yield [(what(node), height // step) for node, height in zip(graph.nodes, heights, strict=True)]
            step *= 2


def _alike(graph: Graph) -> Sequence[Hashable]:
    """Jobs of one task with the same neighbours, then neighbours up to that, as long as it makes fewer boxes."""
    keys: list[Hashable] = list(range(len(graph.nodes)))
    for _ in range(8):
        below = _neighbours(keys, ((child, dependent) for child, dependent, _ in graph.edges))
        above = _neighbours(keys, ((dependent, child) for child, dependent, _ in graph.edges))
        number: dict[Hashable, int] = {}
        folded: list[Hashable] = [
            number.setdefault(
                (node.task, node.queue, node.kind, frozenset(above[place]), frozenset(below[place])), len(number)
            )
            for place, node in enumerate(graph.nodes)
        ]
        fewer = len(number) < len(set(keys))
        keys = folded
        if not fewer:
            break
    return keys


def _neighbours(keys: Sequence[Hashable], pairs: Iterable[tuple[int, int]]) -> list[set[Hashable]]:
    found: list[set[Hashable]] = [set() for _ in keys]
    for of, neighbour in pairs:
        found[neighbour].add(keys[of])
    return found


def _heights(graph: Graph) -> list[int]:
    """How far each job stands from the leaves."""
    above: list[list[int]] = [[] for _ in graph.nodes]
    waits = [0] * len(graph.nodes)
    for child, dependent, _ in graph.edges:
        above[child].append(dependent)
        waits[dependent] += 1
    heights = [0] * len(graph.nodes)
    line = [place for place, open_ in enumerate(waits) if not open_]
    for place in line:  # grows as jobs have no more to wait for
        for dependent in above[place]:
            heights[dependent] = max(heights[dependent], heights[place] + 1)
            waits[dependent] -= 1
            if not waits[dependent]:
                line.append(dependent)
    return heights
