"""Granting: who gets which jobs, under which fence, for how long."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from executors.memory._limits import Limit, Limits
from executors.memory._queues import Queues
from executors.memory._run import MemoryRun
from flows import _machine as machine
from flows._verbs import ControlGrant, Grant, Settle, SuspectGrant, Want


class Claims:
    """The queues of a store, its fence and its leases. Used under the store's lock.

    Args:
        lease_seconds: How long a grant lasts without being extended; None: for ever.

    Attributes:
        fence: The newest fence given; grows with every grant.
        leased: Runs with leases.
        limits: What limits the queues.
    """

    def __init__(self, lease_seconds: float | None) -> None:
        self.lease_seconds = lease_seconds
        self.queues = Queues()
        self.fence = 0
        self.leased: dict[MemoryRun, None] = {}
        self.limits = Limits()

    def take(self, want: Want, now: float, worker: str | None) -> tuple[list[Grant], int]:
        """Grant up to ``want.limit`` jobs; the second figure says how many of them are suspects, at most one."""
        grants: list[Grant] = []
        run: Any = want.run
        if want.limit <= 0:
            if run is not None and run.lines:
                self.limits.leave(run)
            return grants, 0
        if run is None:
            self._take_any(want, now, worker, grants)
        else:
            self._take_of(run, want, now, worker, grants)
        if self.queues.has_suspects and want.suspects and len(grants) < want.limit:
            return grants, self._take_suspect(want, now, worker, grants)
        return grants, 0

    def take_one(self, run: MemoryRun, now: float, worker: str) -> Grant | None:
        """Grant the next job of a run that has no control jobs and no limits."""
        grants: list[Grant] = []
        for lane in run.lanes:
            while lane.jobs and not grants:  # what was cancelled meanwhile is passed over
                self._grant(run, (lane.jobs.popleft(),), now, worker, grants)
        return grants[0] if grants else None

    def extend(self, grants: Sequence[Grant], now: float) -> list[Grant]:
        """Extend leases by their full length; returns the grants that hold none any more."""
        refused = []
        for grant in grants:
            run = cast("MemoryRun", grant.run)
            if grant.job in run.leases and run.leases[grant.job][0] is grant:
                run.leases[grant.job] = (grant, now + (self.lease_seconds or 0.0))
            else:
                refused.append(grant)
        return refused

    def drop(self, settles: Sequence[Settle]) -> None:
        """The attempts have ended: their leases are over."""
        for settle in settles:
            grant = settle.grant
            leases = cast("MemoryRun", grant.run).leases
            if grant.job in leases and leases[grant.job][0] is grant:
                del leases[grant.job]

    def more(self, want: Want, granted: int, now: float) -> bool:
        """Whether jobs are left that the worker could have, after *granted* were granted."""
        run: Any = want.run
        limits = self.limits.of
        shut: Collection[str] = ()
        if limits:
            shut = self.limits.shut(run, now) if granted < want.at_once else limits
        if run is None:
            return self.queues.waiting(want.queues, shut)
        for lane in run.lanes:  # noqa: SIM110 - called with each exchange: a generator would cost half a job
            if lane.jobs and lane.queue not in shut:
                return True
        return False

    def due_at(self, want: Want, now: float) -> float | None:
        """When the rate of a queue will allow claims that it does not allow now."""
        run: Any = want.run
        if run is not None:
            return self.limits.due_at(run, [lane.queue for lane in run.lanes if lane.jobs], now)
        wanted = self.limits.of if want.queues is None else want.queues & self.limits.of.keys()
        return self.limits.due_at(None, [queue for queue in wanted if self.queues.waiting(frozenset((queue,)))], now)

    def _take_any(self, want: Want, now: float, worker: str | None, grants: list[Grant]) -> None:
        limits = self.limits.of
        if not limits:
            for run, job in self.queues.take(want.queues, want.limit):
                self._grant(run, (job,), now, worker, grants)
            return

        def room(queue: str) -> int:
            return min(limits[queue].room(None, now), want.at_once) if queue in limits else want.limit

        for run, job in self.queues.take(want.queues, want.limit, room):
            self._grant(run, (job,), now, worker, grants)
            if grants and grants[-1].run is run and grants[-1].job == job:
                self._hold(run, grants[-1:])

    def _take_of(self, run: MemoryRun, want: Want, now: float, worker: str | None, grants: list[Grant]) -> None:
        limit, limits = want.limit, self.limits.of
        if limits and any(lane.queue in limits for lane in run.lanes):
            self._take_limited(run, want, now, worker, grants)
            return
        for lane in run.lanes:
            jobs = lane.jobs
            if jobs:
                room = limit - len(grants)
                if len(jobs) <= room:
                    self._grant(run, jobs, now, worker, grants)
                    jobs.clear()
                else:
                    self._grant(run, [jobs.popleft() for _ in range(room)], now, worker, grants)
                    break

    def _take_limited(self, run: MemoryRun, want: Want, now: float, worker: str | None, grants: list[Grant]) -> None:
        """As `_take_of`, where queues of the run are limited: passes over those that are shut."""
        limits = self.limits.of
        left: list[Limit] = []
        got: set[Limit] = set()
        for lane in run.lanes:
            of = limits.get(lane.queue)
            while lane.jobs:
                room = want.limit - len(grants)
                if of is not None:
                    room = min(want.at_once - len(grants), room, of.room(run, now))
                if room <= 0:
                    break
                first = len(grants)
                jobs = [lane.jobs.popleft() for _ in range(min(room, len(lane.jobs)))]
                self._grant(run, jobs, now, worker, grants)
                if of is not None and len(grants) > first:  # less than were taken out, where some were cancelled
                    self.limits.hold(of, run, grants[first:])
                    got.add(of)
            if lane.jobs and of is not None:
                left.append(of)
        if left or run.lines:
            # What an ended or cancelled run has in its lanes waits for nothing any more.
            done = run.ended or run.state.cancelling or len(grants) >= min(want.limit, want.at_once)
            self.limits.line_up(run, {} if done else {of: of in got for of in left})

    def _take_suspect(self, want: Want, now: float, worker: str | None, grants: list[Grant]) -> int:
        """At most one job that has lost a worker, so that a deadly one takes no others with it."""
        before = len(grants)
        run = cast("MemoryRun | None", want.run)
        shut = self.limits.shut(run, now) if self.limits.of else ()
        while len(grants) == before:
            entry = self.queues.take_suspect(want.queues, run, shut)
            if entry is None:
                break
            self._grant(entry[0], (entry[1],), now, worker, grants, SuspectGrant)  # none, if it was cancelled meanwhile
            if shut != ():
                self._hold(entry[0], grants[before:])
        return len(grants) - before

    def _hold(self, run: MemoryRun, grants: Sequence[Grant]) -> None:
        for grant in grants:
            limit = self.limits.of.get(run.plan.queues_of[grant.job])
            if limit is not None and not grant.control:
                self.limits.hold(limit, run, (grant,))

    def _grant(
        self,
        run: MemoryRun,
        jobs: Sequence[int],
        now: float,
        worker: str | None,
        grants: list[Grant],
        kind: type[Grant] = Grant,
        new: Callable[[type[Grant]], Grant] = object.__new__,
    ) -> None:
        if run.state.gated or run.plan.lists:
            jobs = self._grant_control(run, jobs, now, grants)
        fences, started, workers, made = run.fences, run.started, run.workers, run.state.made
        run.calm = False
        first = len(grants)
        granted = machine.grant(run.state, jobs)
        for fence, job in enumerate(granted, self.fence + 1):
            fences[job] = fence
            started[job] = now
            workers[job] = worker
            number = 1
            if made and job in made:
                number = run.numbers[job] = made[job] + 1
            grant = new(kind)  # without its `__init__`, which would cost as much again
            grant.run, grant.job, grant.attempt, grant.fence, grant.stop = run, job, number, fence, None
            grants.append(grant)
        self.fence += len(granted)
        if self.lease_seconds is not None:
            self.leased[run] = None
            until = now + self.lease_seconds
            for grant in grants[first:]:
                run.leases[grant.job] = (grant, until)
        if made:
            run.journal.append((now, "started", [(job, run.numbers.get(job, 1), None) for job in granted]))
        elif granted:
            run.journal.append((now, "started", granted))

    def _grant_control(self, run: MemoryRun, jobs: Sequence[int], now: float, grants: list[Grant]) -> Sequence[int]:
        """Grant those of *jobs* that are control jobs; returns the others. No attempt begins, so none is noted."""
        gated, lists = run.state.gated, run.plan.lists
        control = [job for job in jobs if job in lists or job in gated]
        if not control:
            return jobs
        for job in machine.grant(run.state, control):
            self.fence += 1
            run.fences[job] = self.fence
            grants.append(ControlGrant(run, job, 1, self.fence))
            if self.lease_seconds is not None:
                self.leased[run] = None
                run.leases[job] = (grants[-1], now + self.lease_seconds)
        return [job for job in jobs if job not in control]
