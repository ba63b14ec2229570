"""The planner: from declared jobs to ordered columns, checked; iterative throughout, so that depth and width cost no stack.

One depth-first walk from the roots (arguments in order, then ``children``, then ``after``) gives two orders: the order of first
visits, by which jobs without an id are numbered, and the order of last visits, in which children stand before their parents.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from flows import _registry
from flows._binding import CONTAINERS, Arguments, Binding, Pick, compile_value, is_reference, scan
from flows._flow import Flow
from flows._job import Job
from flows._machine import CONTINUE, EFFECTS, FAIL, IGNORE, ORDER_ONLY
from flows._opts import Opts, Queue, Settings, resolve
from flows._plan import Plan
from flows._reference import OptionalReference, Reference
from flows._task import DEFAULT_QUEUE, call_arguments
from flows.errors import CycleError, DefinitionError, DuplicateJobError

if TYPE_CHECKING:
    from flows._task import Task

R = TypeVar("R")

AnyJob = Job[Any]
Dependency = tuple[AnyJob, int]

_VALUE, _OPTIONAL, _ORDER = range(3)
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
    flow = Flow.of(flow)
    planner = _Planner(flow)
    planner.walk()
    planner.name_jobs()
    planner.check()
    return planner.plan


class _Planner:
    """The state of one planning: what has been visited, and the plan that grows from it."""

    def __init__(self, flow: Flow[Any]) -> None:
        self.flow = flow
        self.plan: Plan[Any] = Plan(flow.name, (), several=flow.several)
        self.index: dict[AnyJob, int] = {}
        self.order: list[AnyJob] = []
        self.problems: list[DefinitionError] = []
        self.settings: dict[tuple[int, int, int], Settings] = {}
        self.removing: set[int] = set()
        """Jobs whose end may leave a hole in a dependent's arguments: policy ignore, remove or continue."""
        self.broken: set[AnyJob] = set()
        """Jobs whose data could not be read through: already among the problems."""
        self.hollow: set[int] = set()
        """Dependents of such jobs, whose arguments must bear the hole."""

    def walk(self) -> None:
        index = self.index
        for root in self.flow.roots:
            if root in index:
                continue
            index[root] = _OPEN
            stack: list[tuple[AnyJob, list[Dependency], int]] = [(root, self._dependencies(root), 0)]
            while stack:
                job, needed, position = stack.pop()
                while position < len(needed):
                    child = needed[position][0]
                    position += 1
                    known = index.get(child)
                    if known is None:
                        index[child] = _OPEN
                        below = self._dependencies(child)
                        if below:
                            stack.append((job, needed, position))
                            job, needed, position = child, below, 0
                        else:
                            self._place(child, below)
                    elif known == _OPEN:
                        raise self._cycle([job, *(entry[0] for entry in reversed(stack))], child)
                self._place(job, needed)
        self.plan.roots = tuple(index[root] for root in self.flow.roots)

    def name_jobs(self) -> None:
        """Give ids: the given one, else the name, else ``name#2`` and on, by first visit."""
        ids: list[str] = [""] * len(self.order)
        given: dict[str, AnyJob] = {}
        for job in self.index:
            if job.id is not None:
                if job.id in given:
                    self.problems.append(
                        DuplicateJobError(
                            f"two jobs have the id {job.id!r} (tasks {given[job.id].name!r} and {job.name!r}); ids are unique in a "
                            "flow: pass the same job object where one job is meant, or give another id=",
                            job=job.id,
                        )
                    )
                given[job.id] = job
        counts: dict[str, int] = {}
        for job, position in self.index.items():
            if job.id is not None:
                ids[position] = job.id
                continue
            name = job.name
            count = counts.get(name, 0) + 1
            name_now = name if count == 1 else f"{name}#{count}"
            while name_now in given:
                count += 1
                name_now = f"{name}#{count}"
            counts[name] = count
            ids[position] = name_now
        self.plan.ids = ids
        self.plan._positions = self.index

    def check(self) -> None:
        """Raise what is wrong: duplicate ids, jobs that nothing depends on, values that may be missing."""
        for job in self.flow.made:
            if job not in self.index:
                self.problems.append(
                    DefinitionError(
                        f"job {job.name!r} of flow {self.flow.name!r} would never run: nothing that was returned depends on it; "
                        "pass its .out on, add it with .after(), or return it too"
                    )
                )
        for job in sorted(self.hollow):
            self._check_holes(job)
        if self.problems:
            raise DefinitionError.of(self.problems)

    def _dependencies(self, job: AnyJob) -> list[Dependency]:
        """What a job needs, in order: references in its arguments, its children, its order-only predecessors."""
        needed: list[Dependency] = []

        def found(item: object) -> None:
            if type(item) is OptionalReference:
                needed.append((item.reference._job, _OPTIONAL))
            else:
                needed.append((item._job if type(item) is Reference else item, _VALUE))  # type: ignore[arg-type]

        for value in job.args:
            if type(value) is Reference:
                needed.append((value._job, _VALUE))
            elif isinstance(value, CONTAINERS) or is_reference(value):
                self._scan(job, value, found)
        for value in job.kwargs.values():
            self._scan(job, value, found)
        for child in job.children:
            needed.append((child, _VALUE))
        for before in job.predecessors:
            needed.append((before, _ORDER))
        return needed

    def _scan(self, job: AnyJob, value: object, found: Callable[[object], None]) -> None:
        try:
            scan(value, found, _spot(job))
        except DefinitionError as error:
            self.problems.append(error)
            self.broken.add(job)

    def _place(self, job: AnyJob, needed: list[Dependency]) -> None:
        """All children stand: give the job its position and columns, and link it to its children."""
        plan = self.plan
        position = len(self.order)
        self.index[job] = position
        self.order.append(job)
        task = job.task
        queue = job.queue if job.queue is not None else self._home(job)
        plan.names.append(job.name)
        plan.queues_of.append(queue.name if isinstance(queue, Queue) else queue)
        plan.tasks.append(task)
        plan.dependents.append(())
        settings = self._settings(job, task, queue)
        plan.settings.append(settings)
        if settings.on_failure in ("ignore", "remove", "continue"):
            self.removing.add(position)
        if needed:
            self._link(position, needed)
        else:
            plan.pending.append(0)
            plan.inputs.append(())
        plan.bindings.append(self._binding(job))

    def _link(self, position: int, needed: list[Dependency]) -> None:
        plan, index = self.plan, self.index
        dependents = plan.dependents
        inputs: list[int] = []
        seen: dict[int, int] = {}
        edges = 0
        for job, kind in needed:
            child = index[job]
            bit = 1 << kind
            mask = seen.get(child, 0)
            if mask & bit or kind == _ORDER and mask & (1 << _VALUE):
                continue  # the same edge again; a value edge orders as well
            seen[child] = mask | bit
            effect = IGNORE if kind == _OPTIONAL else EFFECTS[plan.settings[child].on_failure]
            if kind == _ORDER:
                effect |= ORDER_ONLY
            elif not mask & ~(1 << _ORDER):
                inputs.append(child)
            if kind == _OPTIONAL:
                plan.optional.setdefault(position, set()).add(child)
            elif child in self.removing and (kind == _VALUE or effect == CONTINUE | ORDER_ONLY):
                self.hollow.add(position)
            ahead = dependents[child]
            if not ahead:
                ahead = dependents[child] = []
            if effect != FAIL or child in plan.effects:
                plan.effects.setdefault(child, [FAIL] * len(ahead)).append(effect)
            ahead.append(position)  # type: ignore[union-attr]
            edges += 1
        plan.pending.append(edges)
        plan.inputs.append(tuple(inputs))

    def _home(self, job: AnyJob) -> str | Queue:
        task = job.task or _registry.find(job.name, None)
        return DEFAULT_QUEUE if task is None else task.home

    def _settings(self, job: AnyJob, task: Task[..., Any] | None, queue: str | Queue) -> Settings:
        if task is None:
            task = _registry.find(job.name, queue.name if isinstance(queue, Queue) else queue)
        key = (id(task), id(job.opts), id(queue) if isinstance(queue, Queue) else 0)
        settings = self.settings.get(key)
        if settings is None:
            queue_opts: Opts | None = None
            if isinstance(queue, Queue):
                queue_opts = queue.opts
            elif task is not None and isinstance(task.home, Queue) and task.home.name == queue:
                queue_opts = task.home.opts
            settings = self.settings[key] = resolve(queue_opts, None if task is None else task.opts, job.opts)
        return settings

    def _binding(self, job: AnyJob) -> Binding:
        args = job.args
        index = self.index
        if not job.kwargs:
            for value in args:
                if type(value) is not Reference or value._path:
                    break
            else:
                return tuple([index[value._job] for value in args])
        if job in self.broken:
            return ()
        spot = _spot(job)
        literal = job.task is None
        try:
            return Arguments(
                tuple([compile_value(value, index, spot) for value in args]),
                {name: compile_value(value, index, spot, copy=literal) for name, value in job.kwargs.items()},
                by_name=literal,
            )
        except DefinitionError as error:
            self.problems.append(error)
            return ()

    def _check_holes(self, position: int) -> None:
        """A value that may fall away must go to a place that can do without it."""
        plan = self.plan
        job = self.order[position]
        if job.task is None or job in self.broken:
            return  # the handler of a literal may not be known here; a missing parameter fails the job with its name
        named = call_arguments(job.task, job.args, job.kwargs)
        compiled = {name: compile_value(value, self.index, _spot(job)) for name, value in named.items()}
        early = any(
            kind != _OPTIONAL and plan.settings[self.index[child]].on_failure == "continue"
            for child, kind in self._dependencies(job)
        )
        parameters = job.task.signature.parameters
        for name, value in compiled.items():
            if type(value) is Pick and not value.optional and (early or value.child in self.removing):
                parameter = parameters.get(name)
                if parameter is not None and parameter.default is parameter.empty:
                    self.problems.append(self._hole(position, name, value.child))
        plan.bindings[position] = Arguments((), compiled, by_name=True)

    def _hole(self, position: int, parameter: str, child: int) -> DefinitionError:
        policy = self.plan.settings[child].on_failure
        why = (
            f"has on_failure={policy!r}, so there may be no value"
            if child in self.removing
            else "may still be running when a dependency with on_failure='continue' releases the job"
        )
        return DefinitionError(
            f"job {self.plan.ids[position]!r}: parameter {parameter!r} takes the result of {self.plan.ids[child]!r}, which {why}; "
            "pass flows.optional(job.out), give the parameter a default, take flows.Children, or use .after()"
        )

    def _cycle(self, path: list[AnyJob], child: AnyJob) -> CycleError:
        """*path* leads from the job at hand up to a root; *child* stands on it and is needed again."""
        circle = path[: path.index(child) + 1]
        names = [job.id or job.name for job in circle]
        if len(circle) == 1:
            return CycleError(f"job {names[0]!r} depends on itself", cycle=(names[0], names[0]))
        shown = [names[-1], *names] if len(names) <= 20 else [names[-1], *names[:9], "...", *names[-9:]]
        return CycleError(
            f"jobs wait for each other in a circle: {' -> '.join(shown)} (each runs before the next); take one of these edges out",
            cycle=(names[-1], *names),
        )


def _spot(job: AnyJob) -> str:
    return f"job {job.id or job.name!r}"
