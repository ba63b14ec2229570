"""The most frequent step of the machine, for those who settle one job at a time; see `flows._machine`."""

from __future__ import annotations

from flows._state import COMPLETED, WAITING, WAITING_CHILDREN, RunState


def complete_one(run: RunState, job: int, limit: int) -> list[int] | None:
    """As `flows._machine.complete` for one active job, without the records of a call that may do more.

    Returns:
        The jobs to put in their queues; None, and nothing has changed, where more is to be seen to.
    """
    dependents = run.edges[job]
    if run.cause or run.later or run.cascade or run.sweeping >= 0 or len(dependents) > limit:
        return None
    if run.delays or run.gated or run.lists:
        return None
    state, pending = run.state, run.pending
    ready = []
    state[job] = COMPLETED
    run.open -= 1
    run.turn = run.ordinal[job] = run.turn + 1
    for dependent in dependents:
        left = pending[dependent] - 1
        pending[dependent] = left
        if not left and state[dependent] == WAITING_CHILDREN:
            state[dependent] = WAITING
            ready.append(dependent)
    return ready
