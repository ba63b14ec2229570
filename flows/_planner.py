"""The planner: from declared jobs to ordered columns, checked; iterative, so that depth and width cost no stack.

One depth-first walk from the roots (arguments in order, then ``children``, then ``after``) gives two orders: the
order of first visits, by which jobs without an id are numbered, and the order of last visits, in which children stand
before their parents.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

from flows import _registry
from flows._binding import CONTAINERS, Arguments, Binding, Pick, compile_value, is_reference, only_references, scan
from flows._flow import Flow
from flows._job import Job
from flows._opts import Opts, Queue, Settings, resolve
from flows._plan import Plan
from flows._reference import OptionalReference, Reference
from flows._state import EFFECTS, FAIL, IGNORE, ORDER_ONLY
from flows._task import DEFAULT_QUEUE, call_arguments
from flows.errors import CycleError, DefinitionError, DuplicateJobError

R = TypeVar("R")

AnyJob = Job[Any]

Needs = tuple[list[AnyJob], list[int] | None, bool]
"""What a job needs: jobs, the kinds of its edges (None: all by value), and whether its arguments are just their
results.
"""

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
        self.needs: list[Needs] = []
        self.problems: list[DefinitionError] = []
        self.broken: set[AnyJob] = set()
        """Jobs whose data cannot be read through; what is wrong is said when they have ids."""

    def walk(self) -> None:
        """Visit all jobs: fills `index` in the order of first visits, `order` and `needs` in that of last visits."""
        index, order, needs = self.index, self.order, self.needs
        for root in self.flow.roots:
            if root in index:
                continue
            job, needed = root, self._needs(root)
            rest = iter(needed[0])
            index[job] = _OPEN
            stack: list[tuple[AnyJob, Needs, Iterator[AnyJob]]] = []
            while True:
                for child in rest:
                    known = index.get(child)
                    if known is None:
                        below = self._needs(child)
                        if below[0]:
                            index[child] = _OPEN
                            stack.append((job, needed, rest))
                            job, needed, rest = child, below, iter(below[0])
                            break
                        index[child] = len(order)
                        order.append(child)
                        needs.append(below)
                    elif known == _OPEN:
                        raise self._cycle([job, *(entry[0] for entry in reversed(stack))], child)
                else:
                    index[job] = len(order)
                    order.append(job)
                    needs.append(needed)
                    if not stack:
                        break
                    job, needed, rest = stack.pop()
        self.plan.roots = tuple(index[root] for root in self.flow.roots)

    def place_jobs(self) -> None:
        """Give each job its queue, task and options."""
        plan, order = self.plan, self.order
        plan.names = [job.name for job in order]
        plan.tasks = [job.task for job in order]
        plan.dependents = [()] * len(order)
        places: dict[Any, tuple[str, Settings]] = {}
        for job in order:
            task = job.task
            key = (
                task
                if job.opts is None and job.queue is None and task is not None
                else (task or job.name, job.opts, job.queue)
            )
            place = places.get(key)
            if place is None:
                place = places[key] = _place(job, plan.limits)
            plan.queues_of.append(place[0])
            plan.settings.append(place[1])

    def link_jobs(self) -> None:
        """Lay the edges, and compile how results become arguments."""
        plan, index, dependents = self.plan, self.index, self.plan.dependents
        place_of = index.__getitem__
        add_pending, add_inputs, add_binding = plan.pending.append, plan.inputs.append, plan.bindings.append
        odd = {job for job, one in enumerate(plan.settings) if one.on_failure != "fail"}
        for position, (needed, kinds, whole) in enumerate(self.needs):
            if kinds is not None or odd or plan.effects:
                self._link_oddly(position, needed, kinds or [_VALUE] * len(needed))
                places = tuple(map(place_of, needed)) if whole else ()
            else:
                places = tuple(map(place_of, needed))
                twice = len(places) > 1 and len(set(places)) < len(places)
                inputs = tuple(dict.fromkeys(places)) if twice else places
                only = (position,)
                for child in inputs:
                    ahead = dependents[child]
                    if not ahead:
                        dependents[child] = only  # shared by all children of a fan-in
                    elif type(ahead) is list:
                        ahead.append(position)
                    else:
                        dependents[child] = [*ahead, position]
                add_pending(len(inputs))
                add_inputs(inputs)
            add_binding(places if whole else self._binding(position))

    def name_jobs(self) -> None:
        """Give ids: the given one, else the name, else ``name#2`` and on, by first visit."""
        ids: list[str] = [""] * len(self.order)
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
        taken = set(given)
        clash = bool(given) or any("#" in name for name in set(self.plan.names))
        counts: dict[str, int] = {}
        for job, position in self.index.items():
            if job.id is not None:
                ids[position] = job.id
                continue
            name = job.name
            count = counts.get(name, 0) + 1
            job_id = name if count == 1 else f"{name}#{count}"
            if clash:
                while job_id in taken:
                    count += 1
                    job_id = f"{name}#{count}"
                taken.add(job_id)
            counts[name] = count
            ids[position] = job_id
        self.plan.ids = ids
        self.plan._positions = self.index

    def check(self) -> None:
        """Raise what is wrong: duplicate ids, jobs that nothing depends on, values that may be missing."""
        for job in self.flow.made:
            if job not in self.index:
                self.problems.append(
                    DefinitionError(
                        f"job {job.name!r} of flow {self.flow.name!r} would never run: nothing that was returned "
                        "depends on it; pass its .out on, add it with .after(), or return it too"
                    )
                )
        removing = {job for job, one in enumerate(self.plan.settings) if one.on_failure in _REMOVING}
        for position in sorted({dependent for child in removing for dependent in self.plan.dependents[child]}):
            self._check_holes(position, removing)
        if self.problems:
            raise DefinitionError.of(self.problems)

    def _needs(self, job: AnyJob) -> Needs:
        """What a job needs, in order: references in its arguments, its children, its order-only predecessors."""
        args = job.args
        if job.kwargs or job.children or job.predecessors:
            return self._needs_oddly(job)
        needed: list[AnyJob] = []
        for value in args:
            if type(value) is not Reference or value._path:
                return self._needs_oddly(job)
            needed.append(value._job)
        return needed, None, True

    def _needs_oddly(self, job: AnyJob) -> Needs:
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
        if not optional and not job.predecessors:
            return needed, None, False
        kinds = [
            _OPTIONAL if place in optional else _VALUE if place < values else _ORDER for place in range(len(needed))
        ]
        return needed, kinds, False

    def _link_oddly(self, position: int, needed: list[AnyJob], kinds: list[int]) -> None:
        """As `link_jobs` does, where edges may be optional, order-only, or of other policies than ``fail``."""
        plan, index = self.plan, self.index
        inputs: dict[int, None] = {}
        seen: set[tuple[int, int]] = set()
        for job, kind in zip(needed, kinds, strict=True):
            child = index[job]
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
        plan.pending.append(len(seen))
        plan.inputs.append(tuple(inputs))

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
        needed, kinds, _ = self.needs[position]
        releasing = any(
            plan.settings[self.index[child]].on_failure == "continue" and (kinds is None or kinds[place] != _OPTIONAL)
            for place, child in enumerate(needed)
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


def _place(job: AnyJob, limits: dict[str, tuple[int | None, tuple[int, float] | None]]) -> tuple[str, Settings]:
    """The queue of a job, and its options resolved: its own over its task's over its queue's. Notes its limits."""
    task = job.task
    queue = job.queue
    if queue is None:
        found = task or _registry.find(job.name, None)
        queue = DEFAULT_QUEUE if found is None else found.home
    name = queue.name if isinstance(queue, Queue) else queue
    task = task or _registry.find(job.name, name)
    known = queue if isinstance(queue, Queue) else None
    if known is None and task is not None and isinstance(task.home, Queue) and task.home.name == queue:
        known = task.home
    queue_opts: Opts | None = None
    if known is not None:
        queue_opts = known.opts
        if name not in limits or known.concurrency is not None or known.rate_limit is not None:
            limits[name] = known.concurrency, known.rate_limit
    return name, resolve(queue_opts, None if task is None else task.opts, job.opts)
