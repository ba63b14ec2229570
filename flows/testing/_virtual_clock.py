"""VirtualClock: an event loop for unit tests, whose time passes only when nothing else is to be done."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

from flows.errors import UnsupportedError
from flows.testing._virtual_loop import VirtualLoop
from flows.testing._virtual_time import VirtualTime

T = TypeVar("T")


class VirtualClock:
    """Time that passes at once: for the plain functions of async tasks, without a flow around them.

    ``clock.run(charge.fn(order))`` runs a coroutine to its end; what sleeps in it, or waits with a timeout, takes no
    real time, and `elapsed` says how long it would have taken.
    """

    def __init__(self) -> None:
        self._time = VirtualTime()
        self._loop = VirtualLoop(  # type: ignore[abstract]  # what it lacks raises NotImplementedError
            self._time.at, lambda: self._time.now, _NoGuard()
        )

    @property
    def elapsed(self) -> float:
        """Seconds since the clock began."""
        return self._time.elapsed()

    def run(self, coro: Coroutine[Any, Any, T]) -> T:
        """Run *coro* to its end; tasks that it leaves to themselves go on in the next run.

        Raises:
            RuntimeError: It waits for something that never comes.
        """
        task = self._loop.create_task(coro)
        while not task.done():
            if not self._time.step(0):
                task.cancel()
                while self._time.step(0):
                    pass
                raise RuntimeError(f"{coro!r} waits for something that never comes")
        result: T = task.result()
        return result

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass, with all that is to happen meanwhile."""
        end = self._time.now + seconds
        while (following := self._time.next_at()) is not None and following <= end:
            self._time.step(0)
        self._time.now = end

    def close(self) -> None:
        """End what still runs."""
        self._loop.die()


class _NoGuard:
    def begin(self) -> None:
        pass

    def end(self) -> None:
        pass

    def refuse(self, call: str, kind: str) -> NoReturn:
        raise UnsupportedError(f"a virtual clock has no {call}: give the coroutine something to call in its place")
