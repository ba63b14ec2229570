"""The planner: from declared jobs to ordered columns, checked; iterative, so that depth and width cost no stack.

One depth-first walk from the roots (arguments in order, then ``children``, then ``after``) gives two orders: the
order of first visits, by which jobs without an id are numbered, and the order of last visits, in which children stand
before their parents.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flows import _registry
from flows._binding import (
    CONTAINERS,
    Arguments,
    Binding,
    compile_value,
    is_reference,
    only_references,
    referred,
    scan,
)
from flows._each import Item
from flows._flow import Flow
from flows._holes import holes
from flows._job import Job
from flows._opts import Opts, Queue, Settings, resolve
from flows._plan import Plan
from flows._reference import OptionalReference, Reference
from flows._state import CONTINUE, EFFECTS, FAIL, IGNORE, ORDER_ONLY, SHARED
from flows._task import DEFAULT_QUEUE
from flows.errors import CycleError, DefinitionError, DuplicateJobError

if TYPE_CHECKING:
    from flows._bodies import BodyPlanner

R = TypeVar("R")

AnyJob = Job[Any]

Needs = tuple[list[AnyJob], list[int] | None, bool]
"""What a job needs: jobs, the kinds of its edges (None: all by value), and whether its arguments are just their
results.
"""

_VALUE, OPTIONAL, _ORDER, _CONDITION, _WAIT = range(5)
"""Kinds of edges: the last two bring a `when` its condition and an `each` what its body shares, but no argument."""


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
    planner = Planner(Flow.of(flow))
    with _no_collection():
        planner.walk()
        planner.place_jobs()
        planner.name_jobs()
        planner.link_jobs()
        if planner.bodies:
            from flows._bodies import finish

            finish(planner)
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


class Planner:
    """The state of one planning: what has been visited, and the plan that grows from it."""

    depth = 0
    """How many lists the jobs stand in."""

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
        self.bodies: dict[AnyJob, BodyPlanner] = {}
        """The bodies of the lists among the jobs."""
        self.conditional: list[AnyJob] = []

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
                place = places[key] = _place(job)
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
        for job in self.conditional:
            position = index[job]
            plan.conditions[position] = tuple(compile_value(one, index, self.spot(position)) for one in job.conditions)

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
        self.problems += holes(self)
        if self.problems:
            raise DefinitionError.of(self.problems)

    def _needs(self, job: AnyJob) -> Needs:
        """What a job needs, in order: references in its arguments, its children, its order-only predecessors."""
        args = job.args
        if job.kwargs or job.children or job.predecessors or job.conditions:
            return self._needs_oddly(job)
        needed: list[AnyJob] = []
        for value in args:
            if type(value) is not Reference or value._path:
                return self._needs_oddly(job)
            needed.append(value._job)
        return needed, None, True

    def _needs_oddly(self, job: AnyJob) -> Needs:
        if type(job) is Item:
            raise DefinitionError("the item of an each() is used outside of it; use the list that each() returns")
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
        if not optional and len(needed) == values and not job.conditions and job.spread is None:
            return needed, None, False
        kinds = [
            OPTIONAL if place in optional else _VALUE if place < values else _ORDER for place in range(len(needed))
        ]
        if job.conditions:
            self.conditional.append(job)
            judged = [referred(condition) for condition in job.conditions if is_reference(condition)]
            needed += judged
            kinds += [_CONDITION] * len(judged)
        if job.spread is not None:
            body = self.bodies[job] = self._body(job)
            needed += body.outside
            kinds += [_WAIT] * len(body.outside)
        return needed, kinds, False

    def _body(self, job: AnyJob) -> BodyPlanner:
        from flows._bodies import BodyPlanner  # which are planners, too

        return BodyPlanner(job, self.depth + 1)

    def _link_oddly(self, position: int, needed: list[AnyJob], kinds: list[int]) -> None:
        """As `link_jobs` does, where edges may be optional, order-only, or of other policies than ``fail``."""
        plan, index = self.plan, self.index
        inputs: dict[int, None] = {}
        seen: set[tuple[int, int]] = set()
        spread = self.order[position].spread is not None
        for job, kind in zip(needed, kinds, strict=True):
            child = index[job]
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
        plan.pending.append(len(seen))
        plan.inputs.append(tuple(inputs))

    def _binding(self, position: int) -> Binding:
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
        needed, kinds, _ = self.needs[position]
        return self.order[position].spread is None and any(
            self.plan.settings[self.index[child]].on_failure == "continue"
            and (kinds is None or kinds[place] != OPTIONAL)
            for place, child in enumerate(needed)
        )

    def spot(self, position: int) -> str:
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


def _place(job: AnyJob) -> tuple[str, Settings]:
    """The queue of a job, and its options resolved: its own over its task's over its queue's."""
    task = job.task
    queue = job.queue
    if queue is None:
        found = task or _registry.find(job.name, None)
        queue = DEFAULT_QUEUE if found is None else found.home
    name = queue.name if isinstance(queue, Queue) else queue
    task = task or _registry.find(job.name, name)
    queue_opts: Opts | None = None
    if isinstance(queue, Queue):
        queue_opts = queue.opts
    elif task is not None and isinstance(task.home, Queue) and task.home.name == queue:
        queue_opts = task.home.opts
    return name, resolve(queue_opts, None if task is None else task.opts, job.opts)
