"""What there is to draw of a plan: its jobs, and for lists that are not expanded yet what they will stamp out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flows._state import CONTROL_QUEUE, EFFECTS, FAIL, ORDER_ONLY, SHARED

if TYPE_CHECKING:
    from flows._bodies import Body
    from flows._plan import Plan


@dataclass(frozen=True, slots=True)
class Node:
    """One job in a picture.

    Attributes:
        job: Its place in the plan; None for what a list will stamp out, once for each item.
        kind: ``job``, ``list``, or ``each``, which stands for any number of jobs.
        retried: Whether it may be tried more than once.
    """

    job: int | None
    id: str
    task: str
    queue: str
    kind: str
    retried: bool = False


@dataclass(slots=True)
class Graph:
    """Jobs and edges, children before their dependents.

    Attributes:
        edges: (child, dependent, soft), by position in `nodes`. A soft edge hands over no result that must be there:
            it is order-only, or optional.
    """

    nodes: list[Node] = field(default_factory=list)
    edges: list[tuple[int, int, bool]] = field(default_factory=list)


def graph_of(plan: Plan[Any], over: Collection[int] = ()) -> Graph:
    """The jobs of *plan* as they stand: of a run, those that its lists have stamped out so far.

    Args:
        over: Lists that have ended, and so will stamp out nothing more.
    """
    graph = Graph()
    place: dict[int, int] = {}
    for job, job_id in enumerate(plan.ids):
        if job not in plan.gone:
            place[job] = len(graph.nodes)
            graph.nodes.append(_node(plan, job, job, job_id))
    stamped = _Stamped(plan, over)
    for child, dependent, code in plan.edges():
        if child in place and dependent in place and not code & SHARED and not stamped.feeds(child, dependent):
            soft = _soft(code) or child in plan.optional.get(dependent, ())
            graph.edges.append((place[child], place[dependent], soft))
    for each, first in stamped.firsts():
        graph.edges += [
            (place[source], place[job], False)
            for source in stamped.sources[each]
            for job in first
            if source in place and job in place
        ]
    for each, body in plan.lists.items():
        if each in place and each not in stamped.items and each not in over:
            sources = [place[source] for source in stamped.sources[each] if source in place]
            _unroll(graph, body, place[each], sources, lambda outer: place.get(outer), "")
    graph.edges = list(dict.fromkeys(graph.edges))
    return graph


def planned_path(plan: Plan[Any]) -> list[str]:
    """The critical path of *plan* by ids of nodes: it leads through what its lists will stamp out, too."""
    return _path(plan, "")


def _path(plan: Plan[Any], mark: str) -> list[str]:
    bodies = {plan.ids[each]: body.plan for each, body in plan.lists.items()}
    path = []
    for job_id in plan.critical_path():
        path += [*(_path(bodies[job_id], f"{mark}[*]") if job_id in bodies else ()), job_id + mark]
    return path


def _node(plan: Plan[Any], row: int, job: int | None, job_id: str, kind: str = "job") -> Node:
    queue = plan.queues_of[row]
    each = row in plan.lists
    return Node(
        job,
        job_id,
        plan.names[row],
        "" if queue == CONTROL_QUEUE else queue,
        "list" if each and job is not None else kind,
        plan.settings[row].attempts != 1,
    )


def _soft(code: int) -> bool:
    return bool(code & ORDER_ONLY) or code != FAIL


class _Stamped:
    """Which jobs of a plan belong to the items of which list.

    Attributes:
        items: List -> the root jobs of its items, for those that have been expanded.
        sources: List -> what its items are taken from.
    """

    def __init__(self, plan: Plan[Any], over: Collection[int]) -> None:
        self._plan = plan
        self._first = len(plan.origin)
        below: dict[int, list[int]] = {}
        for child, dependent, code in plan.edges() if plan.lists else ():
            if not code & SHARED:
                below.setdefault(dependent, []).append(child)
        self._below = below
        self.items: dict[int, list[int]] = {}
        self.sources: dict[int, list[int]] = {}
        for each in plan.lists:
            children = below.get(each, [])
            items = [child for child in children if self._is_item(child, each)]
            if items:
                self.items[each] = items
            self.sources[each] = [child for child in children if not self._is_item(child, each)]
        self._expanded = {
            (source, each)
            for each in plan.lists
            if each in self.items or each not in over
            for source in self.sources[each]
        }

    def _is_item(self, child: int, each: int) -> bool:
        """Jobs that were stamped out stand behind those that were submitted; a list's own behind the list."""
        return child >= self._first and child > each

    def feeds(self, child: int, dependent: int) -> bool:
        """Whether the edge only says where a list has its items from: the picture leads it to the items."""
        return (child, dependent) in self._expanded

    def firsts(self) -> Iterator[tuple[int, list[int]]]:
        """For each list that was expanded, the jobs of its items that wait for nothing else of the item."""
        for each, items in self.items.items():
            found, stack = [], [item for item in items if item not in self._plan.gone]
            seen = set(stack)
            while stack:
                job = stack.pop()
                own = [child for child in self._below.get(job, ()) if child >= self._first]
                if not own:
                    found.append(job)
                fresh = [child for child in own if child not in seen]
                seen.update(fresh)
                stack += fresh
            yield each, sorted(found)


def _unroll(graph: Graph, body: Body, each: int, sources: Sequence[int], around: Any, suffix: str) -> None:
    """Draw what a list will stamp out, once, under ids that end in ``[*]``."""
    part, mark = body.plan, f"{suffix}[*]"
    base, own = len(graph.nodes), len(part)
    links = {own + 1 + place: around(outer) for place, outer in enumerate(body.links)}

    def position(index: int) -> int | None:
        return base + index if index < own else links.get(index)

    graph.nodes += [_node(part, row, None, name + mark, "each") for row, name in enumerate(part.ids)]
    waits = set()
    for child, dependent, code in part.edges():
        if not code & SHARED:
            waits.add(dependent)
            graph.edges.append(
                (base + child, base + dependent, _soft(code) or child in part.optional.get(dependent, ()))
            )
    for link, dependent, code in body.outer:
        outer = position(link)
        if outer is not None:
            graph.edges.append((outer, base + dependent, _soft(code)))
    graph.edges += [(source, base + row, False) for source in sources for row in range(own) if row not in waits]
    graph.edges.append((base + body.root, each, _soft(EFFECTS[part.settings[body.root].on_failure])))
    for row, inner in part.lists.items():
        feeding = [base + child for child, dependent, _ in part.edges() if dependent == row] or list(sources)
        _unroll(graph, inner, base + row, feeding, position, mark)
