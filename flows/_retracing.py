"""Retracing: a flow is planned along the latest one with such a root, without a walk of its own.

Where that was of the same shape, as it mostly is, each job is found where its like stood before, and what it needs
where its like's needs stood. If all of that is so, a walk would find the same order, and the columns are those of the
shape. At the first difference the flow is walked as any other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows._binding import ATOMS, Arguments, Binding, Picks, only_references
from flows._flow import Flow
from flows._job import Job
from flows._plan import Plan
from flows._reference import Reference
from flows._shapes import Shape, latest
from flows.errors import DefinitionError


def retraced(flow: Flow[Any]) -> Plan[Any] | None:
    """The plan of *flow*, if it is of the shape that the latest flow with such a root was of.

    Raises:
        DefinitionError: It is, and the data of some jobs cannot be taken.
    """
    roots = flow.roots
    task = roots[0].task
    shape = None if task is None else latest(task._place)
    if shape is None or len(roots) != len(shape.roots):
        return None
    jobs: list[Any] = [None] * len(shape.needs)
    tasks: list[Any] = jobs.copy()
    bindings: list[Binding] = list(shape.needs)
    if not _found(jobs, roots, shape.roots):
        return None
    closely: _Closely | None = None
    for position, row, opts, job_id, needs, kinds in shape.steps:
        job = jobs[position]
        tasks[position] = task = job.task
        if task is None or task._place is not row or job.opts is not opts or job.id != job_id:
            return None
        args = job.args
        if len(args) == len(needs) and kinds is None and not job.odd:
            if not needs:
                continue
            for at, place in enumerate(needs):
                value = args[at]
                if type(value) is Reference:
                    child = value._job
                elif isinstance(value, Job):
                    child = value
                else:
                    break  # to look closely
                there = jobs[place]
                if there is None:
                    jobs[place] = child
                elif there is not child:
                    return None
            else:
                continue
        elif not needs and not job.odd and kinds is None and ATOMS.issuperset(map(type, args)):
            bindings[position] = Arguments(args, {}, by_name=False, plain=True)
            continue
        elif len(args) == 1 and kinds is None and not job.odd and only_references(args[0]):
            results = args[0]
            if len(results) != len(needs) or not _found(jobs, [result._job for result in results], needs):
                return None
            bindings[position] = Arguments((Picks(type(results), [*needs]),), {}, by_name=False)
            continue
        closely = closely or _Closely(flow)
        if not closely.follow(position, jobs, needs, kinds):
            return None
    return _planned(flow, shape, jobs, tasks, bindings, closely)


def _planned(
    flow: Flow[Any],
    shape: Shape,
    jobs: list[Any],
    tasks: list[Any],
    bindings: list[Binding],
    closely: _Closely | None,
) -> Plan[Any] | None:
    """The plan, now that each job has been found."""
    index = {jobs[position]: position for position in shape.firsts}
    if len(index) < len(jobs):  # one job stands where two stood
        return None
    for job in flow.made:
        if job not in index:
            return None  # it would never run
    plan: Plan[Any] = Plan(flow.name, shape.roots, several=flow.several, pattern=shape.pattern)
    plan.retention = flow.retention
    plan._positions = index
    plan.tasks, plan.bindings = tasks, bindings
    if closely is not None:
        closely.bind(plan, jobs, index)
    return plan


def _found(jobs: list[Any], needed: Sequence[Job[Any]], needs: Sequence[int]) -> bool:
    """Put the jobs where their likes stood; says whether no others stand there."""
    for at, place in enumerate(needs):
        job = needed[at]
        if jobs[place] is None:
            jobs[place] = job
        elif jobs[place] is not job:
            return False
    return True


class _Closely:
    """Looks at the jobs whose arguments are not just whole results or plain values, or which have other edges."""

    __slots__ = ("_planner", "_positions")

    def __init__(self, flow: Flow[Any]) -> None:
        from flows._planner import Planner  # which asks here first

        self._planner = Planner(flow)
        self._positions: list[int] = []

    def follow(self, position: int, jobs: list[Any], needs: tuple[int, ...], kinds: list[int] | None) -> bool:
        """Find what the job there needs; says whether nothing differs."""
        planner, job = self._planner, jobs[position]
        self._positions.append(position)
        needed = planner.needs_oddly(job)
        if planner.alone or planner.broken or planner.odd[job] != kinds or len(needed) != len(needs):
            return False
        return _found(jobs, needed, needs)

    def bind(self, plan: Plan[Any], jobs: list[Any], index: dict[Job[Any], int]) -> None:
        """Compile how results become their arguments."""
        planner = self._planner
        planner.plan, planner.index, planner.order = plan, index, jobs
        for position in sorted(self._positions):
            plan.bindings[position] = planner.binding(position)
        if planner.problems:
            raise DefinitionError.of(planner.problems)
