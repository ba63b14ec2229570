"""Who listens to a store: workers of any run, beside the crews that each work off one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from executors._store import Listener
    from executors.memory._run import MemoryRun


class Listeners(dict[str, "Listener"]):
    """Workers by name; a dict, so that its truth is asked for cheaply.

    Attributes:
        stirred: Whether something has become claimable since they were last told. Under the store's lock.
    """

    stirred = False

    def taken(self) -> bool:
        """Whether they are to be told; under the store's lock, once a verb."""
        stirred, self.stirred = self.stirred, False
        return stirred

    def wake(self, but: str | None = None) -> None:
        """Tell them, but for the one whose own call it was; not under the store's lock."""
        for name, one in tuple(self.items()):
            if name != but:
                one.wake()

    def stop(self, run: MemoryRun) -> None:
        """A run is being cancelled."""
        for one in tuple(self.values()):
            one.stop(run.id)

    def overdue(self, instant: float) -> None:
        """A run may be overdue by then."""
        for one in tuple(self.values()):
            one.overdue(instant)

    def add(self, name: str, one: Listener) -> Callable[[], None]:
        """Tell *one* from now on; returns what ends it."""
        self[name] = one
        return lambda: self._remove(name, one)

    def _remove(self, name: str, one: Listener) -> None:
        if self.get(name) is one:
            del self[name]


def tell_crews(runs: Iterable[MemoryRun]) -> None:
    """A worker of any run has settled jobs of these: crews that work them off, too, and waiters should look."""
    for run in runs:
        if run.crew is not None:
            run.rouse()
        elif run.ended:
            run.dismiss()
