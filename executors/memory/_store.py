"""MemoryStore: the machine itself behind the store's verbs. One lock, no I/O; values are kept by reference."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Any

from executors.memory._claims import Claims
from executors.memory._growth import gather, grow
from executors.memory._reopen import reopen
from executors.memory._run import MemoryRun
from flows import _machine as machine
from flows import _state
from flows._state import ACTIVE, CANCELLED, COMPLETED, CONTROL_QUEUE, FAILED, SWEEP_LIMIT, Commands, Retry
from flows._verbs import End, Grant, Reply, Settle, Want
from flows._views import end_state
from flows.errors import Failed, LeaseLostError

_ENDS = {End.FAILED: _state.FAILED, End.SKIPPED: _state.SKIPPED, End.CANCELLED: _state.CANCELLED}
_COMPLETED = End.COMPLETED


class StaleCallError(RuntimeError):
    """An exchange came with an older number than the last one answered: a lost call has turned up late."""


class MemoryStore:
    """The verbs of a store over runs in this process. Safe to call from any thread; each verb is one atomic step.

    Args:
        clock: Seconds, never going back.
        epoch: What to add to the clock to have seconds since 1970.
        lease_seconds: How long a grant lasts without being extended; None: grants last for ever, as their worker
            cannot die apart from the store.
        chunk: Edges applied by a call at most.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        epoch: float | None = None,
        lease_seconds: float | None = None,
        chunk: int = SWEEP_LIMIT,
    ) -> None:
        self.clock = clock
        self.epoch = time.time() - clock() if epoch is None else epoch
        self.chunk = chunk
        self._lock = threading.Lock()
        self._claims = Claims(lease_seconds)
        self._loops: dict[str, tuple[int, Reply]] = {}
        self._unswept: dict[MemoryRun, None] = {}
        self._timed: dict[MemoryRun, None] = {}
        self._deadlines: dict[MemoryRun, None] = {}
        self._interrupted: list[MemoryRun] = []
        """Runs that were cancelled; whoever runs their handlers is told when the lock is free."""

    def put_run(self, run: MemoryRun) -> None:
        """Accept a run and release the jobs that wait for nothing."""
        with self._lock:
            now = self.clock()
            run.journal.append((now, "submitted", ((None, None, None),)))
            self._set_deadline(run, now)
            out = Commands()
            machine.begin(run.state, out)
            self._carry_out(run, out, now)

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        """Settle attempts that have ended and claim jobs, in one step.

        The same *seq* of a *loop* again is a call whose reply was lost: it gets the same reply and changes nothing.

        Raises:
            StaleCallError: *seq* is older than that; nothing was changed.
        """
        touched: dict[MemoryRun, Commands] = {}
        with self._lock:
            last = self._loops.get(loop)
            if last is not None and seq <= last[0]:
                if seq == last[0]:
                    return last[1]
                raise StaleCallError(f"call {seq} of {loop} came after call {last[0]}")
            now = self.clock()
            swept = tuple(self._unswept)
            for run in swept:
                self._sweep(run, now)
            refused = self._settle(settles, now, touched) if settles else ()
            if self._timed:
                self._wake_due(now, want.run)
            grants, suspects = self._claims.take(want, now, worker)
            due_at = self._due_at(want) if self._timed else None
            reply = Reply(now, grants, refused, self._more(want), due_at, suspects)
            if not (want.run is not None and not want.run.state.open):  # such a loop has made its last call
                self._loops[loop] = (seq, reply)
        for run in (*touched, *swept):
            if run.watchers:
                run.notify()
        if self._interrupted:
            self._interrupt()
        if grants:
            claimed: Any = {grant.run for grant in grants} if want.run is None else (want.run,)
            for run in claimed:
                if run.watchers and run not in touched:
                    run.notify()
        return reply

    def pass_on(self, settle: Settle, worker: str) -> Grant | None:
        """An exchange of the smallest kind: settle a completed attempt and claim the one job which that releases.

        Returns:
            The grant; None, and nothing has changed, where there is more or less to do than this.
        """
        grant = settle.grant
        run: Any = grant.run
        job = grant.job
        with self._lock:
            lane = run.only_lane
            if lane is None or lane.jobs or self._unswept or self._timed or self._claims.lease_seconds is not None:
                return None
            follower = machine.follower(run.state, job)
            if follower < 0 or run.fences[job] != grant.fence:
                return None
            machine.hand_on(run.state, job, follower)
            self._claims.fence = fence = self._claims.fence + 1
            now = settle.ended_at
            run.values[job] = settle.value
            run.started[job] = settle.started_at
            run.finished[job] = run.started[follower] = now
            run.fences[follower] = fence
            run.workers[follower] = worker
            ended = job if grant.attempt == 1 else (job, grant.attempt, None)
            run.journal += ((now, "completed", (ended,)), (now, "started", (follower,)))
        if run.watchers:
            run.notify()
        return Grant(run, follower, 1, fence)

    def abandon(self, run: MemoryRun, reason: str) -> None:
        """End a run at once, without waiting for the handlers that run; their results will be refused."""
        with self._lock:
            if run.ended:
                return
            run.reason = run.reason or reason
            out = Commands()
            machine.cancel(run.state, out)
            for job in range(len(run.plan)):
                if run.state.state[job] == ACTIVE:
                    run.fences[job] = -run.fences[job]
                    machine.settle(run.state, job, CANCELLED, out)
            self._sweep(run, self.clock(), out)
            while run in self._unswept:
                self._sweep(run, self.clock())
            self._interrupted.append(run)
        self._interrupt()

    def close_loop(self, loop: str) -> None:
        """Forget an exchange loop that will not call again."""
        self._loops.pop(loop, None)

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        """Extend leases by their full length from now.

        Returns:
            The grants that are no longer the newest of their job, or whose attempt has ended.
        """
        with self._lock:
            return self._claims.extend(grants, self.clock())

    def rescue(self) -> int:
        """Take back the jobs of expired leases: to the suspects, or failed when they have lost too many workers.

        Cancels the runs whose deadline has passed, too.

        Returns:
            How many were taken back.
        """
        with self._lock:
            now = self.clock()
            rescued: dict[MemoryRun, int] = {}
            for run in [run for run in self._deadlines if run.deadline_at is not None and run.deadline_at <= now]:
                del self._deadlines[run]
                if not run.state.cancelling:
                    self._cancel(run, "timeout", now)
            for run in tuple(self._claims.leased):
                out = Commands()
                expired = [grant for grant, until in run.leases.values() if until <= now]
                for grant in expired:
                    self._lose(run, grant, now, out)
                if expired:
                    rescued[run] = len(expired)
                    self._sweep(run, now, out)
        for run in rescued:
            run.notify()
        self._interrupt()
        return sum(rescued.values())

    def cancel(self, run: MemoryRun, reason: str) -> None:
        """Cancel a run; the handlers that run learn of it through the run's interrupters."""
        with self._lock:
            if run.ended or run.state.cancelling:
                return
            self._cancel(run, reason, self.clock())
        self._interrupt()

    def reopen(self, run: MemoryRun, job: int | None, *, anew: bool) -> None:
        """Have jobs of an ended run done again: what failed or was cancelled, or *job* and what follows.

        Raises:
            RunError: The run has not ended, or *job* has nothing to retry.
        """
        with self._lock:
            out, now = Commands(), self.clock()
            while run in self._unswept:  # reopening takes back what was swept, so all of it must have been
                self._sweep(run, now)
            if not reopen(run, job, anew=anew, out=out):
                return
            run.journal.append((now, "reopened", ((job, None, None),)))
            self._set_deadline(run, now)
            self._sweep(run, now, out)
        run.notify()

    def _settle(self, settles: Sequence[Settle], now: float, touched: dict[MemoryRun, Commands]) -> Sequence[Settle]:
        refused: list[Settle] = []
        position = 0
        while position < len(settles):
            run: Any = settles[position].grant.run
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
        return at

    def _settle_otherwise(self, run: MemoryRun, settle: Settle, now: float, out: Commands) -> None:
        grant, job = settle.grant, settle.grant.job
        if settle.end is End.RELEASED:
            machine.release(run.state, job, out, settle.after)
            if not grant.control:
                run.journal.append((now, "released", ((job, grant.attempt, None),)))
            return
        if grant.control:
            self._settle_control(run, settle, now, out)
            return
        run.started[job], run.finished[job] = settle.started_at, settle.ended_at
        if settle.end is not End.RETRY:
            run.keep_error(job, settle)
            machine.settle(run.state, job, _ENDS[settle.end], out)
        elif machine.retry(run.state, job, Retry(settle.after, settle.counted), out):
            failed = settle.failed
            run.since.setdefault(job, settle.started_at)
            run.keep_attempt(job, "failed", failed)
            run.journal.append((now, "retrying", ((job, grant.attempt, failed),)))
        else:
            run.keep_error(job, settle)

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

    def _lose(self, run: MemoryRun, grant: Grant, now: float, out: Commands) -> None:
        job = grant.job
        run.leases.pop(job, None)
        run.fences[job] = -grant.fence  # its result is refused from now on, not only when another worker has the job
        lost = Failed.of(LeaseLostError("the worker died or was cut off"), run.plan.ids[job])
        if not grant.control:
            run.finished[job] = now
            run.keep_attempt(job, "lost", lost)
            run.journal.append((now, "lost", ((job, grant.attempt, None),)))
        before = len(out.ready)
        if not machine.lose(run.state, job, out):
            if run.state.state[job] == FAILED:
                why = f"lost its worker {_state.LOST_LIMIT} times; the handler may be killing its process"
                run.errors[job] = Failed.of(LeaseLostError(why), run.plan.ids[job])
        elif len(out.ready) > before and not run.is_control(job):
            out.ready.pop()
            self._claims.queues.suspect(run, job)

    def _sweep(self, run: MemoryRun, now: float, out: Commands | None = None) -> None:
        """Take a chunk of the run's unswept edges, and do what the machine asks."""
        out = out or Commands()
        left = machine.sweep(run.state, self.chunk, out)
        if out.grow or run.lists.growing:
            left = grow(run, self.chunk, out) or left
        if left:
            self._unswept[run] = None
        else:
            self._unswept.pop(run, None)
        self._carry_out(run, out, now)

    def _carry_out(self, run: MemoryRun, out: Commands, now: float) -> None:
        if out.ended:
            if run.state.lists:
                gather(run, out.ended)
            if run.errors or run.state.cause or run.state.cancelling or run.numbers:
                self._journal_ends(run, out.ended, now)
            else:
                run.journal.append((now, "completed", out.ended))
            if not run.state.open:
                self._end(run, now)
        if out.ready:
            lane = run.only_lane
            if lane is None:
                self._enqueue(run, out.ready)
            else:
                lane.jobs.extend(out.ready)
                if not lane.listed:
                    self._claims.queues.enlist(lane)
        if out.delayed:
            for job, after in out.delayed:
                heappush(run.delayed, (now + after, len(run.journal), job))
                run.due[job] = now + after
            self._timed[run] = None
        if run.options.fail_fast and run.state.open and not run.state.cancelling:
            self._check_root(run, out.ended, now)

    def _enqueue(self, run: MemoryRun, ready: list[int]) -> None:
        plan, gated = run.plan, run.state.gated
        former: object = None
        home = ""
        for job in ready:
            settings = plan.settings[job]
            queue = plan.queues_of[job] if job not in gated else CONTROL_QUEUE
            if settings is not former or queue != home:  # most often all are alike
                lane, former, home = run.lane(queue, settings.priority), settings, queue
            if settings.lifo:
                lane.jobs.appendleft(job)
            else:
                lane.jobs.append(job)
            if not lane.listed:
                self._claims.queues.enlist(lane)

    @staticmethod
    def _journal_ends(run: MemoryRun, ended: list[int], now: float) -> None:
        states = run.state.state
        for job in ended:
            end = states[job]
            begun = run.started[job] or run.finished[job]
            number = run.numbers.get(job, 1) if begun and not run.is_control(job) else None
            detail = None if end == COMPLETED else run.failed(job)
            run.journal.append((now, _state.STATE_NAMES[end], ((job, number, detail),)))  # type: ignore[arg-type]

    def _end(self, run: MemoryRun, now: float) -> None:
        for lane in run.lanes:
            self._claims.queues.delist(lane)
            lane.jobs.clear()
        self._timed.pop(run, None)
        self._deadlines.pop(run, None)
        self._claims.leased.pop(run, None)
        run.delayed.clear()
        run.journal.append((now, "ended", ((None, None, end_state(run)),)))
        run.ended = True  # last: whoever sees it may read the rest

    def _set_deadline(self, run: MemoryRun, now: float) -> None:
        if run.options.timeout is not None:
            run.deadline_at = now + run.options.timeout
            self._deadlines[run] = None

    def _check_root(self, run: MemoryRun, ended: list[int], now: float) -> None:
        """Where a root has failed just now, and the run is to fail fast, nothing more is worth doing."""
        for root in run.plan.roots:
            if run.state.state[root] == FAILED and root in ended:
                self._cancel(run, f"{run.plan.ids[root]!r} has failed, and the run was to fail fast", now)
                return

    def _cancel(self, run: MemoryRun, reason: str, now: float) -> None:
        run.reason = reason
        out = Commands()
        machine.cancel(run.state, out)
        self._interrupted.append(run)
        self._sweep(run, now, out)

    def _interrupt(self) -> None:
        """Tell whoever runs handlers of runs that have been cancelled; outside the lock."""
        while self._interrupted:
            try:
                run = self._interrupted.pop()
            except IndexError:
                break
            for interrupt in tuple(run.interrupters):
                interrupt()
            run.notify()

    def _wake_due(self, now: float, only: object) -> None:
        for run in tuple(self._timed):
            if only is not None and run is not only:
                continue
            out = Commands()
            while run.delayed and run.delayed[0][0] <= now:
                machine.wake(run.state, heappop(run.delayed)[2], out)
            self._carry_out(run, out, now)
            if not run.delayed:
                del self._timed[run]

    def _more(self, want: Want) -> bool:
        run: Any = want.run
        if run is None:
            return bool(self._unswept) or self._claims.queues.waiting(want.queues)
        for lane in run.lanes:
            if lane.jobs:
                return True
        return bool(self._unswept) and run in self._unswept

    def _due_at(self, want: Want) -> float | None:
        if not self._timed:
            return None
        run: Any = want.run
        if run is not None:
            return run.delayed[0][0] if run.delayed else None
        return min(run.delayed[0][0] for run in self._timed)
