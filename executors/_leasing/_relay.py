"""Relay: jobs that come alone are run, settled and followed by the next ones without a turn of the whole worker.

A link of a chain, or a small flow, leaves a worker nothing to decide: outcomes go out, grants come back. Here the
exchange's thread does that and no more, for as long as it stays so; whatever else happens is left to the rounds of the
workshop. The calls are the same, in the same order and under the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Final

from flows._verbs import End, Grant, Reply, Settle

if TYPE_CHECKING:
    from executors._leasing._floor import Floor
    from flows._worker import Exchange, WorkerCore

MOST: Final = 64
"""Calls until the worker looks at everything again."""

FEW: Final = 8
"""Jobs at once; more are better run while the store works on the next call."""

_COMPLETED: Final = End.COMPLETED


class Relay:
    """What the thread of an exchange does while few jobs come at a time.

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
        """Run the jobs that are held, where they are few and simple, and those that follow.

        Returns:
            Whether the calling thread is still the exchange: False where a job has held it up, and another one is it
            now. None where there is more to decide, and nothing has been done.
        """
        if not 0 < self._core.at_rest <= FEW or not self._floor.enter_alone(self._core.held):
            return None
        if Context().run(self._run):
            self._floor.leave()
            return True
        return False

    def _run(self) -> bool:
        core, floor = self._core, self._floor
        for left in range(MOST, 0, -1):
            if not floor.run_line():
                return False
            settles = self._taken() if left > 1 and not self._is_pressing() else None
            if settles is None:
                return True
            call = core.link(settles)
            reply = self._ask(call)
            if reply is None:
                return True
            grants = reply.grants
            if not 0 < len(grants) <= FEW or not all(map(floor.is_simple, grants)) or not core.linked(call.seq, reply):
                core.replied(call.seq, reply, floor.clock())
                return True
            self._begin(grants)
            floor.stand(grants)
        return True

    def _taken(self) -> list[Settle] | None:
        """The outcomes, which are on their way to the store from now on; None where one asks for a closer look."""
        done, held, settling = self._floor.done, self._held, self._settling
        if len(done) != self._core.held:
            return None
        settles: list[Settle] = []
        for settle in done.copy():
            grant = settle.grant
            asked_at = held.get(grant)
            if asked_at is None or settle.end is not _COMPLETED:
                break
            settling[grant] = asked_at  # first: the keeper must find it in one of them
            del held[grant]
            settles.append(settle)
            if grant.stop is not None:
                break
        else:
            for _ in settles:
                done.popleft()
            return settles
        for settle in settles:
            held[settle.grant] = settling[settle.grant]
            del settling[settle.grant]
        return None
