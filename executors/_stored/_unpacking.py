"""Unpacking: a plan made of a stored header and rows again, and what lists have added to it since."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, overload

from executors._stored._header import Header, StoredBody
from executors._stored._reading import ListFacts
from executors._stored._rows import arguments_of, children_of, more_of
from executors._stored._values import read
from flows._binding import Binding, Held
from flows._bodies import Body, OuterEdge, stamped
from flows._plan import Plan
from flows._state import EFFECTS, FAIL


def unpack(header: Header, rows: Sequence[Sequence[Any]]) -> Plan[Any]:
    """The plan that was submitted, as far as it can be told from what was stored.

    Tasks are those of their names in this process, None where there is none and for literal jobs; data is plain.
    """
    bodies: dict[int, Body] = {}
    for number in reversed(range(len(header.bodies))):  # inner ones stand after those around them
        bodies[number] = _body(header, header.bodies[number], bodies)
    plan: Plan[Any] = Plan(header.name, header.roots, several=header.several)
    _fill(plan, header, rows, bodies)
    plan.limits = dict(header.limits)
    plan._fingerprint = header.fingerprint or None
    return plan


def _body(header: Header, stored: StoredBody, bodies: Mapping[int, Body]) -> Body:
    plan: Plan[Any] = Plan(stored.names[stored.root], (stored.root,), several=False)
    outer = _fill(plan, header, stored.rows, bodies)
    return Body(plan, stored.names, stored.links, outer, stored.limit)


def _fill(
    plan: Plan[Any], header: Header, rows: Sequence[Sequence[Any]], bodies: Mapping[int, Body]
) -> list[OuterEdge]:
    """Fill the columns of *plan*; returns the edges that come from outside of it, for a body."""
    size = len(rows)
    dependents: list[list[int]] = [[] for _ in rows]
    codes: dict[int, list[int]] = {}
    outer: list[OuterEdge] = []
    kinds = header.kinds
    tasks = [kind.task for kind in kinds]
    settings = [kind.settings_for(task) for kind, task in zip(kinds, tasks, strict=True)]
    plan.ids = [row[0] for row in rows]
    numbers = [row[1] for row in rows]
    plan.names = [kinds[number].name for number in numbers]
    plan.queues_of = [kinds[number].queue for number in numbers]
    plan.tasks = [tasks[number] if kinds[number].typed else None for number in numbers]
    plan.settings = [settings[number] for number in numbers]
    plan.distinct = tuple({id(one): one for one in plan.settings}.values())
    for job, row in enumerate(rows):
        more, children = more_of(row), children_of(row)
        plan.bindings.append(arguments_of(row))
        plan.inputs.append(tuple(children[: more["n"]] if "n" in more else children))
        edges = more.get("e")
        if edges is None:
            edges = [(child, FAIL) for child in plan.inputs[job] if child != size]  # in a body that is the item
        plan.pending.append(len(edges))
        for child, code in edges:
            if child >= size:
                outer.append(OuterEdge(child, job, code))
                continue
            if code != FAIL and child not in codes:
                codes[child] = [FAIL] * len(dependents[child])
            dependents[child].append(job)
            if child in codes:
                codes[child].append(code)
        if more:
            if "o" in more:
                plan.optional[job] = set(more["o"])
            if "w" in more:
                plan.conditions[job] = tuple(more["w"])
            if "l" in more:
                plan.lists[job] = bodies[more["l"]]
    plan.dependents, plan.effects = [*dependents], codes
    return sorted(outer, key=lambda edge: edge.link)


def grown(
    origin: Plan[Any], size: int, lists: Sequence[ListFacts], items_of: Callable[[int], Sequence[bytes]]
) -> tuple[Plan[Any], dict[int, list[int]]]:
    """The plan of a run whose lists have been expanded.

    Args:
        origin: As submitted.
        size: Rows that the run has.
        lists: Those that are expanded, outer ones before those in their items.
        items_of: Fetches the items of a list; called when somebody looks at the arguments of one of their jobs.

    Returns:
        The plan, in which rows that are reserved for items to come, or were given up, are `gone`; and for each list
        the root job of each of its items.
    """
    growing = _Growing(origin, size, items_of)
    for facts in lists:
        growing.stamp(facts)
    plan = growing.plan
    plan.gone = growing.reserved
    return plan, growing.roots


class _Growing:
    """Puts the jobs of items into the columns of a plan."""

    def __init__(self, origin: Plan[Any], size: int, items_of: Callable[[int], Sequence[bytes]]) -> None:
        self.plan = plan = origin.copy()
        self.roots: dict[int, list[int]] = {}
        self.reserved = set(range(len(origin), size))
        self.bindings = _Bindings(origin.bindings, size, items_of)
        self._around: dict[int, tuple[Sequence[Any], str]] = {}
        """For a list in an item: the space around it, and what its id ends with."""
        more = size - len(origin)
        plan.ids = [*origin.ids, *[""] * more]
        for column in (plan.names, plan.queues_of):
            column.extend([""] * more)
        plan.tasks.extend([None] * more)
        plan.settings.extend(origin.settings[:1] * more)
        plan.inputs.extend([()] * more)
        plan.pending.extend([0] * more)
        plan.dependents = [*map(list, origin.dependents), *([] for _ in range(more))]
        plan.bindings = self.bindings  # type: ignore[assignment]

    def stamp(self, facts: ListFacts) -> None:
        """Put the items of a list that have been begun."""
        body = self.plan.lists.get(facts.job)
        if body is None:
            return  # of an item that was given up
        around, suffix = self._around.get(facts.job, ((), ""))
        size = len(body.plan)
        self.roots[facts.job] = roots = []
        for position in range(facts.begun):
            base = facts.base_of(position, size)
            roots.append(base + body.root)
            links = [around[link] if around else link for link in body.links]
            space = [*range(base, base + size), _Item(facts.job, position), *links]
            self._put(body, base, space, f"{suffix}[{position}]", facts.job)

    def _put(self, body: Body, base: int, space: Sequence[Any], label: str, job: int) -> None:
        plan, part = self.plan, body.plan
        rows = slice(base, base + len(part))
        plan.ids[rows] = [name + label for name in part.ids]
        plan.names[rows], plan.queues_of[rows] = part.names, part.queues_of
        plan.tasks[rows], plan.settings[rows], plan.pending[rows] = part.tasks, part.settings, part.pending
        for one in range(len(part)):
            row = base + one
            plan.inputs[row] = tuple([space[child] for child in part.inputs[one] if type(space[child]) is int])
            self.bindings.stamped[row] = part.bindings[one], space
            plan.dependents[row] = [base + dependent for dependent in part.dependents[one]]
            if one in part.effects:
                plan.effects[row] = list(part.effects[one])
            if one in part.optional:
                plan.optional[row] = {space[child] for child in part.optional[one] if type(space[child]) is int}
            if one in part.conditions:
                plan.conditions[row] = ()  # that there are some is all that is read of a run which grows
            if one in part.lists:
                plan.lists[row] = part.lists[one]
                self._around[row] = space, label
        self.reserved.difference_update(range(base, base + len(part)))
        self._join(base + body.root, job, EFFECTS[part.settings[body.root].on_failure])
        for link, dependent, effect in body.outer:
            child = space[link]
            if type(child) is int:
                self._join(child, base + dependent, effect)
            else:
                plan.pending[base + dependent] -= 1

    def _join(self, child: int, dependent: int, effect: int) -> None:
        plan = self.plan
        before: Any = plan.dependents[child]
        if effect != FAIL or child in plan.effects:
            plan.effects.setdefault(child, [FAIL] * len(before)).append(effect)
        before.append(dependent)


class _Item:
    """Stands for an item of a list until somebody wants to see it."""

    __slots__ = ("list_job", "position")

    def __init__(self, list_job: int, position: int) -> None:
        self.list_job = list_job
        self.position = position


class _Bindings(Sequence[Binding]):
    """The bindings of a run; those of items' jobs are made when they are looked at."""

    def __init__(self, origin: Sequence[Binding], size: int, items_of: Callable[[int], Sequence[bytes]]) -> None:
        self._origin = origin
        self._size = size
        self._items_of = items_of
        self._items: dict[int, Sequence[bytes]] = {}
        self.stamped: dict[int, tuple[Binding, Sequence[Any]]] = {}

    def shown(self, space: Sequence[Any]) -> list[Any]:
        """The space around a stamped job with its items in it."""
        return [self._held(place) if type(place) is _Item else place for place in space]

    def _held(self, item: _Item) -> Held:
        items = self._items.get(item.list_job)
        if items is None:
            items = self._items[item.list_job] = self._items_of(item.list_job)
        return Held(read(items[item.position]) if item.position < len(items) else None, ())

    @overload
    def __getitem__(self, job: int) -> Binding: ...
    @overload
    def __getitem__(self, job: slice) -> list[Binding]: ...
    def __getitem__(self, job: int | slice) -> Binding | list[Binding]:
        if isinstance(job, slice):
            return [self[one] for one in range(*job.indices(len(self)))]
        if job < len(self._origin):
            return self._origin[job]
        found = self.stamped.get(job)
        return () if found is None else stamped(found[0], self.shown(found[1]))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Binding]:
        return (self[job] for job in range(len(self)))
