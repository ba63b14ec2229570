"""MemoryStore: the machine itself behind the store's verbs. One lock, no I/O; values are kept by reference.

State is a `MemoryRun` a run, lanes a queue, places of limited queues, and the last reply of each loop. A verb takes the
lock, tells the machine what has happened, has its commands carried out (`_settling`, `_course`), grants (`_claims`),
and wakes those who may find something once the lock is free.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from executors._store import Listener, StaleCallError
from executors.memory._journal import ONWARD
from executors.memory._limits import Stated, wake
from executors.memory._listeners import tell_crews
from executors.memory._queue_limit import QueueLimit
from executors.memory._reopen import reopen
from executors.memory._run import MemoryRun
from executors.memory._settling import Settling
from flows import _machine as machine
from flows._machine_one import advance, set_out, take_up
from flows._state import ACTIVE, CANCELLED, SWEEP_LIMIT, Commands
from flows._verbs import End, Grant, Reply, Settle, Want, first_try


class MemoryStore(Settling):
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
        super().__init__(clock, lease_seconds, chunk)
        self.epoch = time.time() - clock() if epoch is None else epoch
        self._loops: dict[str, tuple[int, Reply]] = {}
        self._steps_calmly = lease_seconds is None and chunk >= SWEEP_LIMIT

    @property
    def lease_seconds(self) -> float | None:
        """How long a grant lasts without being extended; None: for ever."""
        return self._claims.lease_seconds

    def listen(self, worker: str, queues: frozenset[str], listener: Listener) -> Callable[[], None]:
        """Tell a worker of any run when there may be work for it; returns what ends that."""
        end = self._listeners.add(worker, listener)
        if self._overdue_at < math.inf:
            listener.overdue(self._overdue_at)
        return end

    def put_run(self, run: MemoryRun) -> None:
        """Accept a run, release the jobs that wait for nothing, put the limits of its queues into force."""
        run.store = self
        with self._lock:
            now = self.clock()
            self._open[run] = None
            if run.plan.limits:
                self._limits.publish(run.plan.limits, self._open)
            run.journal.append((now, "submitted", ((None, None, None),)))
            self._set_deadline(run, now)
            run.calm = run.calm and self._steps_calmly
            if run.calm:
                leaves = run.plan.leaves
                set_out(run.state, leaves)
                self._queue_up(run, leaves)
            else:
                out = Commands()
                machine.begin(run.state, out)
                if out.delayed:
                    self._carry_out(run, out, now)
                else:
                    self._queue_up(run, out.ready)
            woken = self._limits.waking(now) if self._limits.stirred else ()
            stirred = bool(self._listeners) and self._listeners.taken()
        if woken or stirred:
            self._announce(woken, stirred)

    def publish(self, limits: Mapping[str, Stated]) -> None:
        """Put limits of queues into force, or lift them."""
        with self._lock:
            self._limits.publish(limits, self._open)
            woken = self._limits.waking(self.clock())
        self._announce(woken, True)

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
            if now >= self._overdue_at:  # nothing of a run is granted whose time is over
                self._pass_deadlines(now)
            if self._timed:
                self._wake_due(now, want.run)
            grants, suspects = self._claims.take(want, now, worker)
            due_at = self._due_at(want, now) if self._timed or self._limited else None
            reply = Reply(now, grants, refused, self._more(want, len(grants), now), due_at, suspects)
            woken = self._limits.waking(now) if self._limits.stirred else ()
            stirred = bool(self._listeners) and (self._listeners.taken() or bool(self._limited and settles))
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
        if want.run is None and touched:
            tell_crews(touched)
        if woken:
            wake(woken)
        if stirred:
            self._listeners.wake(but=loop)
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
            if self._limited and lane.queue in self._limited:
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
            if grant.attempt == 1:
                run.journal.append((now, ONWARD, (job, follower)))
            else:
                run.journal += ((now, "completed", ((job, grant.attempt, None),)), (now, "started", (follower,)))
        if run.watchers:
            run.notify()
        return first_try(run, follower, fence)

    def step(self, run: MemoryRun, settle: Settle | None, worker: str) -> Grant | None:
        """An exchange of one: settle an attempt and claim the next job of its run, for those who work alone.

        Returns:
            The grant; None when nothing of the run can be claimed in this way at the moment: nothing waits, edges are
            left to sweep, or one of its queues is limited.
        """
        if settle is None and run.calm:
            grant = self._first(run, worker)
            if grant is not None:
                return grant
        woken: Sequence[MemoryRun] = ()
        with self._lock:
            calm = settle is None and run.calm and not self._limited  # and it will be after its first claim, too
            now = self.clock() if settle is None else settle.ended_at
            if settle is not None:
                self._settle((settle,), now, {})
                if self._limits.stirred:
                    woken = self._limits.waking(now)
            stirred = bool(self._listeners) and (self._listeners.taken() or bool(self._limited))
            if run.ended or run in self._unswept or (self._limited and self._limits.touch(run)):
                grant = None
            else:
                grant = self._claims.take_one(run, now, worker)
            run.calm = calm
        if run.watchers:
            run.notify()
        self._interrupt()
        self._announce(woken, stirred)
        return grant

    def _first(self, run: MemoryRun, worker: str) -> Grant | None:
        """The first step of a calm run; None where it takes more than to hand out a job."""
        lane = run.only_lane
        with self._lock:
            calm = run.calm and lane is not None and not self._limited and not self._listeners
            job = take_up(run.state, lane.jobs) if calm and lane is not None else -1
            if job < 0:
                return None
            self._claims.fence = fence = self._claims.fence + 1
            now = self.clock()
            run.fences[job] = fence
            run.started[job] = now
            run.workers[job] = worker
            run.journal.append((now, "started", (job,)))
        if run.watchers:
            run.notify()
        return first_try(run, job, fence)

    def complete(self, grant: Grant, value: Any, ended_at: float, worker: str) -> Grant | None:
        """As `step`, for an attempt that has completed; once for each. It began when it was granted."""
        run: Any = grant.run
        job = grant.job
        lane = run.only_lane
        with self._lock:
            calm = run.calm and not self._limited and not self._listeners
            if calm:
                run.values[job] = value  # before the job's state says that there is one
                run.finished[job] = ended_at
                follower = advance(run.state, job, lane.jobs)
                if follower < 0:
                    run.journal.append((ended_at, "completed", (job,)))
                    following = None
                    if not run.state.open:
                        self._claims.queues.delist(lane)
                        self._close(run, ended_at, "completed")
                else:
                    self._claims.fence = fence = self._claims.fence + 1
                    run.fences[follower] = fence
                    run.started[follower] = ended_at
                    run.workers[follower] = worker
                    run.journal.append((ended_at, ONWARD, (job, follower)))
                    following = first_try(run, follower, fence)
        if not calm:
            return self.step(run, Settle(grant, End.COMPLETED, value, run.started[job], ended_at), worker)
        if run.watchers:
            run.notify()
        return following

    def abandon(self, run: MemoryRun, reason: str) -> None:
        """End a run at once, without waiting for the handlers that run; their results will be refused."""
        with self._lock:
            self._limits.stir_all()  # whoever was interrupted may have been about to wake others
            if not run.ended:
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
                if not run.ended:  # the interrupt struck between the last settle and the end
                    self._end(run, self.clock())
            woken = self._limits.waking(self.clock())
            self._interrupted.append(run)
        self._interrupt()
        self._announce(woken, True)

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
            if now >= self._overdue_at:
                self._pass_deadlines(now)
            for run in tuple(self._claims.leased):
                out = Commands()
                expired = [grant for grant, until in run.leases.values() if until <= now]
                for grant in expired:
                    self._lose(run, grant, now, out)
                if expired:
                    rescued[run] = len(expired)
                    self._sweep(run, now, out)
            if self._overdue_at < math.inf:
                self._listeners.overdue(self._overdue_at)  # they remember only the next one that they are told
            woken, stirred = self._limits.waking(now), self._listeners.taken()
        for run in rescued:
            run.notify()
        if rescued:
            tell_crews(rescued)
        self._interrupt()
        self._announce(woken, stirred)
        return sum(rescued.values())

    def cancel(self, run: MemoryRun, reason: str) -> None:
        """Cancel a run; the handlers that run learn of it through the run's interrupters."""
        with self._lock:
            if run.ended or run.state.cancelling:
                return
            self._cancel(run, reason, self.clock())
            woken = self._limits.waking(self.clock())
        self._interrupt()
        self._announce(woken, True)

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
            self._open[run] = None
            run.journal.append((now, "reopened", ((job, None, None),)))
            self._set_deadline(run, now)
            self._sweep(run, now, out)
            woken, stirred = self._limits.waking(now), self._listeners.taken()
        run.notify()
        self._announce(woken, stirred)

    def _announce(self, runs: Sequence[MemoryRun], stirred: bool) -> None:
        """Have those look whose turn has come, or who may find something; outside the lock."""
        wake(runs)
        if stirred and self._listeners:
            self._listeners.wake()

    def pause(self, queue: str, *, paused: bool) -> None:
        """Hand out nothing of a queue, in whatever run, or again what its limits allow."""
        with self._lock:
            self._limits.pause(queue, self._open, paused=paused)
            woken, stirred = self._limits.waking(self.clock()), self._listeners.taken()
        self._announce(woken, stirred)

    def limited(self) -> list[QueueLimit]:
        """How it stands with each queue that has limits or is paused."""
        with self._lock:
            now = self.clock()
            return [seen for seen in [self._limits.seen(queue, now) for queue in self._limits.of] if seen is not None]

    def _more(self, want: Want, granted: int, now: float) -> bool:
        run: Any = want.run
        unswept = self._unswept
        return bool(unswept and (run is None or run in unswept)) or self._claims.more(want, granted, now)

    def _due_at(self, want: Want, now: float) -> float | None:
        run: Any = want.run
        if run is not None:
            due = run.delayed[0][0] if run.delayed else None
        else:
            due = min([run.delayed[0][0] for run in self._timed]) if self._timed else None
        opens_at = self._claims.due_at(want, now) if self._limited else None
        return due if opens_at is None else opens_at if due is None else min(due, opens_at)
