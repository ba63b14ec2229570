"""The planner: from declared jobs to ordered columns, checked; iterative, so that depth and width cost no stack.

One depth-first walk from the roots (arguments in order, then ``children``, then ``after``) gives two orders: the
order of first visits, by which jobs without an id are numbered, and the order of last visits, in which children stand
before their parents.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Sequence
from itertools import filterfalse
from typing import Any, TypeVar, cast

from flows import _registry
from flows._binding import CONTAINERS, Arguments, Binding, Pick, compile_value, is_reference, only_references, scan
from flows._flow import Flow
from flows._job import Job
from flows._numbering import number_around
from flows._placing import place_of
from flows._plan import Plan
from flows._reference import OptionalReference, Reference
from flows._state import EFFECTS, FAIL, IGNORE, ORDER_ONLY
from flows._task import call_arguments
from flows.errors import CycleError, DefinitionError, DuplicateJobError

R = TypeVar("R")

AnyJob = Job[Any]

_VALUE, _OPTIONAL, _ORDER = range(3)
_REMOVING = ("ignore", "remove", "continue")
"""Policies by which a dependent runs without the job's result."""

_OPEN = -1


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
    planner = _Planner(Flow.of(flow))
    with _no_collection():
        planner.walk()
        planner.place_jobs()
        planner.name_jobs()
        planner.link_jobs()
        planner.check()
    return planner.plan


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Hold the garbage collector back: planning makes containers and no garbage, and looking for some costs a fifth."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Planner:
    """The state of one planning: what has been visited, and the plan that grows from it."""

    def __init__(self, flow: Flow[Any]) -> None:
        self.flow = flow
        self.plan: Plan[Any] = Plan(flow.name, (), several=flow.several)
        self.plan.retention = flow.retention
        self.index: dict[AnyJob, int] = {}
        self.order: list[AnyJob] = []
        self.places: list[tuple[int, ...]] = []
        """Where the jobs stand that a job needs, in order; one may be there twice."""
        self.odd: dict[AnyJob, list[int] | None] = {}
        """Jobs whose arguments are not just results: the kinds of their edges (None: all by value)."""
        self.policies: set[str] = set()
        self.problems: list[DefinitionError] = []
        self.broken: set[AnyJob] = set()
        """Jobs whose data cannot be read through; what is wrong is said when they have ids."""

    def walk(self) -> None:
        """Visit all jobs: fills `index` in the order of first visits, `order` and `places` in that of last visits."""
        index, order, visited = self.index, self.order, self.index.get
        for root in self.flow.roots:
            if root in index:
                continue
            job, rest = root, iter(self._needs(root))
            places: list[int] = []
            index[job] = _OPEN
            stack: list[tuple[AnyJob, Iterator[AnyJob], list[int]]] = []
            while True:
                for child in rest:
                    place = visited(child)
                    if place is None:
                        needed = self._needs(child)
                        if needed:
                            index[child] = _OPEN
                            stack.append((job, rest, places))
                            job, rest, places = child, iter(needed), []
                            break
                        index[child] = place = len(order)
                        order.append(child)
                        self.places.append(())
                    elif place < 0:
                        raise self._cycle([job, *(entry[0] for entry in reversed(stack))], child)
                    places.append(place)
                else:
                    index[job] = place = len(order)
                    order.append(job)
                    self.places.append(tuple(places))
                    if not stack:
                        break
                    job, rest, places = stack.pop()
                    places.append(place)
        self.plan.roots = tuple(index[root] for root in self.flow.roots)

    def place_jobs(self) -> None:
        """Give each job its queue, task and options; those of the same task mostly have the same."""
        plan, order = self.plan, self.order
        keys: list[Any] = [
            job.task or job.name
            if job.opts is None and job.queue is None
            else (job.task or job.name, job.opts, job.queue)
            for job in order
        ]
        placed = {key: place_of(job) for key, job in dict(zip(keys, order, strict=True)).items()}
        rows = [placed[key] for key in keys]
        plan.names = [row.name for row in rows]
        plan.tasks = [row.task for row in rows]
        plan.queues_of = [row.queue for row in rows]
        plan.settings = [row.settings for row in rows]
        plan.distinct = tuple({id(row.settings): row.settings for row in placed.values()}.values())
        self.policies = {settings.on_failure for settings in plan.distinct}

    def link_jobs(self) -> None:
        """Lay the edges, and compile how results become arguments."""
        plan, index = self.plan, self.index
        odd = {index[job]: kinds for job, kinds in self.odd.items()}
        plan.inputs, plan.bindings = self.places.copy(), [*self.places]
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
        for position in sorted(odd):
            plan.bindings[position] = self._binding(position)

    def name_jobs(self) -> None:
        """Give ids: the given one, else the name, else ``name#2`` and on, by first visit.

        A run needs none as long as all goes well, so that mere numbers are left to whoever asks the plan first.
        """
        plan, index = self.plan, self.index
        plan._positions = index
        given: dict[str, AnyJob] = {}
        for job in [job for job in self.order if job.id is not None]:
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
            ids_given = {index[job]: job.id for job in self.order if job.id is not None}
            plan.ids = number_around(plan.names, index.values(), ids_given)

    def check(self) -> None:
        """Raise what is wrong: duplicate ids, jobs that nothing depends on, values that may be missing."""
        for job in filterfalse(self.index.__contains__, self.flow.made):
            self.problems.append(
                DefinitionError(
                    f"job {job.name!r} of flow {self.flow.name!r} would never run: nothing that was returned "
                    "depends on it; pass its .out on, add it with .after(), or return it too"
                )
            )
        removing: set[int] = set()
        if not self.policies.isdisjoint(_REMOVING):
            removing = {job for job, one in enumerate(self.plan.settings) if one.on_failure in _REMOVING}
        for position in sorted({dependent for child in removing for dependent in self.plan.dependents[child]}):
            self._check_holes(position, removing)
        if self.problems:
            raise DefinitionError.of(self.problems)

    def _needs(self, job: AnyJob) -> Sequence[AnyJob]:
        """What a job needs, in order: references in its arguments, its children, its order-only predecessors."""
        if job.kwargs or job.children or job.predecessors:
            return self._needs_oddly(job)
        needed: list[AnyJob] = []
        for value in job.args:
            if type(value) is not Reference or value._path:
                return self._needs_oddly(job)
            needed.append(value._job)
        return needed

    def _needs_oddly(self, job: AnyJob) -> Sequence[AnyJob]:
        needed: list[AnyJob] = []
        optional: set[int] = set()

        def found(item: object) -> None:
            if type(item) is OptionalReference:
                optional.add(len(needed))
                item = item.reference
            needed.append(item._job if type(item) is Reference else cast("AnyJob", item))

        try:
            for value in (*job.args, *job.kwargs.values()):
                if type(value) is Reference:
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
        if optional or job.predecessors:
            self.odd[job] = [
                _OPTIONAL if place in optional else _VALUE if place < values else _ORDER for place in range(len(needed))
            ]
        return needed

    def _link_oddly(self, position: int, kinds: list[int]) -> None:
        """As `link_jobs` does, where edges may be optional, order-only, or of other policies than ``fail``."""
        plan = self.plan
        inputs: dict[int, None] = {}
        seen: set[tuple[int, int]] = set()
        for child, kind in zip(self.places[position], kinds, strict=True):
            if (child, kind) in seen or (kind == _ORDER and (child, _VALUE) in seen):
                continue  # the same edge again; a value edge orders as well
            seen.add((child, kind))
            effect = IGNORE if kind == _OPTIONAL else EFFECTS[plan.settings[child].on_failure]
            if kind == _ORDER:
                effect |= ORDER_ONLY
            else:
                inputs[child] = None
            if kind == _OPTIONAL:
                plan.optional.setdefault(position, set()).add(child)
            ahead = plan.dependents[child]
            if effect != FAIL or child in plan.effects:
                plan.effects.setdefault(child, [FAIL] * len(ahead)).append(effect)
            plan.dependents[child] = [*ahead, position] if type(ahead) is tuple else ahead
            if type(ahead) is list:
                ahead.append(position)
        plan.pending[position] = len(seen)
        plan.inputs[position] = tuple(inputs)

    def _binding(self, position: int) -> Binding:
        job, spot, index = self.order[position], self._spot(position), self.index
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

    def _check_holes(self, position: int, removing: set[int]) -> None:
        """A value that may fall away must go to a place that can do without it."""
        plan = self.plan
        job = self.order[position]
        task = job.task or _registry.find(job.name, plan.queues_of[position])
        if task is None or job in self.broken:
            return  # a handler that is not known here; a missing parameter will fail the job with its name
        kinds = self.odd.get(job)
        releasing = any(
            plan.settings[child].on_failure == "continue" and (kinds is None or kinds[place] != _OPTIONAL)
            for place, child in enumerate(self.places[position])
        )
        named = call_arguments(task, job.args, job.kwargs) if job.task else job.kwargs
        compiled = {name: compile_value(value, self.index, self._spot(position)) for name, value in named.items()}
        parameters = task.signature.parameters
        for name, value in compiled.items():
            if type(value) is Pick and not value.optional and (releasing or value.child in removing):
                parameter = parameters.get(name)
                if parameter is not None and parameter.default is parameter.empty:
                    self.problems.append(self._hole(position, name, value.child))
        plan.bindings[position] = Arguments((), compiled, by_name=True)

    def _hole(self, position: int, parameter: str, child: int) -> DefinitionError:
        policy = self.plan.settings[child].on_failure
        why = (
            f"has on_failure={policy!r}, so there may be no value"
            if policy in _REMOVING
            else "may still be running when a dependency with on_failure='continue' releases the job"
        )
        return DefinitionError(
            f"{self._spot(position)}: parameter {parameter!r} takes the result of {self.plan.ids[child]!r}, "
            f"which {why}; pass flows.optional(job.out), give the parameter a default, take flows.Children, or use "
            ".after()"
        )

    def _spot(self, position: int) -> str:
        return f"job {self.plan.ids[position]!r}"

    def _cycle(self, path: list[AnyJob], child: AnyJob) -> CycleError:
        """*path* leads from the job at hand up to a root; *child* stands on it and is needed again."""
        self.order = list(self.index)
        self.index = {job: place for place, job in enumerate(self.order)}
        self.plan.names = [job.name for job in self.order]
        self.name_jobs()
        names = [self.plan.ids[self.index[job]] for job in path[: path.index(child) + 1]]
        if len(names) == 1:
            return CycleError(f"job {names[0]!r} depends on itself", cycle=(names[0], names[0]))
        shown = [names[-1], *names] if len(names) <= 20 else [names[-1], *names[:9], "...", *names[-9:]]
        return CycleError(
            f"jobs wait for each other in a circle: {' -> '.join(shown)} (each runs before the next); "
            "take one of these edges out",
            cycle=(names[-1], *names),
        )
