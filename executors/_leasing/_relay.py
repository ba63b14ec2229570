"""Relay: a job that comes alone is run, settled and followed by the next one without a turn of the whole worker.

A link of a chain leaves a worker nothing to decide: one outcome goes out, one grant comes back. Here the exchange's
thread does that and no more, for as long as it stays so; whatever else happens is left to the rounds of the workshop.
The calls are the same, in the same order and under the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Final

from flows._verbs import End, Grant, Reply

if TYPE_CHECKING:
    from executors._leasing._floor import Floor
    from flows._worker import Exchange, WorkerCore

MOST: Final = 64
"""Jobs until the worker looks at everything again."""

_COMPLETED: Final = End.COMPLETED


class Relay:
    """What the thread of an exchange does while jobs come one by one.

    Args:
        core: Decides.
        floor: Where jobs stand in line.
        held: Grants whose outcome is open, with when they were asked for.
        settling: The same of those whose outcome is on its way to the store.
        ask: Makes a call. The core is told only where that is not answered, which is None.
        begin: Told of a grant of the last answer that is begun.
        is_pressing: Whether there is something that does not wait.
    """

    def __init__(
        self,
        core: WorkerCore,
        floor: Floor,
        held: dict[Grant, float],
        settling: dict[Grant, float],
        ask: Callable[[Exchange], Reply | None],
        begin: Callable[[Sequence[Grant]], None],
        is_pressing: Callable[[], bool],
    ) -> None:
        self._core = core
        self._floor = floor
        self._held = held
        self._settling = settling
        self._ask = ask
        self._begin = begin
        self._is_pressing = is_pressing

    def run(self) -> bool | None:
        """Run the only job that is held, and those that follow.

        Returns:
            Whether the calling thread is still the exchange: False where a job has held it up, and another one is it
            now. None where there is more to decide, and nothing has been done.
        """
        if not self._core.is_alone:
            return None
        grant = self._floor.enter_alone()
        if grant is None:
            return None
        if Context().run(self._run, grant):
            self._floor.leave()
            return True
        return False

    def _run(self, grant: Grant) -> bool:
        core, floor = self._core, self._floor
        for left in range(MOST, 0, -1):
            settle = floor.alone(grant)
            if settle is None:
                return False
            if settle.end is not _COMPLETED or floor.took_long(settle) or left == 1 or self._is_pressing():
                floor.put(settle)
                return True
            if not self._moved(grant):
                floor.put(settle)
                return True
            call = core.link(settle)
            reply = self._ask(call)
            if reply is None:
                return True
            grants = reply.grants
            if len(grants) != 1 or not floor.is_simple(grants[0]) or not core.linked(call.seq, reply):
                core.replied(call.seq, reply, floor.clock())
                return True
            grant = grants[0]
            self._begin(grants)
        return True

    def _moved(self, grant: Grant) -> bool:
        """Have *grant* be on its way to be settled; not one that was told to stop, which is looked at again."""
        held, settling = self._held, self._settling
        settling[grant] = held[grant]  # first: the keeper must find it in one of them
        del held[grant]
        if grant.stop is None:
            return True
        held[grant] = settling[grant]
        del settling[grant]
        return False
