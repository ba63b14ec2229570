"""Granting: who gets which jobs, under which fence, for how long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

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
    """

    def __init__(self, lease_seconds: float | None) -> None:
        self.lease_seconds = lease_seconds
        self.queues = Queues()
        self.fence = 0
        self.leased: dict[MemoryRun, None] = {}

    def take(self, want: Want, now: float, worker: str | None) -> tuple[list[Grant], int]:
        """Grant up to ``want.limit`` jobs; the second figure says how many of them are suspects, at most one."""
        grants: list[Grant] = []
        if want.limit <= 0:
            return grants, 0
        run: Any = want.run
        if run is None:
            for claimed, job in self.queues.take(want.queues, want.limit):
                self._grant(claimed, (job,), now, worker, grants)
        else:
            self._take_of(run, want.limit, now, worker, grants)
        if self.leased and want.suspects and len(grants) < want.limit:
            return grants, self._take_suspect(want, now, worker, grants)
        return grants, 0

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

    def _take_of(self, run: MemoryRun, limit: int, now: float, worker: str | None, grants: list[Grant]) -> None:
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

    def _take_suspect(self, want: Want, now: float, worker: str | None, grants: list[Grant]) -> int:
        """At most one job that has lost a worker, so that a deadly one takes no others with it."""
        before = len(grants)
        while len(grants) == before:
            entry = self.queues.take_suspect(want.queues, cast("MemoryRun | None", want.run))
            if entry is None:
                break
            self._grant(entry[0], (entry[1],), now, worker, grants, SuspectGrant)  # none, if it was cancelled meanwhile
        return len(grants) - before

    def _grant(
        self,
        run: MemoryRun,
        jobs: Sequence[int],
        now: float,
        worker: str | None,
        grants: list[Grant],
        kind: type[Grant] = Grant,
    ) -> None:
        if run.state.gated or run.plan.lists:
            jobs = self._grant_control(run, jobs, now, grants)
        fences, started, workers, made = run.fences, run.started, run.workers, run.state.made
        first = len(grants)
        granted = machine.grant(run.state, jobs)
        for fence, job in enumerate(granted, self.fence + 1):
            fences[job] = fence
            started[job] = now
            workers[job] = worker
            number = 1
            if made and job in made:
                number = run.numbers[job] = made[job] + 1
            grants.append(kind(run, job, number, fence))
        self.fence += len(granted)
        if self.lease_seconds is not None:
            self.leased[run] = None
            until = now + self.lease_seconds
            run.leases.update((grant.job, (grant, until)) for grant in grants[first:])
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
