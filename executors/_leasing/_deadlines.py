"""Deadlines of attempts in threads, which nobody can stop: they are left behind, and their late results dropped."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from executors._leasing._log import say
from executors._leasing._monitor import monitor
from flows._verbs import Grant
from flows.errors import JobTimeoutError

if TYPE_CHECKING:
    from executors._leasing._crew import Crew


class Deadlines:
    """When the attempts that a crew's hands are making must be over. Thread-safe."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._at: dict[Grant, float] = {}

    @property
    def next_at(self) -> float | None:
        """The first of them."""
        return min(self._at.copy().values(), default=None)

    def note(self, grant: Grant) -> bool:
        """An attempt begins; says whether it has a deadline: that of its own timeout or of the run."""
        settings, deadline = grant.run.plan.settings[grant.job], self._crew.run.deadline_at
        if settings.run_in == "process":
            return False  # which has a keeper of its own
        if settings.timeout is not None:
            own = self._crew.clock() + settings.timeout
            deadline = own if deadline is None else min(own, deadline)
        if deadline is None:
            return False
        self._at[grant] = deadline
        monitor.ring_before(deadline)
        return True

    def met(self, grant: Grant) -> bool:
        """An attempt that has a deadline is over; says whether it was in time."""
        return self._at.pop(grant, None) is not None

    def expire(self, now: float) -> bool:
        """Fail the attempts whose time is over; says whether there were any."""
        crew, expired = self._crew, False
        for grant, deadline in self._at.copy().items():
            if deadline > now or not self.met(grant):
                continue
            expired = True
            grant.stop = grant.stop or "the attempt timed out"
            job = grant.run.plan.ids[grant.job]
            timeout = grant.run.plan.settings[grant.job].timeout or 0.0
            warning = "job %r ran out of time; its thread cannot be stopped and may run on beside a retry"
            say(logging.WARNING, warning, job)
            error = JobTimeoutError(f"timeout of {timeout:g} s passed", job=job)
            settle = crew.judged(grant, error, deadline - timeout, now)
            if crew.run.tracing is not None:
                crew.run.tracing.ended(settle)
            crew.done.append(settle)
            crew.gate.leave()
        return expired
