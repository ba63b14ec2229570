"""Deadlines of attempts in threads, which nobody can stop: they are left behind, and their late results dropped."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from executors._leasing._log import say
from executors._leasing._monitor import monitor
from flows._verbs import Grant
from flows.errors import JobTimeoutError


class Timed(Protocol):
    """Whose hands make attempts that may run out of time."""

    def deadline_of(self, grant: Grant) -> float | None:
        """When the run of *grant* is to be cancelled, by the monotonic clock."""
        ...

    def expire(self, grant: Grant, error: JobTimeoutError, started_at: float, now: float) -> None:
        """The attempt has failed with *error*; its thread is left behind. Instants are of the monotonic clock."""
        ...


class Deadlines:
    """When the attempts that these hands are making must be over. Thread-safe.

    Args:
        hands: Whose they are.
        clock: Monotonic.
    """

    def __init__(self, hands: Timed, clock: Callable[[], float]) -> None:
        self._hands = hands
        self._clock = clock
        self._at: dict[Grant, tuple[float, float]] = {}  # when, and when the attempt began

    @property
    def next_at(self) -> float | None:
        """The first of them."""
        return min((deadline for deadline, _ in self._at.copy().values()), default=None)

    def note(self, grant: Grant) -> bool:
        """An attempt begins; says whether it has a deadline: that of its own timeout or of the run."""
        settings, deadline = grant.run.plan.settings[grant.job], self._hands.deadline_of(grant)
        if settings.run_in == "process":
            return False  # which has a keeper of its own
        if settings.timeout is None and deadline is None:
            return False
        began = self._clock()
        if settings.timeout is not None:
            own = began + settings.timeout
            deadline = own if deadline is None else min(own, deadline)
        assert deadline is not None
        self._at[grant] = deadline, began
        monitor.ring_before(deadline)
        return True

    def met(self, grant: Grant) -> bool:
        """An attempt that has a deadline is over; says whether it was in time."""
        return self._at.pop(grant, None) is not None

    def expire(self, now: float) -> bool:
        """Fail the attempts whose time is over; says whether there were any."""
        expired = False
        for grant, (deadline, began) in self._at.copy().items():
            if deadline > now or not self.met(grant):
                continue
            expired = True
            grant.stop = grant.stop or "the attempt timed out"
            job = grant.run.plan.ids[grant.job]
            timeout = grant.run.plan.settings[grant.job].timeout
            warning = "job %r ran out of time; its thread cannot be stopped and may run on beside a retry"
            say(logging.WARNING, warning, job)
            own = timeout is not None and deadline == began + timeout
            why = f"timeout of {timeout:g} s passed" if own else "the deadline of its run passed"
            self._hands.expire(grant, JobTimeoutError(why, job=job), began, now)
        return expired
