"""Settling: what has become of attempts is written down, and the machine told. Under the store's lock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from executors.memory._course import Course
from executors.memory._run import MemoryRun
from flows import _machine as machine
from flows import _state
from flows._state import ACTIVE, COMPLETED, FAILED, Commands, Retry
from flows._verbs import End, Grant, Settle
from flows.errors import Failed, LeaseLostError

_ENDS = {End.FAILED: _state.FAILED, End.SKIPPED: _state.SKIPPED, End.CANCELLED: _state.CANCELLED}
_COMPLETED, _RELEASED, _RETRY, _LOST, _REPLAYED = End.COMPLETED, End.RELEASED, End.RETRY, End.LOST, End.REPLAYED
"""Members of an enum are looked up in a roundabout way."""


class Settling(Course):
    """How a store takes the settles of an exchange."""

    def _settle(self, settles: Sequence[Settle], now: float, touched: dict[MemoryRun, Commands]) -> Sequence[Settle]:
        refused: list[Settle] = []
        position = 0
        while position < len(settles):
            run: Any = settles[position].grant.run
            run.calm = False
            out = touched.get(run)
            if out is None:
                out = touched[run] = Commands()
            position = self._settle_run(run, settles, position, now, out, refused)
            state = run.state
            if state.sweeping >= 0 or state.cascade or state.later or out.grow:
                self._sweep(run, now, out)
            else:
                self._carry_out(run, out, now)
            if position < len(settles):
                touched[run] = Commands()
        return refused

    def _settle_run(
        self, run: MemoryRun, settles: Sequence[Settle], position: int, now: float, out: Commands, refused: list[Settle]
    ) -> int:
        """Settle from *position* on as long as they are of *run*; returns the position after them."""
        values, fences, started, finished, states = run.values, run.fences, run.started, run.finished, run.state.state
        this: object = run
        completed: list[int] = []
        for at in range(position, len(settles)):
            settle = settles[at]
            grant = settle.grant
            if grant.run is not this:
                break
            job = grant.job
            if fences[job] != grant.fence:
                refused.append(settle)
            elif states[job] != ACTIVE:
                continue  # settled before by this very grant: the answer is the same
            elif settle.end is _COMPLETED:
                values[job] = settle.value
                started[job] = settle.started_at
                finished[job] = settle.ended_at
                completed.append(job)
            else:
                if completed:
                    machine.complete(run.state, completed, self.chunk, out)
                    completed = []
                if states[job] == ACTIVE:
                    self._settle_otherwise(run, settle, now, out)
        else:
            at += 1
        if run.leases:
            self._claims.drop(settles[position:at])
        if completed:
            machine.complete(run.state, completed, self.chunk, out)
        if run.holding:
            self._limits.settled(run, settles[position:at])
        return at

    def _settle_otherwise(self, run: MemoryRun, settle: Settle, now: float, out: Commands) -> None:
        grant, job = settle.grant, settle.grant.job
        end = settle.end
        if end is _RELEASED:
            if settle.failed is not None and self._is_past_hope(run, job, now):
                run.keep_error(job, settle)
                machine.settle(run.state, job, FAILED, out)
                return
            before = len(out.ready)
            machine.release(run.state, job, out, settle.after)
            if job in run.state.lost and not grant.control and len(out.ready) > before:
                self._suspect(run, job, out)  # nothing has spoken for it since
            if not grant.control:
                run.journal.append((now, "released", ((job, grant.attempt, None),)))
            return
        if run.unhandled:
            run.unhandled.pop(job, None)
        if grant.control:
            self._settle_control(run, settle, now, out)
            return
        run.started[job], run.finished[job] = settle.started_at, settle.ended_at
        if end is _LOST:
            self._lose(run, grant, now, out, settle.failed)
        elif end is _REPLAYED:
            run.replay(settle, now)
            machine.settle(run.state, job, COMPLETED, out)
        elif end is not _RETRY:
            run.keep_error(job, settle)
            machine.settle(run.state, job, _ENDS[end], out)
        elif machine.retry(run.state, job, Retry(settle.after, settle.counted), out):
            failed = settle.failed
            run.since.setdefault(job, settle.started_at)
            run.keep_attempt(job, "failed", failed)
            run.journal.append((now, "retrying", ((job, grant.attempt, failed),)))
            if run.telling is not None:
                run.telling.again(job, grant.attempt, settle.after)
        else:
            run.keep_error(job, settle)

    @staticmethod
    def _is_past_hope(run: MemoryRun, job: int, now: float) -> bool:
        """Whether a job has met workers without a handler for it for too long."""
        return now - run.unhandled.setdefault(job, now) >= _state.UNHANDLED_SECONDS

    @staticmethod
    def _settle_control(run: MemoryRun, settle: Settle, now: float, out: Commands) -> None:
        job = settle.grant.job
        if settle.end is End.PASSED:
            machine.admit(run.state, job, out)
        elif settle.end is End.EXPANDED:
            run.lists.items[job] = settle.value
            run.journal.append((now, "expanded", ((job, None, len(settle.value)),)))
            machine.expand(run.state, job, len(settle.value), out)
        else:
            run.keep_error(job, settle)
            machine.settle(run.state, job, _ENDS[settle.end], out)

    def _suspect(self, run: MemoryRun, job: int, out: Commands) -> None:
        """A job that has just become ready goes into the line of which a worker holds one at a time."""
        out.ready.pop()
        self._claims.queues.suspect(run, job)
        self._listeners.stirred = True

    def _lose(self, run: MemoryRun, grant: Grant, now: float, out: Commands, how: Failed | None = None) -> None:
        job = grant.job
        run.leases.pop(job, None)
        self._limits.free(run, job, now)  # it may have started at any moment up to now
        run.fences[job] = -grant.fence  # its result is refused from now on, not only when another worker has the job
        lost = how or Failed.of(LeaseLostError("the worker died or was cut off"), run.plan.ids[job])
        if not grant.control:
            run.finished[job] = now
            run.keep_attempt(job, "lost", lost)
            run.journal.append((now, "lost", ((job, grant.attempt, None),)))
            if run.telling is not None:
                run.telling.changed()
        before = len(out.ready)
        if not machine.lose(run.state, job, out):
            if run.state.state[job] == FAILED:
                why = f"lost its worker {_state.LOST_LIMIT} times; the handler may be killing its process"
                why += f" (the last time: {how.message})" if how is not None else ""
                run.errors[job] = Failed.of(LeaseLostError(why), run.plan.ids[job])
        elif len(out.ready) > before and not run.is_control(job):
            self._suspect(run, job, out)
