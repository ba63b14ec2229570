"""Plan: a flow as ordered columns, data only. Index order is run order: children stand before their parents.

The planner fills the columns, and nobody changes them after; ids, levels, traits and the fingerprint are worked out
when they are asked for. A run that lists make grow has a copy of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from flows._drawable import Drawable, seen_plan
from flows._numbering import number
from flows._state import CONTROL_QUEUE, ORDER_ONLY, SHARED
from flows._traits import Traits

if TYPE_CHECKING:
    import networkx

    from flows._binding import Binding
    from flows._bodies import Body
    from flows._draw._picture import Picture
    from flows._draw._status import Status
    from flows._job import Job
    from flows._opts import Settings
    from flows._task import Task

R_co = TypeVar("R_co", covariant=True)

_EXPLAINED_JOBS = 40
"""How many jobs `Plan.explain` lists before it only counts: a screenful."""


class Plan(Drawable, Generic[R_co]):
    """A snapshot of a flow: jobs in run order as parallel columns, indexed by position.

    Later changes to the jobs it was made from do not reach it. Made by `flows.plan`.

    Attributes:
        name: The flow's name.
        names: Task names.
        queues_of: Queue names.
        tasks: The task of a typed job; None for a literal, whose handler is found by name.
        settings: Resolved options; jobs with the same options share one record.
        distinct: The different records in `settings`.
        bindings: How results and data become arguments.
        inputs: Direct dependencies whose results the job takes, in declared order.
        pending: How many edges lead into the job.
        dependents: The jobs that wait for it, one entry an edge.
        effects: For a job with an edge that is not a plain ``fail`` edge: the code of each edge, beside `dependents`.
        optional: For a job with optional edges: the children at their other ends.
        conditions: What must hold for a job to run (`when`): bools and picks.
        lists: For a job that is a list (`each`): what is stamped out per item.
        gone: Jobs that are not of the run any more: those of items that a list had when it was expanded before.
        roots: The jobs the flow is about; `several` says that the value is a tuple.
        limits: For each queue that the flow knows as a `Queue`: its concurrency, and its rate as (starts, seconds).
        retention: What the flow's document asks for; see `Flow.retention`.
    """

    __slots__ = (
        *("name", "roots", "several", "names", "queues_of", "tasks", "settings", "distinct", "bindings"),
        *("inputs", "pending", "dependents", "effects", "optional", "conditions", "lists", "gone"),
        *("limits", "retention"),
        *("_origin", "_fingerprint", "_ids", "_positions", "_traits", "__weakref__"),
    )

    def __init__(self, name: str, roots: tuple[int, ...], *, several: bool, pattern: Plan[Any] | None = None) -> None:
        self.name = name
        self.roots = roots
        self.several = several
        self._origin: Plan[R_co] | None = None
        self._fingerprint: str | None = None
        self.retention: Mapping[str, Mapping[str, float]] = {}
        self.gone: set[int] = set()
        if pattern is None:
            self._begin()
        else:
            self._follow(pattern)

    def _begin(self) -> None:
        self.names: list[str] = []
        self.queues_of: list[str] = []
        self.tasks: list[Task[..., Any] | None] = []
        self.settings: list[Settings] = []
        self.distinct: Sequence[Settings] = ()
        self.bindings: list[Binding] = []
        self.inputs: list[tuple[int, ...]] = []
        self.pending: list[int] = []
        self.dependents: list[list[int] | tuple[int, ...]] = []
        self.effects: dict[int, list[int]] = {}
        self.optional: dict[int, set[int]] = {}
        self.conditions: dict[int, tuple[Any, ...]] = {}
        self.lists: dict[int, Body] = {}
        self.limits: dict[str, tuple[int | None, tuple[int, float] | None]] = {}
        self._positions: Mapping[Job[Any], int] = {}
        self._ids: list[str] | None = None
        self._traits: Traits | None = None

    def pattern(self) -> Plan[Any]:
        """A plan with what is the same in all plans of this one's shape: no data, tasks or jobs, its traits known."""
        self._traits = self.traits
        return Plan("", self.roots, several=self.several, pattern=self)

    def _follow(self, pattern: Plan[Any]) -> None:
        """Take the columns of a plan of the same shape in which there is no data; they are shared, and not changed."""
        self.names, self.queues_of, self.settings = pattern.names, pattern.queues_of, pattern.settings
        self.distinct, self.limits, self._traits = pattern.distinct, pattern.limits, pattern._traits
        self.inputs, self.pending, self.dependents = pattern.inputs, pattern.pending, pattern.dependents
        self.effects, self.optional = pattern.effects, pattern.optional
        self.conditions, self.lists, self._ids = pattern.conditions, pattern.lists, pattern._ids
        self.tasks, self.bindings, self._positions = [], [], {}  # which the planner fills

    def position_of(self, job: Job[Any]) -> int | None:
        """Where *job*, a job object of the flow that was planned, stands in the columns."""
        return self._positions.get(job)

    def copy(self) -> Plan[R_co]:
        """A plan with columns of its own, for a run that adds jobs to them."""
        other: Plan[R_co] = Plan(self.name, self.roots, several=self.several)
        for column in ("names", "queues_of", "tasks", "settings", "bindings", "inputs", "pending"):
            setattr(other, column, list(getattr(self, column)))
        other.limits, other._origin = self.limits, self.origin
        other.ids, other.distinct, other.retention = list(self.ids), self.distinct, self.retention
        other.dependents = [tuple(dependents) for dependents in self.dependents]
        other.effects = {job: list(codes) for job, codes in self.effects.items()}
        other.optional, other.conditions, other.lists = dict(self.optional), dict(self.conditions), dict(self.lists)
        other._positions = self._positions
        other._fingerprint = self._fingerprint
        return other

    @property
    def origin(self) -> Plan[R_co]:
        """The plan that was submitted, where this one belongs to a run that has added jobs to it; else itself."""
        return self if self._origin is None else self._origin

    @property
    def traits(self) -> Traits:
        """What is asked of the plan as a whole whenever it is run."""
        if self._traits is None:
            self._traits = Traits(self)
        return self._traits

    @property
    def leaves(self) -> Sequence[int]:
        """The jobs that wait for nothing."""
        traits = self.traits
        if traits.leaves is None:
            traits.leaves = [job for job, edges in enumerate(self.pending) if not edges]
        return traits.leaves

    @property
    def ids(self) -> list[str]:
        """Job ids, a column like the others; numbers are given out when first asked for."""
        if self._ids is None:
            self._ids = number(self.names, self._positions.values())
        return self._ids

    @ids.setter
    def ids(self, ids: list[str]) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self.names)

    @property
    def order(self) -> Sequence[str]:
        """Job ids, children before parents; the same for the same declaration."""
        return tuple(self.ids)

    @property
    def levels(self) -> list[list[str]]:
        """Job ids by distance from the leaves: a job stands one level above its highest dependency."""
        levels: list[list[str]] = []
        for job, level in enumerate(self._heights()):
            if level == len(levels):
                levels.append([])
            levels[level].append(self.ids[job])
        return levels

    @property
    def queues(self) -> dict[str, int]:
        """How many jobs each queue gets, in the order of first use."""
        return dict(Counter([queue for queue in self.queues_of if queue != CONTROL_QUEUE]))

    @property
    def graph(self) -> networkx.DiGraph[str]:
        """The DAG as a `networkx.DiGraph` of job ids, edges child -> parent, for analysis; a new one each time."""
        from flows._graph import digraph

        return digraph(self)

    @property
    def fingerprint(self) -> str:
        """Tells whether two flows do the same work: a hash over task names, ids, edges, policies and data.

        BLAKE2b-256 over canonical JSON; queues, attempts, backoff, timeouts, priorities and run options do not count.
        Computed when first asked for.

        Raises:
            DataError: Data that JSON has no form for, with the path to it.
        """
        if self._fingerprint is None:
            from flows._idempotency import fingerprint

            self._fingerprint = fingerprint(self)
        return self._fingerprint

    def critical_path(self, durations: Mapping[str, float] | None = None) -> list[str]:
        """The chain of jobs that takes longest, leaf first; without *durations* each job counts as one.

        Args:
            durations: Seconds by job id, or by task name for jobs whose id is not there; jobs in neither count as 0.
        """
        cost = [1.0] * len(self) if durations is None else [
            durations.get(job_id, durations.get(name, 0.0)) for job_id, name in zip(self.ids, self.names, strict=True)
        ]  # fmt: skip
        finish = list(cost)
        through = [-1] * len(self)
        for job, dependents in enumerate(self.dependents):
            for dependent in dependents:
                if finish[job] + cost[dependent] > finish[dependent] or through[dependent] < 0:
                    finish[dependent] = finish[job] + cost[dependent]
                    through[dependent] = job
        last = max(range(len(self)), key=lambda job: (finish[job], job))  # of equals the last: to a root
        path = [last]
        while through[path[-1]] >= 0:
            path.append(through[path[-1]])
        return [self.ids[job] for job in reversed(path)]

    def explain(self) -> str:
        """What would run, in words: counts, queues, the critical path, and each job with what it waits for."""
        levels, path = self.levels, self.critical_path()
        lines = [
            f"flow {self.name}: {_count(len(self), 'job')} in {_count(len(levels), 'level')}",
            "queues: " + ", ".join(f"{queue} ({jobs})" for queue, jobs in self.queues.items()),
            f"critical path: {' -> '.join(path) if len(path) <= 8 else f'{len(path)} jobs, {path[0]} ... {path[-1]}'}",
        ]
        waits = self._waits()
        for job in range(min(len(self), _EXPLAINED_JOBS)):
            needs = ", ".join(waits[job][:8]) + (f" and {len(waits[job]) - 8} more" if len(waits[job]) > 8 else "")
            lines.append(f"  {self.ids[job]} {self._described(job)}" + (f" after {needs}" if needs else ""))
        if len(self) > _EXPLAINED_JOBS:
            lines.append(f"  ... and {len(self) - _EXPLAINED_JOBS} more jobs")
        return "\n".join(lines)

    def edges(self) -> list[tuple[int, int, int]]:
        """All edges as (child, dependent, effect code), children in run order."""
        return [
            (child, dependent, codes[position] if codes else 0)
            for child, dependents in enumerate(self.dependents)
            for codes in (self.effects.get(child),)
            for position, dependent in enumerate(dependents)
        ]

    def _seen(self, *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
        return seen_plan(self, critical_path=critical_path, unfold=unfold)

    def _described(self, job: int) -> str:
        body = self.lists.get(job)
        where = f"[{self.queues_of[job]}]"
        if body is not None:
            limit = "" if body.limit is None else f", {body.limit} at once"
            where = f"[each item: {', '.join(f'{name}[*]' for name in body.plan.ids)}{limit}]"
        return where + _describe(self.settings[job]) + (" if its condition holds" if job in self.conditions else "")

    def _heights(self) -> list[int]:
        heights = [0] * len(self)
        for job, dependents in enumerate(self.dependents):
            above = heights[job] + 1
            for dependent in dependents:
                if heights[dependent] < above:
                    heights[dependent] = above
        return heights

    def _waits(self) -> list[list[str]]:
        waits: list[list[str]] = [[] for _ in self.ids]
        for child, dependent, code in self.edges():
            waits[dependent].append(
                self.ids[child] + (" (shared)" if code & SHARED else " (order only)" if code & ORDER_ONLY else "")
            )
        return waits

    def __repr__(self) -> str:
        return f"<plan of {self.name!r}: {_count(len(self), 'job')}, {_count(len(self.queues), 'queue')}>"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _describe(settings: Settings) -> str:
    shown = []
    if settings.attempts > 1:
        shown.append(f"{settings.attempts} attempts")
    if settings.timeout is not None:
        shown.append(f"timeout {settings.timeout:g} s")
    if settings.delay:
        shown.append(f"delay {settings.delay:g} s")
    if settings.priority:
        shown.append(f"priority {settings.priority}")
    if settings.on_failure != "fail":
        shown.append(f"on failure {settings.on_failure}")
    return f" ({', '.join(shown)})" if shown else ""
