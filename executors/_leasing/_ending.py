"""How a worker ends: it drains, and what does not end in time is told to stop, then let go."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from typing import TYPE_CHECKING, Final

from executors._leasing._log import say
from flows._typeset import count
from flows._verbs import End, FailedSettle, Settle
from flows._worker import Drain
from flows.errors import GiveUp, LeaseLostError

if TYPE_CHECKING:
    from executors._leasing._workshop import Workshop
    from flows._worker import WorkerCore

STOP_SECONDS: Final = 2.0
"""How long handlers that were told to stop may take, before they are let go."""

LAST_SECONDS: Final = 5.0
"""How long the last outcomes may take to reach the store; then leases run out instead."""


class Ending:
    """The steps of a drain. `drain` and `quit` may be called from anywhere, the rest is the exchange thread's.

    Args:
        grace: Seconds that running handlers have to end.

    Attributes:
        now: Whether to end at once.
        next_at: When the next step is due, by the monotonic clock.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._asked = False
        self._step = 0
        self.now = False
        self.next_at = math.inf

    def drain(self) -> None:
        """Begin to end."""
        self._asked = True

    def quit(self) -> None:
        """End at once."""
        self.now = True

    @property
    def pressing(self) -> bool:
        """Whether a step is due that has nothing to do with time."""
        return self.now or (self._asked and not self._step)

    def look(self, shop: Workshop, core: WorkerCore, now: float) -> bool:
        """Take the step that is due, if any is; says whether one was."""
        if not self._asked or (self._step and time.monotonic() < self.next_at):
            return False
        self._step += 1
        if self._step == 1:
            held = len(shop.held())
            told = f"{count(held, 'job')}, with {self._grace:g} s to end" if held else "no job"
            say(logging.INFO, "worker %s drains: it holds %s", shop.name, told)
            self.next_at = time.monotonic() + self._grace
            core.feed(Drain(), now)
        elif self._step == 2:
            self.next_at = time.monotonic() + STOP_SECONDS
            shop.withdraw(shop.held(), "the worker shuts down")
        elif self._step == 3:
            self.next_at = time.monotonic() + LAST_SECONDS
            shop.give_up()
        else:
            say(logging.ERROR, "worker %s ends without the store's answer; its leases will run out", shop.name)
            self.now = True
        return True


def reconsidered(settle: Settle, told: End | None) -> Settle:
    """What becomes of a job whose handler was told to stop: what it then raised must not cost an attempt.

    Args:
        told: What it was told to stop for; None: for nothing that the worker remembers.
    """
    grant = settle.grant
    if told is End.CANCELLED or grant.run.state.cancelling:
        if isinstance(settle, FailedSettle) and settle.end in (End.RETRY, End.FAILED):
            settle.end = End.CANCELLED
            settle.failed = settle.failed and dataclasses.replace(settle.failed, state="cancelled")
        return settle
    stopped = told is not None and settle.end in (End.RETRY, End.FAILED, End.CANCELLED)
    if not stopped or isinstance(settle.error, GiveUp):
        return settle
    if told is End.LOST:  # not given back: where no renewal is ever confirmed, that could go on for ever
        error = LeaseLostError(grant.stop or "", job=grant.run.plan.ids[grant.job])
        return FailedSettle(grant, End.LOST, error, settle.started_at, settle.ended_at)
    return Settle(grant, End.RELEASED, None, settle.started_at, settle.ended_at)
