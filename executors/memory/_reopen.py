"""Reopening a run in memory: what `retry` and `rerun` do to the columns. Under the store's lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows import _reopening
from flows._state import COMPLETED, Commands
from flows.errors import RunError

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun


def reopen(run: MemoryRun, job: int | None, *, anew: bool, out: Commands) -> bool:
    """Have jobs of an ended run done again.

    Args:
        job: Where to begin; None: with all that failed or was cancelled.
        anew: Whether all that is downstream is done again, and not only what *job* failed, skipped or cancelled.

    Returns:
        Whether there was anything to do.

    Raises:
        RunError: The run has not ended, or *job* has nothing to retry.
    """
    if not run.ended:
        raise RunError(f"run {run.id} has not ended: wait for it, or cancel it first")
    state = run.state
    lists: set[int] = set()
    if job is None:
        failed = _reopening.failures(state, run.plan.roots, run.errors)
        jobs = _reopening.harmed_by(state, [one for one in failed if one not in run.plan.gone], run.errors)
    elif anew:
        jobs, lists = _reopening.downstream(state, job)
    else:
        if state.state[job] == COMPLETED:
            raise RunError(f"job {run.plan.ids[job]!r} has completed; run.rerun() does it and what follows again")
        jobs = _reopening.harmed_by(state, (job,), run.errors)
    for one in lists:
        for row in _rows_of(run, one):
            jobs.discard(row)
            run.plan.gone.add(row)
        _reopening.forget_items(state, one)
    jobs -= run.plan.gone
    if not jobs:
        return False
    for one in jobs:
        run.renew(one)
    run.openings += 1
    run.ended = False
    run.closed_at = None
    run.reason = ""
    _reopening.reopen(state, jobs, run.conditions, out)
    return True


def _rows_of(run: MemoryRun, job: int) -> Iterator[int]:
    """The jobs of all items of a list, and of the lists among them."""
    lists = [job]
    for one in lists:
        body = run.plan.lists[one]
        for item in run.lists.stamps.get(one, ()):
            base = item - body.root
            yield from range(base, base + len(body.plan))
            lists.extend(base + inner for inner in body.plan.lists)
