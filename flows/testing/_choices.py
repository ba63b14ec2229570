"""Choices: every pick of a simulation, by number, so that it can be drawn from anywhere and repeated from a literal.

The first option is always the harmless one. Without a source, all picks are harmless; with a seed or with hypothesis
some are not, and only those are noted: ``{17: 2}`` says that the 18th pick took its third option.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeVar

from flows._names import shown
from flows.errors import DefinitionError

T = TypeVar("T")

LUCK: Final = 400
"""Picks after which all goes well, so that every simulation comes to its end."""

_CALM: Final = 3
"""How often the first option stands among those that are drawn from, for each of the others."""

_SHARES: Final = 1000


class Source(Protocol):
    """Where picks come from."""

    def option(self, number: int, options: int) -> int:
        """Which of so many options is taken; 0 is the harmless one."""
        ...

    def share(self, number: int) -> float:
        """A number from 0.0, which is harmless, to below 1.0."""
        ...


class Choices:
    """Picks for one simulation, and a note of those that were not harmless.

    Attributes:
        odd: Number of the pick -> option, for all but the first options.
    """

    __slots__ = ("_chance", "_made", "_source", "odd")

    def __init__(self, schedule: object, seed: int | None) -> None:
        self.odd: dict[int, int] = {}
        self._made = 0
        self._source = _source_of(schedule, seed)
        # What has a probability is drawn even where everything else goes well.
        self._chance = self._source or _Seeded(0)

    def __call__(self, options: Sequence[T]) -> T:
        number = self._made
        self._made = number + 1
        if self._source is None or number >= LUCK:
            return options[0]
        option = self._source.option(number, len(options))
        if not option:
            return options[0]
        self.odd[number] = option
        return options[option]

    def happens(self, probability: float) -> bool:
        """Whether something of that *probability* happens; where all goes well it does not."""
        number = self._made
        self._made = number + 1
        happens = self._chance.share(number) >= 1.0 - probability
        if happens:
            self.odd[number] = 1
        return happens


class _Seeded:
    def __init__(self, seed: int) -> None:
        # Of all that `random` offers, this one method is promised to give the same numbers everywhere.
        self._random = random.Random(seed).random

    def option(self, number: int, options: int) -> int:
        drawn = int(self._random() * _weights(options))
        return drawn if drawn < options else 0

    def share(self, number: int) -> float:
        return self._random()


class _Noted:
    def __init__(self, odd: Mapping[int, int]) -> None:
        self._odd = odd

    def option(self, number: int, options: int) -> int:
        return min(self._odd.get(number, 0), options - 1)

    def share(self, number: int) -> float:
        return 1.0 if self._odd.get(number) else 0.0


class _Drawn:
    def __init__(self, integer: Callable[[int], int]) -> None:
        self._integer = integer

    def option(self, number: int, options: int) -> int:
        drawn = self._integer(_weights(options))
        return drawn if drawn < options else 0

    def share(self, number: int) -> float:
        return self._integer(_SHARES) / _SHARES


def _weights(options: int) -> int:
    """How many numbers to draw from, of which all that are no option mean the first."""
    return options + _CALM * (options - 1)


def _source_of(schedule: object, seed: int | None) -> Source | None:
    if schedule is not None and seed is not None:
        raise DefinitionError("simulate() takes a schedule= or a seed=, not both")
    if seed is not None:
        if type(seed) is not int:
            raise DefinitionError(f"seed= takes a whole number, not {shown(seed)}")
        return _Seeded(seed)
    if schedule is None:
        return None
    if isinstance(schedule, Mapping):
        if not all(type(one) is int and one >= 0 for pick in schedule.items() for one in pick):
            raise DefinitionError(
                f"schedule= takes numbers of picks and of options, as {{17: 2}}, not {shown(schedule)}"
            )
        return _Noted(schedule)
    if isinstance(schedule, random.Random):  # hypothesis' randoms() among them
        return _Drawn(schedule.randrange)
    if isinstance(schedule, Sequence) and not isinstance(schedule, str):
        return _source_of(dict(enumerate(schedule)), None)
    draw: Any = getattr(schedule, "draw", None)
    if callable(draw):
        from hypothesis import strategies

        return _Drawn(lambda below: draw(strategies.integers(0, below - 1)))
    raise DefinitionError(
        "schedule= takes hypothesis' data(), a random.Random, or the literal of a former trace.replay, "
        f"not {shown(schedule)}"
    )
