"""Bodies: what an `each` stamps out per item, planned once with the flow.

A body is a plan of its own whose jobs may also take results from around it. Its *index space* is: first its own jobs,
children before parents; then the item; then its *links*, the jobs around it that it shares. To stamp a body is to
map this space to jobs of the run, which is a shift for its own jobs and a look into the enclosing space for links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

from flows._binding import Arguments, Binding, Held, Pick, Picks, Ready
from flows._flow import Flow
from flows._holes import REMOVING, holes
from flows._job import Job
from flows._plan import Plan
from flows._planner import Planner
from flows.errors import DefinitionError, DuplicateJobError

DEPTH_LIMIT: Final = 64
"""How many `each` may stand in one another."""

_STAMPED = re.compile(r"(.+?)(?:\[[0-9]+\])+")


class OuterEdge(NamedTuple):
    """An edge from a job around the body to one of its own."""

    link: int
    dependent: int
    effect: int


class Body:
    """What is stamped out per item.

    Attributes:
        plan: The jobs of the body; the ids are those of the item's jobs without the index. Children in `inputs`,
            `optional` and `bindings` are in the body's index space; `pending` counts all but the item.
        names: Ids over the whole index space.
        links: For each link its place in the index space around.
        outer: The edges that lead in.
        limit: How many items are open at once; None for all.
    """

    __slots__ = ("limit", "links", "names", "outer", "plan")

    def __init__(
        self, plan: Plan[Any], names: Sequence[str], links: Sequence[int], outer: Sequence[OuterEdge], limit: int | None
    ) -> None:
        self.plan = plan
        self.names = names
        self.links = links
        self.outer = outer
        self.limit = limit

    @property
    def root(self) -> int:
        """The job whose result goes into the list."""
        return self.plan.roots[0]


def bodies_of(plan: Plan[Any]) -> Iterator[Body]:
    """All bodies of a plan, outer ones before those in them."""
    found = list(plan.lists.values())
    for body in found:
        yield body
        found.extend(body.plan.lists.values())


def stamped(binding: Binding, space: Sequence[Any]) -> Binding:
    """The binding of a body's job for one item.

    Args:
        binding: With children in the body's index space.
        space: The jobs of the run that stand there; an item is a `Held`.
    """
    if type(binding) is tuple:
        places = [space[child] for child in binding]
        kinds = set(map(type, places))
        if kinds == {int}:
            return tuple(places)
        if kinds == {Held}:
            return Ready(tuple([place.item for place in places]), {}, by_name=False)
        return Arguments(
            tuple([place if type(place) is Held else Pick(place, (), False) for place in places]), {}, by_name=False
        )
    template = cast("Arguments", binding)
    if template.plain:
        return template
    return Arguments(
        tuple(_stamp(value, space) for value in template.args),
        {name: _stamp(value, space) for name, value in template.kwargs.items()},
        by_name=template.by_name,
    )


def stamped_conditions(conditions: tuple[Any, ...], space: Sequence[Any]) -> tuple[Any, ...]:
    """As `stamped`, for what must hold."""
    return tuple(_stamp(condition, space) for condition in conditions)


def _stamp(value: Any, space: Sequence[Any]) -> Any:
    kind = type(value)
    if kind is Pick:
        place = space[value.child]
        if type(place) is Held:
            return Held(place.item, value.path) if value.path else place
        return Pick(place, value.path, value.optional)
    if kind is Picks:
        places = [space[child] for child in value.children]
        if all(type(place) is int for place in places):
            return Picks(value.kind, places)
        return value.kind(place if type(place) is Held else Pick(place, (), False) for place in places)
    if kind is dict:
        return {key: _stamp(item, space) for key, item in value.items()}
    if kind is list or kind is tuple:
        return kind(_stamp(item, space) for item in value)
    return value


class BodyPlanner(Planner):
    """Plans the body of one list. Jobs from around it are leaves to it."""

    def __init__(self, job: Job[Any], depth: int) -> None:
        spread = job.spread
        assert spread is not None
        if depth > DEPTH_LIMIT:
            raise DefinitionError(f"job {job.name!r}: each() nests deeper than {DEPTH_LIMIT} levels")
        super().__init__(Flow(job.name, (spread.root,), several=False))
        self.depth = depth
        self.item = spread.item
        self.limit = spread.limit
        self.inside: frozenset[Job[Any]] = frozenset(spread.made)
        self.walk()
        self.outside = [one for one in self.order if one not in self.inside and one is not self.item]
        self.own = [one for one in self.order if one in self.inside]

    def plan_body(self, list_id: str, taken: set[str]) -> None:
        """Everything but the bodies inside it, which need its ids.

        Args:
            list_id: The id of the list.
            taken: Ids in use anywhere in the flow; those of the body are added.
        """
        places, walked = dict(zip(self.order, self.places, strict=True)), self.order
        visited = [one for one in self.index if one in self.inside]
        self.order = [*self.own, self.item, *self.outside]
        self.index = index = {one: place for place, one in enumerate(self.order)}
        self.places = [tuple([index[walked[place]] for place in places.get(one, ())]) for one in self.order]
        self.plan = Plan(self.flow.name, (index[self.flow.roots[0]],), several=False)
        self.place_jobs()
        self._name_body(list_id, visited, taken)
        self.link_jobs()
        self.bind_jobs()
        self._check_body(list_id)

    def body(self, around: Planner) -> Body:
        """The finished body. What concerns the space around its jobs is cut off the columns."""
        plan, size = self.plan, len(self.own)
        outer: list[OuterEdge] = []
        for link in range(size, len(self.order)):
            codes = plan.effects.pop(link, None)
            for place, dependent in enumerate(plan.dependents[link]):
                if link == size:  # the item is always there
                    plan.pending[dependent] -= 1
                else:
                    outer.append(OuterEdge(link, dependent, codes[place] if codes else 0))
        names = plan.ids
        plan.ids = names[:size]
        outward = (plan.names, plan.tasks, plan.queues_of, plan.settings, plan.dependents, plan.pending, plan.inputs)
        for column in (*outward, plan.bindings):
            del cast("list[Any]", column)[size:]
        return Body(plan, names, [around.index[one] for one in self.outside], outer, self.limit)

    def _name_body(self, list_id: str, visited: Sequence[Job[Any]], taken: set[str]) -> None:
        root = self.flow.roots[0]
        ids = {root: list_id, self.item: f"item of {list_id}"}
        counts: dict[str, int] = {}
        for job in visited:
            if job is root:
                continue
            if job.id is not None:
                if job.id in taken:
                    self.problems.append(
                        DuplicateJobError(
                            f"two jobs have the id {job.id!r}, one of them inside each() ({list_id!r}); ids are "
                            "unique in a flow",
                            job=job.id,
                        )
                    )
                job_id = job.id
            else:
                count = counts.get(job.name, 0) + 1
                job_id = job.name if count == 1 else f"{job.name}#{count}"
                while job_id in taken:
                    count += 1
                    job_id = f"{job.name}#{count}"
                counts[job.name] = count
            taken.add(job_id)
            ids[job] = job_id
        self.plan.ids = [ids.get(one) or one.id or one.name for one in self.order]
        self.plan._positions = self.index

    def _check_body(self, list_id: str) -> None:
        plan = self.plan
        if plan.settings[plan.roots[0]].on_failure == "continue":
            self.problems.append(
                DefinitionError(
                    f"job {list_id!r}: an item of each() cannot have on_failure='continue', since the list waits "
                    "for all; use 'ignore' to have a Failed in its place"
                )
            )
        for job in self.inside:
            if job not in self.index:
                self.problems.append(
                    DefinitionError(
                        f"job {job.id or job.name!r}, made inside each() ({list_id!r}), would never run: nothing that "
                        "the function returned depends on it"
                    )
                )


def finish(planner: Planner) -> None:
    """Plan the bodies of *planner*'s lists, and those in them, and check what only shows then."""
    taken = set(planner.plan.ids)
    templates: set[str] = set()
    open_: list[tuple[Planner, Job[Any], BodyPlanner]] = [(planner, *entry) for entry in planner.bodies.items()]
    for around, job, inner in open_:  # grows as bodies inside bodies are met
        position = around.index[job]
        inner.plan_body(around.plan.ids[position], taken)
        templates.update(inner.plan.ids[: len(inner.own)])
        open_.extend((inner, *entry) for entry in inner.bodies.items())
        leaked = [one for one in inner.inside if one in planner.index]
        inner.problems += [
            DefinitionError(
                f"job {one.name!r} was made inside each() ({around.plan.ids[position]!r}) and is used outside of it; "
                "use the list that each() returns, or make the job outside"
            )
            for one in leaked
        ]
    for around, job, inner in reversed(open_):  # inner bodies first: they look into the whole columns around them
        planner.problems += inner.problems + ([] if inner.policies.isdisjoint(REMOVING) else holes(inner))
        around.plan.limits = inner.plan.limits | around.plan.limits
        around.plan.lists[around.index[job]] = inner.body(around)
    planner.problems += _clashes(planner.plan.ids, templates)


def _clashes(ids: Sequence[str], templates: set[str]) -> list[DefinitionError]:
    """Given ids that look like those of an item's jobs."""
    found = [(job_id, match) for job_id in ids if (match := _STAMPED.fullmatch(job_id))]
    return [
        DuplicateJobError(
            f"the id {job_id!r} is that of an item of each() ({match[1]!r}); give another id=", job=job_id
        )
        for job_id, match in found
        if match[1] in templates
    ]
