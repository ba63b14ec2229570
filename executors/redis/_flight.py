"""An exchange that is under way, and what it grants, which is made of the answer when somebody looks at it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from flows._verbs import Grant, Reply


class InFlight(NamedTuple):
    """An exchange that was sent: `executors._store.Flight`."""

    is_answered: Callable[[], bool]
    land: Callable[[], Reply]


class LateGrants(Sequence[Grant]):
    """Grants that are made when they are first looked at: to send the next call it is enough to know how many.

    Args:
        count: How many.
        made: Makes them; it only computes, so that nothing that was granted is lost by an error.
    """

    def __init__(self, count: int, made: Callable[[], list[Grant]]) -> None:
        self._count = count
        self._made: Callable[[], list[Grant]] | None = made
        self._grants: list[Grant] = []

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Grant]:
        return iter(self._all())

    def __getitem__(self, place: Any) -> Any:
        return self._all()[place]

    def _all(self) -> list[Grant]:
        made, self._made = self._made, None
        if made is not None:
            self._grants = made()
        return self._grants
