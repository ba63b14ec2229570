"""Reopening a run that has ended: which jobs are done again, and how their counters go back.

Pure functions over a `RunState`, as in `flows._machine`. Every edge of a reopened job gives back what its sweep had
added to its dependent, whatever the dependent's state, so that the counters stay a function of the children's states.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from flows import _machine as machine
from flows._state import (
    CANCELLED,
    COMPLETED,
    FAIL,
    FAILED,
    SHARED,
    WAITING_CHILDREN,
    Commands,
    RunState,
)

_HARMS = ("dooms", "skips", "cancels")


def failures(run: RunState, roots: Collection[int], own: Collection[int]) -> list[int]:
    """What `retry` begins with: cancelled jobs, and those that failed by themselves and were not ignored.

    A failure was ignored where all that it harmed was ignored in the end: no root was harmed.

    Args:
        own: Jobs that ended with an error of their own.
    """
    states = run.state
    failed = [job for job in range(run.size) if states[job] == CANCELLED or (states[job] == FAILED and job in own)]
    if not failed:
        return failed
    harmed_through: dict[int, list[int]] = {}
    for child in range(run.size):
        for dependent in harmed(run, child, own):
            harmed_through.setdefault(dependent, []).append(child)
    felt = {root for root in roots if states[root] != COMPLETED}
    stack = list(felt)
    while stack:
        found = [child for child in harmed_through.get(stack.pop(), ()) if child not in felt]
        felt.update(found)
        stack.extend(found)
    return [job for job in failed if states[job] == CANCELLED or job in felt]


def harmed(run: RunState, child: int, own: Collection[int]) -> Iterator[int]:
    """The jobs that *child* has failed, skipped or cancelled; not those that ended with an error of their *own*."""
    if run.state[child] <= COMPLETED:  # in an ended run, rows that are no jobs yet stand below
        return
    codes = run.effects.get(child)
    for position, dependent in enumerate(run.edges[child]):
        if run.state[dependent] == COMPLETED or dependent in own:
            continue
        if machine.influence(run.state[child], codes[position] if codes else FAIL) in _HARMS:
            yield dependent


def harmed_by(run: RunState, jobs: Iterable[int], own: Collection[int]) -> set[int]:
    """*jobs* and what they failed, skipped or cancelled, and so on upwards; nothing that has completed.

    Args:
        own: Jobs that ended with an error of their own: nobody else did that.
    """
    found = set(jobs)
    stack = list(found)
    while stack:
        for dependent in harmed(run, stack.pop(), own):
            if dependent not in found:
                found.add(dependent)
                stack.append(dependent)
    return found


def downstream(run: RunState, job: int) -> tuple[set[int], set[int]]:
    """*job* and all that depends on it.

    Returns:
        These, and the lists among them that are to be expanded anew: all but those reached only through an item, or
        through a job that their bodies share.
    """
    found, anew = {job}, {job} if job in run.lists else set()
    stack = [job]
    while stack:
        child = stack.pop()
        codes = run.effects.get(child)
        for position, dependent in enumerate(run.edges[child]):
            shared = bool(codes and codes[position] & SHARED)
            if dependent in run.lists and not shared and run.item_of.get(child) != dependent:
                anew.add(dependent)
            if dependent not in found:
                found.add(dependent)
                stack.append(dependent)
    return found, anew


def forget_items(run: RunState, job: int) -> None:
    """A list is to be expanded anew: what its items had done to it is undone. They must not be reopened."""
    wipe(run, job)
    run.pending[job] = 0


def wipe(run: RunState, job: int) -> None:
    """Forget what the sparse columns say of a job."""
    counters = (run.dooms, run.skips, run.cancels, run.conts, run.cause)
    for column in (*counters, run.cut, run.made, run.lost, run.lists, run.begun):
        column.pop(job, None)


def reopen(run: RunState, jobs: Collection[int], gated: Collection[int], out: Commands) -> None:
    """Make ended *jobs* of an ended run wait again, with a fresh attempts budget.

    Args:
        gated: Those of the run's jobs that have a condition: it is judged again.
    """
    touched: set[int] = set()
    for job in jobs:
        codes = run.effects.get(job)
        for position, dependent in enumerate(run.edges[job]):
            run.pending[dependent] += 1
            if _give_back(run, job, dependent, codes[position] if codes else FAIL):
                touched.add(dependent)
    for job in jobs:
        run.state[job] = WAITING_CHILDREN
        run.ordinal[job] = 0
        for column in (run.cut, run.made, run.lost):
            column.pop(job, None)
        if job in gated:
            run.gated.add(job)
    run.open += len(jobs)
    run.cancelling = False
    _find_causes(run, touched.union(jobs))
    machine.take_up(run, sorted(jobs), out)


def _give_back(run: RunState, child: int, dependent: int, effect: int) -> bool:
    counter = machine.influence(run.state[child], effect)
    if counter is None:
        return False
    counts: dict[int, int] = getattr(run, counter)
    counts[dependent] -= 1
    if not counts[dependent]:
        del counts[dependent]
    return True


def _find_causes(run: RunState, jobs: Collection[int]) -> None:
    """Causes may have been given back: those that are left are looked for among all edges."""
    counters = (run.dooms, run.skips, run.cancels, run.conts)
    orphans = {job for job in jobs if any(job in counts for counts in counters)}
    for job in jobs:
        run.cause.pop(job, None)
    if not orphans:
        return
    doomed: set[int] = set()
    for child in range(run.size):
        if run.state[child] == WAITING_CHILDREN:
            continue
        codes = run.effects.get(child)
        for position, dependent in enumerate(run.edges[child]):
            if dependent in orphans and dependent not in doomed:
                counter = machine.influence(run.state[child], codes[position] if codes else FAIL)
                if counter is not None:
                    run.cause.setdefault(dependent, child)
                if counter == "dooms":
                    run.cause[dependent] = child
                    doomed.add(dependent)
