"""The store in memory, told what to grant: the model of a store on a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from executors.memory import MemoryRun, MemoryStore
from flows._state import CONTROL_QUEUE, WAITING
from flows._verbs import Grant, Settle, SuspectGrant

HOUR: Final = 3600.0
"""A lease; delays are a third of it. What a test takes by itself is nothing against that."""


class Clock:
    """Time that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Model(MemoryStore):
    """The store in memory; but what it grants, and which queues it looks at, is said to it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock, epoch=0.0, lease_seconds=HOUR, chunk=1 << 40)

    def take(self, settles: Sequence[Settle], queues: Iterable[str]) -> list[Settle]:
        """Settle, sweep, and wake what is due on those queues; what is refused."""
        now = self.clock()
        refused = list(self._settle(settles, now, {}))
        self.finish()
        for run in tuple(self._timed):
            due = [entry for entry in run.delayed if entry[0] <= now and self.home(run, entry[2]) in queues]
            self._hasten(run, {job for _, _, job in sorted(due)}, now)
        return refused

    def finish(self) -> None:
        """Sweep all, and have lists grow."""
        while self._unswept:
            for run in tuple(self._unswept):
                self._sweep(run, self.clock())
        self._interrupted.clear()

    def is_overdue(self, run: MemoryRun) -> bool:
        return run in self._deadlines and (run.deadline_at or 0.0) <= self.clock()

    @staticmethod
    def home(run: MemoryRun, job: int) -> str:
        return CONTROL_QUEUE if run.is_control(job) else run.plan.queues_of[job]

    def is_suspect(self, run: MemoryRun, job: int) -> bool:
        return (run, job) in self._claims.queues._suspects.get(run.plan.queues_of[job], ())

    def adopt(self, run: MemoryRun, job: int) -> Grant:
        """Grant just this job, which the rules must allow."""
        assert run.state.state[job] == WAITING, "granted, and not waiting"
        queue, grants, kind = self.home(run, job), list[Grant](), Grant
        limit = self._limits.of.get(queue)
        assert limit is None or limit.free(self.clock()) > 0, "granted, and its queue has no room"
        if self.is_suspect(run, job):
            self._claims.queues._suspects[queue].remove((run, job))
            kind = SuspectGrant
        else:
            run.lane(queue, run.plan.settings[job].priority).jobs.remove(job)
        self._claims._grant(run, (job,), self.clock(), "w", grants, kind)
        self._claims._hold(run, grants)
        return grants[0]
