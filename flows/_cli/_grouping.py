"""The jobs of a run arranged for a screen: a tree from the root down, alike jobs together where they are many."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows._plan import Plan


@dataclass(slots=True)
class Group:
    """Jobs that are shown in one line.

    Attributes:
        label: Their name; that of alike jobs, items of a list or jobs of one task, ends in ``[*]`` or ``#*``.
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
    groups: dict[int | tuple[str, str, str], Group] = {}
    seen: set[int] = set()
    stack = [(root, 0) for root in reversed(plan.roots)]
    while stack:
        job, depth = stack.pop()
        if job in seen:
            continue
        seen.add(job)
        key = job if alone else _alike(plan, job)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group("" if isinstance(key, int) else f"{key[0]}{key[1]}", depth)
        group.jobs.append(job)
        below = group.depth + 1
        stack.extend([(child, below) for child in reversed(children[job]) if child not in seen])
    for group in groups.values():
        group.jobs.sort()
        if len(group.jobs) == 1:
            group.label = plan.ids[group.jobs[0]]
    return list(groups.values())


def _alike(plan: Plan[Any], job: int) -> tuple[str, str, str]:
    """What alike jobs have in common: the name, what tells them apart, and the queue."""
    job_id = plan.ids[job]
    base, sign = job_id, ""
    if job_id[-1] == "]":
        while base[-1:] == "]" and base.rpartition("[")[2][:-1].isdecimal():
            base, sign = base.rpartition("[")[0], "[*]"
    elif job_id == plan.names[job]:  # the first of a task has no number
        sign = "#*"
    else:
        name, hash_sign, number = job_id.rpartition("#")
        if hash_sign and number.isdecimal():
            base, sign = name, "#*"
    return base, sign, plan.queues_of[job]
