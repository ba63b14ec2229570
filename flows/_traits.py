"""Traits: what is asked of a plan as a whole whenever it is run, worked out once for all plans of its shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flows._state import Limits

if TYPE_CHECKING:
    from flows._plan import Plan


class _Same:
    """A column whose entries are all the same."""

    __slots__ = ("_value",)

    def __init__(self, value: int) -> None:
        self._value = value

    def __getitem__(self, job: int) -> int:
        return self._value


class Traits:
    """What follows from the options of a plan's jobs. Never changes.

    Attributes:
        attempts: Attempts allowed, by job.
        delays: Seconds between release and readiness, for jobs that have any.
        queue: The queue that all jobs go to and in which first come is first served; None where that is not so, or
            some are conditional or lists.
        timed: Whether any job has a timeout.
        in_process: Whether any handler is to run in a process.
        shares: Whether any job shares its result under an idempotency key.
        leaves: The jobs that wait for nothing, once somebody has asked for them: not kept of plans that run once.
        steady: Whether all that the jobs come to are plain calls of their handlers: nothing is in a process, shared,
            conditional or a list.
        written: What stores that write plans down keep of this one, to write the next of its shape sooner.
    """

    __slots__ = ("attempts", "delays", "in_process", "leaves", "queue", "shares", "steady", "timed", "written")

    def __init__(self, plan: Plan[Any]) -> None:
        settings, distinct, queues = plan.settings, plan.distinct, plan.queues_of
        attempts = {one.attempts for one in distinct}
        self.attempts: Limits = [one.attempts for one in settings] if len(attempts) > 1 else _Same(settings[0].attempts)
        self.delays: Mapping[int, float] = {}
        if any(one.delay for one in distinct):
            self.delays = {job: one.delay for job, one in enumerate(settings) if one.delay}
        first = queues[0]
        turns = plan.conditions or plan.lists or any(one.priority or one.lifo for one in distinct)
        self.queue: str | None = None if turns or queues.count(first) < len(queues) else first
        self.leaves: Sequence[int] | None = None
        self.written: Any = None
        self.timed = any(one.timeout is not None for one in distinct)
        self.in_process = any(one.run_in == "process" for one in distinct)
        self.shares = any(one.idempotency_key is not None for one in distinct)
        self.steady = not (self.in_process or self.shares or plan.conditions or plan.lists)
