"""The most frequent step of the machine, for those who work a small run off one job at a time; see `flows._machine`."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from flows._state import ACTIVE, COMPLETED, WAITING, RunState


def set_out(run: RunState, leaves: Iterable[int]) -> None:
    """Release the jobs that wait for nothing, in a run without delays: as `begin` does, where they are known."""
    state = run.state
    for job in leaves:
        state[job] = WAITING


def take_up(run: RunState, line: deque[int]) -> int:
    """Give the first of *line* to a worker; -1 where none waits. As `grant` does, in a run that nothing happened in."""
    if not line:
        return -1
    first = line.popleft()
    run.state[first] = ACTIVE
    return first


def advance(run: RunState, job: int, line: deque[int]) -> int:
    """Complete the active *job* and give the first of *line* to a worker: as `complete` and `grant` do, in one step.

    Only for a run in which nothing is amiss: no delays, conditions or lists, no edges left to sweep, and all that has
    happened in it is that jobs were granted and completed.

    Args:
        line: The jobs that wait for a worker; those that *job* releases join it.

    Returns:
        The job that was given out; -1 where none waits.
    """
    state, pending = run.state, run.pending
    state[job] = COMPLETED
    run.open -= 1
    run.turn = run.ordinal[job] = run.turn + 1
    for dependent in run.edges[job]:
        left = pending[dependent] = pending[dependent] - 1
        if not left:
            state[dependent] = WAITING
            line.append(dependent)
    if not line:
        return -1
    first = line.popleft()
    state[first] = ACTIVE
    return first
