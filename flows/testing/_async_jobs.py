"""The async jobs of a simulated worker: the production line of them, on the worker's own virtual event loop."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any

from flows._handlers import judge_error, perform_async
from flows._verbs import End, FailedSettle, Grant, Settle
from flows.errors import LeaseLostError
from flows.testing._async_line import SimulatedLine
from flows.testing._attempts import Died, failure_of
from flows.testing._real_time import Violation

if TYPE_CHECKING:
    from flows.testing._simulated_worker import SimulatedWorker


class AsyncJobs:
    """The async jobs of one run on one worker: what their line on the event loop takes of a crew.

    Attributes:
        lost: Attempts whose lease is lost: when their handlers have stopped, that is how they have ended.
    """

    def __init__(self, worker: SimulatedWorker, run: Any) -> None:
        self.worker = worker
        self.run = run
        self.store = worker.world.store
        self.clock = worker.world.clock
        self.done: deque[Settle] = deque()
        self.lost: set[Grant] = set()
        call = functools.partial(worker.loop_here().call_soon, context=Context())
        tracing = run.tracing
        self._perform = perform_async if tracing is None else tracing.around_async(perform_async, worker.name)
        self.line = SimulatedLine(self, worker.world.slots, call)

    def unrun(self, grant: Grant) -> End | None:
        """How a grant ends that is not to begin any more, as the run was cancelled; None if it is."""
        worker = self.worker
        if not self.run.state.cancelling:
            return None if worker.keeper.lasts(grant, worker.asked_at, worker.world.now) else End.RELEASED
        return End.RELEASED if self.run.ended else End.CANCELLED

    async def async_attempt(self, grant: Grant, clock: Any) -> Settle:
        """Make an attempt as the current task."""
        world = self.worker.world
        attempt = self.worker.begin(grant)
        early = world.before(grant)
        if early is not None:
            return early
        wait = attempt.pause() + attempt.extra
        if wait or self.worker.frozen_until > world.now:
            await asyncio.sleep(wait)
        attempt.extra = 0.0
        world.entered = attempt
        settle = await self._perform(grant, clock)
        if attempt.extra:
            await asyncio.sleep(attempt.extra)
            settle.ended_at = clock()
        return world.after(settle)

    def judged(self, grant: Grant, error: Exception, started_at: float, ended_at: float) -> Settle:
        """What an exception of the attempt means."""
        return judge_error(grant, error, started_at, ended_at)

    def struck(self, grant: Grant, error: BaseException, started_at: float) -> Settle:
        """Something was raised that is meant for the process."""
        if isinstance(error, SystemExit | GeneratorExit):
            return self.judged(grant, failure_of(error), started_at, self.clock())
        if isinstance(error, Died | Violation):
            self.worker.die()
        else:
            self.worker.world.fall(error)
        return Settle(grant, End.RELEASED, None, started_at, self.clock())

    def turn(self) -> None:
        """Report what has ended."""
        worker, settles = self.worker, self.done
        self.done = deque()
        for settle in settles:
            kept = None if worker.gone else worker.ended(settle)
            if kept is not None:
                if kept.grant in self.lost and kept.end is End.CANCELLED:
                    error = LeaseLostError(kept.grant.stop or "")
                    kept = FailedSettle(kept.grant, End.LOST, error, kept.started_at, kept.ended_at)
                worker.conclude(kept, worker.attempts.get(kept.grant))

    def hand_over(self) -> None:
        """There are no other hands."""
