"""A store behind a network that fails when it is told to."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

from executors.memory import MemoryStore
from flows._verbs import Grant, Reply
from flows.errors import UnavailableError


class Unreliable:
    """A `MemoryStore` as a worker far away sees it.

    Args:
        store: The store itself.
        fate: Called with the name of each verb and its number among the calls of that verb, from 0. Says what becomes
            of the call: "fine", "lost" before it has reached the store, "unanswered" after, or an error to raise.
    """

    def __init__(self, store: MemoryStore, fate: Callable[[str, int], Any] = lambda verb, number: "fine") -> None:
        self._store = store
        self._fate = fate
        self._lock = threading.Lock()
        self.calls: dict[str, int] = {}
        self.refusing: set[tuple[str, int]] = set()
        """(run id, job) whose leases are refused, though they hold."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def exchange(self, *call: Any) -> Reply:
        return self._called("exchange", *call)  # type: ignore[no-any-return]

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        refused = self._called("extend", grants)
        return [*refused, *(one for one in grants if (one.run.id, one.job) in self.refusing and one not in refused)]

    def rescue(self) -> int:
        return self._called("rescue")  # type: ignore[no-any-return]

    def reserve(self, *call: Any) -> Any:
        return self._called("reserve", *call)

    def file(self, *call: Any) -> Any:
        return self._called("file", *call)

    def began(self, *call: Any) -> Any:
        return self._called("began", *call)

    def _called(self, verb: str, *call: Any) -> Any:
        with self._lock:
            number = self.calls.get(verb, 0)
            self.calls[verb] = number + 1
        fate = self._fate(verb, number)
        if isinstance(fate, Exception):
            raise fate
        if fate == "lost":
            raise UnavailableError(f"{verb} {number} was lost")
        answer = getattr(self._store, verb)(*call)
        if fate == "unanswered":
            raise UnavailableError(f"{verb} {number} was not answered")
        return answer
