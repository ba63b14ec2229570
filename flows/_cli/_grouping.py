"""The jobs of a run arranged for a screen: a tree from the root down, alike jobs together where they are many."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from flows._plan import Plan

_NUMBERED: Final = re.compile(r"(\[\d+\])+$|#\d+$")
"""What tells items of a list, and jobs of one task, from each other."""


@dataclass(slots=True)
class Group:
    """Jobs that are shown in one line.

    Attributes:
        label: Their name; that of alike jobs ends in ``[*]`` or ``#*``.
        depth: How far below the root it stands.
        jobs: Their positions, in run order.
    """

    label: str
    depth: int
    jobs: list[int] = field(default_factory=list)


def arranged(plan: Plan[Any], room: int) -> list[Group]:
    """The jobs of a plan in groups, those above before those that they wait for.

    Each job has a line of its own where there is *room*; else alike jobs share one. It may still be more lines than
    that. A group stands below the first one that waits for it.
    """
    jobs = [job for job in range(len(plan)) if job not in plan.gone]
    alone = len(jobs) <= room
    children: list[list[int]] = [[] for _ in range(len(plan))]
    for child, dependents in enumerate(plan.dependents):
        for dependent in dependents:
            if child not in plan.gone and dependent < len(children):
                children[dependent].append(child)
    groups: dict[Hashable, Group] = {}
    seen: set[int] = set()
    stack = [(root, 0) for root in reversed(plan.roots)]
    while stack:
        job, depth = stack.pop()
        if job in seen:
            continue
        seen.add(job)
        key, label = (job, plan.ids[job]) if alone else _alike(plan, job)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(label, depth)
        group.jobs.append(job)
        below = group.depth + 1
        stack.extend((child, below) for child in reversed(children[job]) if child not in seen)
    for group in groups.values():
        group.jobs.sort()
        if len(group.jobs) == 1:
            group.label = plan.ids[group.jobs[0]]
    return list(groups.values())


def _alike(plan: Plan[Any], job: int) -> tuple[Hashable, str]:
    job_id = plan.ids[job]
    number = _NUMBERED.search(job_id)
    if number is None:
        same = job_id == plan.names[job]
        label = f"{job_id}#*" if same else job_id  # the first of a task has no number
        return (plan.names[job] if same else job_id, plan.queues_of[job]), label
    sign = "#*" if number.group().startswith("#") else "[*]"
    base = job_id[: number.start()]
    return (base if sign == "#*" else f"{base}[*]", plan.queues_of[job]), f"{base}{sign}"
