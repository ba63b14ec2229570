"""The course of runs: what the machine has decided is carried out on queues, timers and the journal. Under the lock."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heappush

from executors.memory._claims import Claims
from executors.memory._growth import gather, grow
from executors.memory._limits import LimitVerbs
from executors.memory._listeners import Listeners
from executors.memory._run import MemoryRun
from executors.memory._sharing import SharedResults
from flows import _machine as machine
from flows._state import COMPLETED, CONTROL_QUEUE, FAILED, STATE_NAMES, Commands
from flows._views import end_state


class Course(LimitVerbs, SharedResults):
    """What a store keeps besides its runs, and how runs go on in it.

    Args:
        clock: Seconds, never going back.
        lease_seconds: How long a grant lasts without being extended; None: for ever.
        chunk: Edges applied by a call at most.
    """

    def __init__(self, clock: Callable[[], float], lease_seconds: float | None, chunk: int) -> None:
        super().__init__()
        self.clock = clock
        self.chunk = chunk
        self._lock = threading.Lock()
        self._claims = Claims(lease_seconds)
        self._limits = self._claims.limits
        self._limited = self._limits.of
        self._open: dict[MemoryRun, None] = {}
        self._unswept: dict[MemoryRun, None] = {}
        self._timed: dict[MemoryRun, None] = {}
        self._places = itertools.count()
        """In which order jobs were delayed."""
        self._deadlines: dict[MemoryRun, None] = {}
        self._overdue_at = math.inf
        """No deadline is before that."""
        self._listeners = Listeners()
        self._interrupted: list[MemoryRun] = []
        """Runs that were cancelled; whoever runs their handlers is told when the lock is free."""

    def _sweep(self, run: MemoryRun, now: float, out: Commands | None = None) -> None:
        """Take a chunk of the run's unswept edges, and do what the machine asks."""
        run.calm = False
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
            if run.errors or run.state.cause or run.state.cancelling or run.numbers or run.replayed:
                self._journal_ends(run, out.ended, now)
            else:
                run.journal.append((now, "completed", out.ended))
            if not run.state.open:
                self._end(run, now)
        if out.ready:
            self._queue_up(run, out.ready)
        if out.delayed:
            self._listeners.stirred = True
            for job, after in sorted(out.delayed):
                heappush(run.delayed, (now + after, next(self._places), job))
                run.due[job] = now + after
            self._timed[run] = None
        if run.options.fail_fast and run.state.open and not run.state.cancelling:
            self._check_root(run, out.ended, now)

    def _queue_up(self, run: MemoryRun, ready: Sequence[int]) -> None:
        lane = run.only_lane
        if lane is None:
            self._enqueue(run, ready)
        else:
            lane.jobs.extend(ready)
            if not lane.listed:
                self._claims.queues.enlist(lane)
        if self._listeners:
            self._listeners.stirred = True

    def _enqueue(self, run: MemoryRun, ready: Sequence[int]) -> None:
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
            tried = (run.started[job] or run.finished[job]) and job not in run.replayed and not run.is_control(job)
            number = run.numbers.get(job, 1) if tried else None
            detail = None if end == COMPLETED else run.failed(job)
            run.journal.append((now, STATE_NAMES[end], ((job, number, detail),)))  # type: ignore[arg-type]
        if run.telling is not None:
            run.telling.changed()

    def _end(self, run: MemoryRun, now: float) -> None:
        for lane in run.lanes:
            if lane.listed:
                self._claims.queues.delist(lane)
            lane.jobs.clear()
        for runs in (self._timed, self._deadlines, self._claims.leased):
            if runs:
                runs.pop(run, None)
        if run.holding or run.lines:
            self._limits.dismiss(run)
        if run.state.lost:
            self._claims.queues.acquit(run)
        run.delayed.clear()
        if run.shares:
            self._forget_pending(run)
        self._close(run, now, end_state(run))

    def _close(self, run: MemoryRun, now: float, end: str) -> None:
        """A run of which nothing is left to be done stands as ended from now on."""
        self._open.pop(run, None)
        run.journal.append((now, "ended", ((None, None, end),)))
        run.closed_at = now
        run.ended = True  # last: whoever sees it may read the rest
        if run.on_end is not None:
            run.on_end()

    def _hasten(self, run: MemoryRun, jobs: set[int], now: float) -> None:
        run.delayed = [entry for entry in run.delayed if entry[2] not in jobs]
        heapify(run.delayed)
        out = Commands()
        for job in jobs:
            machine.wake(run.state, job, out)
        self._carry_out(run, out, now)
        if not run.delayed:
            self._timed.pop(run, None)

    def _set_deadline(self, run: MemoryRun, now: float) -> None:
        if run.options.timeout is not None:
            run.deadline_at = now + run.options.timeout
            self._deadlines[run] = None
            self._overdue_at = min(self._overdue_at, run.deadline_at)
            self._listeners.overdue(run.deadline_at)

    def _pass_deadlines(self, now: float) -> None:
        """Cancel the runs whose time is over."""
        left: list[float] = []
        for run in tuple(self._deadlines):
            if run.deadline_at is not None and run.deadline_at > now:
                left.append(run.deadline_at)
                continue
            del self._deadlines[run]
            if not run.state.cancelling:
                self._cancel(run, "timeout", now)
        self._overdue_at = min(left, default=math.inf)

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
        self._limits.leave(run)

    def _interrupt(self) -> None:
        """Tell whoever runs handlers of runs that have been cancelled; outside the lock."""
        while self._interrupted:
            try:
                run = self._interrupted.pop()
            except IndexError:
                break
            for interrupt in tuple(run.interrupters):
                interrupt()
            if self._listeners:
                self._listeners.stop(run)
            run.notify()

    def _wake_due(self, now: float, only: object) -> None:
        due = [
            run
            for run in self._timed
            if (only is None or run is only) and (not run.delayed or run.delayed[0][0] <= now)
        ]
        if len(due) > 1:
            due.sort(key=_first_due)
        for run in due:
            out = Commands()
            while run.delayed and run.delayed[0][0] <= now:
                machine.wake(run.state, heappop(run.delayed)[2], out)
            self._carry_out(run, out, now)
            if not run.delayed:
                self._timed.pop(run, None)


def _first_due(run: MemoryRun) -> tuple[float, int]:
    """By instants; of one instant, who was delayed first."""
    return run.delayed[0][:2] if run.delayed else (-math.inf, 0)
