"""The planner: from declared jobs to ordered columns, checked; iterative, so that depth and width cost no stack.

One depth-first walk from the roots (arguments in order, then ``children``, then ``after``) gives two orders: the
order of first visits, by which jobs without an id are numbered, and the order of last visits, in which children stand
before their parents.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import filterfalse
from operator import attrgetter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flows._binding import (
    ATOMS,
    CONTAINERS,
    Arguments,
    Binding,
    compile_value,
    is_reference,
    only_references,
    referred,
    scan,
)
from flows._cycles import cycle_error
from flows._each import Item
from flows._flow import Flow
from flows._holes import REMOVING, holes
from flows._job import Job
from flows._numbering import number_around
from flows._placing import limits_of, places_of
from flows._plan import Plan
from flows._reference import OptionalReference, Reference
from flows._retracing import retraced
from flows._shapes import SHAPE_JOBS, Key, known, remember, shape_of
from flows._state import CONTINUE, EFFECTS, FAIL, IGNORE, ORDER_ONLY, SHARED
from flows.errors import DefinitionError, DuplicateJobError

if TYPE_CHECKING:
    from flows._bodies import BodyPlanner

R = TypeVar("R")

AnyJob = Job[Any]

_VALUE, OPTIONAL, _ORDER, _CONDITION, _WAIT = range(5)
"""Kinds of edges: the last two bring a `when` its condition and an `each` what its body shares, but no argument."""

_OPEN = -1

_task_of = attrgetter("task")


def plan(flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R]) -> Plan[R]:
    """Order and check a flow: a snapshot that later changes to its jobs do not reach.

    Deterministic: the same declaration gives the same order, ids and fingerprint in every process.

    Raises:
        CycleError: Jobs depend on each other in a circle; the message names it.
        DuplicateJobError: Two jobs were given one id.
        DefinitionError: Anything else that can be known before running; up to 20 problems in one error.
    """
    if isinstance(flow, Plan):
        return flow
    declared = Flow.of(flow)
    if (planned := retraced(declared)) is not None:
        return planned
    planner = Planner(declared)
    # The garbage collector is held back: planning makes containers and no garbage, and looking for some costs a fifth.
    was_on = gc.isenabled()
    gc.disable()
    try:
        planner.walk()
        planner.lay_out()
        planner.check()
    finally:
        if was_on:
            gc.enable()
    return planner.plan


class Planner:
    """The state of one planning: what has been visited, and the plan that grows from it."""

    depth = 0
    """How many lists the jobs stand in."""
    inside: frozenset[AnyJob] | None = None
    """The jobs whose needs are looked at, the others being leaves; None: all."""
    alone = False
    """Whether more than the shape of the flow decides about the columns: conditions, lists, jobs with odd options."""
    plan: Plan[Any]
    named: list[AnyJob]
    """Those that were given ids, in run order."""
    roots: tuple[int, ...]

    def __init__(self, flow: Flow[Any]) -> None:
        self.flow = flow
        self.index: dict[AnyJob, int] = {}
        self.order: list[AnyJob] = []
        self.places: list[tuple[int, ...]] = []
        """Where the jobs stand that a job needs, in order; one may be there twice."""
        self.odd: dict[AnyJob, list[int] | None] = {}
        """Jobs whose arguments are not just results: the kinds of their edges (None: all by value)."""
        self.plain: list[AnyJob] = []
        """Jobs whose arguments are plain values that never change."""
        self.policies: set[str] = set()
        self.shape: Key | None = None
        """What to remember the columns under once they are known to be right."""
        self.problems: list[DefinitionError] = []
        self.broken: set[AnyJob] = set()
        """Jobs whose data cannot be read through; what is wrong is said when they have ids."""
        self.bodies: dict[AnyJob, BodyPlanner] = {}
        """The bodies of the lists among the jobs."""

    def walk(self) -> None:
        """Visit all jobs: fills `index` in the order of first visits, `order` and `places` in that of last visits."""
        index, order, all_places, inside = self.index, self.order, self.places, self.inside
        visited = index.get
        for root in self.flow.roots:
            if root in index:
                continue
            job, rest = root, iter(self._needs(root))
            places: list[int] = []
            index[job] = _OPEN
            stack: list[tuple[AnyJob, Iterator[Any], list[int]]] = []
            while True:
                for value in rest:
                    if type(value) is Reference:
                        child = value._job
                    elif isinstance(value, Job):
                        child = value
                    else:  # no whole result: from the start, and closely
                        rest, places = iter(self._needs_closely(job)), []
                        break
                    place = visited(child)
                    if place is None:
                        if inside is not None and child not in inside:
                            needed: Sequence[Any] = ()
                        else:
                            needed = self.needs_oddly(child) if child.odd else child.args
                        if needed:
                            index[child] = _OPEN
                            stack.append((job, rest, places))
                            job, rest, places = child, iter(needed), []
                            break
                        index[child] = place = len(order)
                        order.append(child)
                        all_places.append(())
                    elif place < 0:
                        raise cycle_error(list(index), [job, *(entry[0] for entry in reversed(stack))], child)
                    places.append(place)
                else:
                    index[job] = place = len(order)
                    order.append(job)
                    all_places.append(tuple(places))
                    if not stack:
                        break
                    job, rest, places = stack.pop()
                    places.append(place)
        self.roots = tuple([index[root] for root in self.flow.roots])

    def lay_out(self) -> None:
        """Fill the columns of the plan, or take those of one of the same shape."""
        flow, roots, pattern = self.flow, self.roots, None
        if not self.alone and len(self.order) <= SHAPE_JOBS:
            self.shape = shape_of(self.order, self.places, self.odd, roots)
            pattern = known(self.shape)
        self.plan = Plan(flow.name, roots, several=flow.several, pattern=pattern)
        self.plan.retention = flow.retention
        self.plan._positions = self.index
        if pattern is None:
            self.place_jobs()
            self.name_jobs()
            self.link_jobs()
        else:
            self.plan.tasks = list(map(_task_of, self.order))
            self.shape = None
        self.bind_jobs()
        if self.bodies:
            from flows._bodies import finish

            finish(self)

    def place_jobs(self) -> None:
        """Give each job its queue and options; those of the same task mostly have the same."""
        plan = self.plan
        rows, self.named = places_of(self.order)
        plan.names = [row.name for row in rows]
        plan.queues_of = [row.queue for row in rows]
        plan.settings = [row.settings for row in rows]
        distinct = {row: row.task() for row in dict.fromkeys(rows)}
        plan.tasks = list(map(distinct.__getitem__, rows))
        plan.distinct = tuple({id(row.settings): row.settings for row in distinct}.values())
        plan.limits = limits_of(distinct)
        self.policies = {settings.on_failure for settings in plan.distinct}

    def link_jobs(self) -> None:
        """Lay the edges."""
        plan, index = self.plan, self.index
        odd = {index[job]: kinds for job, kinds in self.odd.items()}
        plan.inputs = self.places.copy()
        plan.pending = list(map(len, self.places))
        dependents: list[list[int] | tuple[int, ...]] = [()] * len(self.order)
        plan.dependents = dependents
        by_policy = self.policies != {"fail"}
        twice: set[int] = set()
        for position, places in enumerate(self.places):
            if by_policy or (odd and odd.get(position)):
                self._link_oddly(position, odd.get(position) or [_VALUE] * len(places))
                by_policy = by_policy or bool(plan.effects)
                continue
            only = (position,)
            for child in places:
                ahead = dependents[child]
                if not ahead:
                    dependents[child] = only  # shared by all children of a fan-in
                elif ahead[-1] == position:
                    twice.add(position)
                elif type(ahead) is list:
                    ahead.append(position)
                else:
                    dependents[child] = [*ahead, position]
        for position in twice:
            plan.inputs[position] = tuple(dict.fromkeys(self.places[position]))
            plan.pending[position] = len(plan.inputs[position])

    def bind_jobs(self) -> None:
        """Compile how results become arguments."""
        plan, index = self.plan, self.index
        plan.bindings = self.places.copy()  # type: ignore[assignment]  # others will be put in
        for job in self.plain:
            plan.bindings[index[job]] = Arguments(job.args, {}, by_name=False, plain=True)
        for position in sorted([index[job] for job in self.odd]) if self.odd else ():
            plan.bindings[position] = self.binding(position)
            conditions = self.order[position].conditions
            if conditions:
                spot = self.spot(position)
                plan.conditions[position] = tuple([compile_value(one, index, spot) for one in conditions])

    def name_jobs(self) -> None:
        """Give ids: the given one, else the name, else ``name#2`` and on, by first visit.

        A run needs none as long as all goes well, so that mere numbers are left to whoever asks the plan first.
        """
        plan, index = self.plan, self.index
        given: dict[str, AnyJob] = {}
        for job in self.named:
            job_id = cast("str", job.id)
            if job_id in given:
                self.problems.append(
                    DuplicateJobError(
                        f"two jobs have the id {job_id!r} (tasks {given[job_id].name!r} and {job.name!r}); ids are "
                        "unique in a flow: pass the same job object where one job is meant, or give another id=",
                        job=job_id,
                    )
                )
            given[job_id] = job
        # Only a given id, or a name that looks like a number of another, can be in the way of a number.
        if given or any("#" in name for name in set(plan.names)):
            ids_given = {index[job]: cast("str", job.id) for job in self.named}
            plan.ids = number_around(plan.names, index.values(), ids_given)

    def check(self) -> None:
        """Raise what is wrong: duplicate ids, jobs that nothing depends on, values that may be missing."""
        made = self.flow.made
        for job in filterfalse(self.index.__contains__, made) if made else ():
            self.problems.append(
                DefinitionError(
                    f"job {job.id or job.name!r} of flow {self.flow.name!r} would never run: nothing that was returned "
                    "depends on it; pass its .out on, add it with .after(), or return it too"
                )
            )
        if not self.policies.isdisjoint(REMOVING):
            self.problems += holes(self)
            self.shape = None  # more than that decides about bindings, too
        if self.problems:
            raise DefinitionError.of(self.problems)
        if self.shape is not None:
            remember(self.shape, self.plan, self.index.values())

    def _needs(self, job: AnyJob) -> Sequence[Any]:
        """What a job needs, in order: references in its arguments, its children, its order-only predecessors.

        Jobs, and whole results of jobs. The arguments of a job that has nothing else are given as they are, as they
        mostly are just that.
        """
        return self.needs_oddly(job) if job.odd else job.args

    def _needs_closely(self, job: AnyJob) -> Sequence[AnyJob]:
        """As `_needs`, for arguments that are more or less than whole results."""
        if ATOMS.issuperset(map(type, job.args)):
            self.plain.append(job)
            return ()
        return self.needs_oddly(job)

    def needs_oddly(self, job: AnyJob) -> Sequence[AnyJob]:
        """As `_needs`, for jobs of any kind; notes of what kinds their edges are."""
        if type(job) is Item:
            raise DefinitionError("the item of an each() is used outside of it; use the list that each() returns")
        needed: list[AnyJob] = []
        optional: set[int] = set()

        def found(item: object) -> None:
            if type(item) is OptionalReference:
                optional.add(len(needed))
                item = item.reference
            needed.append(item._job if isinstance(item, Reference) else cast("AnyJob", item))

        try:
            for value in (*job.args, *job.kwargs.values()):
                if isinstance(value, Reference):
                    needed.append(value._job)
                elif only_references(value):
                    needed.extend([item._job for item in value])
                elif isinstance(value, CONTAINERS) or is_reference(value):
                    scan(value, found, "")
        except DefinitionError:
            self.broken.add(job)
        values = len(needed) + len(job.children)
        needed += job.children
        needed += job.predecessors
        self.odd[job] = None
        if optional or job.predecessors or job.conditions or job.spread is not None:
            self.odd[job] = kinds = [
                OPTIONAL if place in optional else _VALUE if place < values else _ORDER for place in range(len(needed))
            ]
            self._add_control(job, needed, kinds)
        return needed

    def _add_control(self, job: AnyJob, needed: list[AnyJob], kinds: list[int]) -> None:
        """What a condition is taken from, and what the body of a list shares."""
        self.alone = self.alone or bool(job.conditions) or job.spread is not None
        judged = [referred(condition) for condition in job.conditions if is_reference(condition)]
        needed += judged
        kinds += [_CONDITION] * len(judged)
        if job.spread is not None:
            from flows._bodies import BodyPlanner  # which are planners, too

            body = self.bodies[job] = BodyPlanner(job, self.depth + 1)
            needed += body.outside
            kinds += [_WAIT] * len(body.outside)

    def _link_oddly(self, position: int, kinds: list[int]) -> None:
        """As `link_jobs` does, where edges may be optional, order-only, or of other policies than ``fail``."""
        plan, spread = self.plan, self.order[position].spread is not None
        inputs: dict[int, None] = {}
        seen: set[tuple[int, int]] = set()
        for child, kind in zip(self.places[position], kinds, strict=True):
            if (child, kind) in seen or (kind >= _ORDER and (child, _VALUE) in seen):
                continue  # the same edge again; a value edge orders as well
            seen.add((child, kind))
            effect = IGNORE if kind in (OPTIONAL, _WAIT) else EFFECTS[plan.settings[child].on_failure]
            if effect == CONTINUE and spread:
                effect = IGNORE  # a list is taken up when all that it waits for has ended
            if kind == _WAIT:
                effect |= ORDER_ONLY | SHARED
            elif kind == _ORDER:
                effect |= ORDER_ONLY
            elif kind != _CONDITION:
                inputs[child] = None
            if kind == OPTIONAL:
                plan.optional.setdefault(position, set()).add(child)
            ahead = plan.dependents[child]
            if effect != FAIL or child in plan.effects:
                plan.effects.setdefault(child, [FAIL] * len(ahead)).append(effect)
            plan.dependents[child] = [*ahead, position] if type(ahead) is tuple else ahead
            if type(ahead) is list:
                ahead.append(position)
        plan.pending[position] = len(seen)
        plan.inputs[position] = tuple(inputs)

    def binding(self, position: int) -> Binding:
        """How results become the arguments of a job that takes more than whole results."""
        job, spot, index = self.order[position], self.spot(position), self.index
        try:
            if job in self.broken:
                scan([*job.args, *job.kwargs.values()], lambda _: None, spot)
            return Arguments(
                tuple([compile_value(value, index, spot) for value in job.args]),
                {name: compile_value(value, index, spot) for name, value in job.kwargs.items()},
                by_name=job.task is None,
            )
        except DefinitionError as error:
            self.problems.append(error)
            return ()

    def released_early(self, position: int) -> bool:
        """Whether the job may be released while others of its dependencies have not ended."""
        job, settings = self.order[position], self.plan.settings
        kinds = self.odd.get(job)
        return job.spread is None and any(
            settings[child].on_failure == "continue" and (kinds is None or kinds[place] != OPTIONAL)
            for place, child in enumerate(self.places[position])
        )

    def spot(self, position: int) -> str:
        return f"job {self.plan.ids[position]!r}"
