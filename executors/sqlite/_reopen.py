"""Reopening a run in a file: what `retry` and `rerun` do to the columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from executors._stored import GATED
from executors.sqlite._database import MICROS
from executors.sqlite._run import OpenRun
from executors.sqlite._sharing import SharedResults
from flows import _reopening
from flows._state import COMPLETED, Commands
from flows.errors import RunError, UnknownRunError


class Reopening(SharedResults):
    """The verb `reopen`."""

    def reopen(self, run: Any, job: int | None, *, anew: bool) -> bool:
        """Have jobs of an ended run done again: what failed or was cancelled, or *job* and what follows.

        Returns:
            Whether there was anything to do.

        Raises:
            RunError: The run has not ended, or *job* has nothing to retry.
            UnknownRunError: It is past its retention.
        """
        with self.transaction() as now:
            one = self._run(run.number)
            if one is None:
                raise UnknownRunError("the run is past its retention")
            out = Commands()
            if not self._reopened(one, job, anew, out):
                return False
            timeout = one.known.facts["timeout"]
            one.deadline_at = None if timeout is None else now + round(timeout * MICROS)
            self.database.do("run_reopen", one.deadline_at, one.number)
            if one.known.key is not None:
                self.database.do("key_ended", None, one.known.key, one.known.id)
            one.note(now, "reopened", [[job, None, None]])
            self._sweep(one, now, out, {})
        return True

    def _reopened(self, run: OpenRun, job: int | None, anew: bool, out: Commands) -> bool:
        if run.ended_at is None:
            raise RunError(f"run {run.known.id} has not ended: wait for it, or cancel it first")
        state, sparse = run.state, run.columns.sparse
        erred: Any = sparse["erred"]
        lists: set[int] = set()
        if job is None:
            failed = _reopening.failures(state, run.known.facts["roots"], erred)
            jobs = _reopening.harmed_by(state, [one for one in failed if one not in sparse["gone"]], erred)
        elif anew:
            jobs, lists = _reopening.downstream(state, job)
        else:
            if state.state[job] == COMPLETED:
                name = self._id_of(run, job)
                raise RunError(f"job {name!r} has completed; run.rerun() does it and what follows again")
            jobs = _reopening.harmed_by(state, (job,), erred)
        for one in lists:
            for row in _rows_of(run, one):
                jobs.discard(row)
                sparse["gone"][row] = 1
            _reopening.forget_items(state, one)
        jobs = {one for one in jobs if one not in sparse["gone"]}
        if not jobs:
            return False
        for one in jobs:
            self._renew(run, one)
        run.openings += 1
        run.ended_at = None
        run.reason = ""
        gated: Any = _Conditioned(run)
        _reopening.reopen(state, jobs, gated, out)
        return True


class _Conditioned:
    """Jobs that have a condition."""

    def __init__(self, run: OpenRun) -> None:
        self._layout = run.known.layout

    def __contains__(self, job: int) -> bool:
        return self._layout.gated and bool(self._layout.flags(job) & GATED)


def _rows_of(run: OpenRun, job: int) -> Iterator[int]:
    """The jobs of all items of a list that were stamped out, and of the lists among them."""
    layout, state = run.known.layout, run.state
    lists = [job]
    for one in lists:
        begun = state.begun.get(one, 0)
        for block in layout.blocks_of(one):
            shape = layout.bodies[block.body].shape
            for index in range(block.start, min(block.start + block.items, begun)):
                base = layout.row_of_item(block, index)
                yield from range(base, base + block.stride)
                lists.extend(base + inner for inner in shape.body)
