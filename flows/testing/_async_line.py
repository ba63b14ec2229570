"""The line of async jobs of ``executors._leasing``, on the event loop of a simulated worker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from executors._leasing._loop import LoopLine
from flows._verbs import Grant


class SimulatedLine(LoopLine):
    """The async jobs of one simulated worker: a crew's line, on the worker's own event loop."""

    def __init__(self, owner: Any, slots: int, call: Callable[[Callable[[], object]], object]) -> None:
        super().__init__(owner, slots, owner.store)
        self._call = call

    def put(self, grants: list[Grant]) -> None:
        """Run these as soon as there are slots."""
        self._line.extend(grants)
        if not self._called:
            self._called = True
            self._call(self._pump)

    def interrupt(self) -> None:
        """Cancel all live handlers."""
        if self._live or self._line or self._called:
            self._call(self._cancel_live)

    def stop(self, grant: Grant) -> bool:
        """Cancel the live handler of *grant*, whose lease is lost; says whether there is one."""
        task = self._live.get(grant)
        if task is None:
            return False
        self._call(lambda: self._call(task.cancel))  # after its first step, as `_cancel_live` has it
        return True

    @property
    def waiting(self) -> deque[Grant]:
        """Those that have not started."""
        return self._line
