"""Reading a document leniently: problems are noted with the path to their spot, and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from flows._json_text import Trail, spot_of
from flows._names import nearest, shown
from flows.errors import DefinitionError

_ENOUGH: Final = 100
"""Problems after which reading stops: a generated document may have one in each of its jobs."""


class EnoughProblems(Exception):
    """There are so many problems that reading on is of no use."""


class Problems:
    """What is wrong with a document, and access to its parts that notes what has not the right form."""

    def __init__(self) -> None:
        self.found: list[DefinitionError] = []

    def add(self, problem: DefinitionError) -> None:
        """Note a problem whose message has its path.

        Raises:
            EnoughProblems: It is one too many.
        """
        self.found.append(problem)
        if len(self.found) >= _ENOUGH:
            raise EnoughProblems

    def refuse(self, trail: Trail, message: str, kind: type[DefinitionError] = DefinitionError) -> None:
        """Note a problem of the spot that *trail* leads to."""
        self.add(kind(f"{spot_of(trail) or 'the document'}: {message}"))

    def below(self, trail: Trail, message: str, kind: type[DefinitionError] = DefinitionError) -> None:
        """Note a problem whose message begins with the last part of its path: ``name '': is empty``."""
        path = spot_of(trail)
        self.add(kind(f"{path}.{message}" if path else message))

    def checked(self, check: Callable[[object, str], str], value: object, key: str, trail: Trail) -> str | None:
        """What *check* makes of the text under *key*; None if it is missing or wrong."""
        if value is None:
            self.refuse(trail, f"lacks its {key}")
            return None
        try:
            return check(value, key)
        except DefinitionError as error:
            self.below(trail, str(error))
            return None

    def listed(self, source: Mapping[str, Any], key: str, trail: Trail) -> list[tuple[Trail, Any]]:
        """The entries of the list under *key* with their trails; null is as good as nothing."""
        entries = source.get(key)
        if entries is None:
            return []
        if not isinstance(entries, list | tuple):
            self.refuse((trail, key), f"{shown(entries)} is no list")
            return []
        here: Trail = (trail, key)
        return [((here, place), entry) for place, entry in enumerate(entries)]

    def mapping(self, source: Mapping[str, Any], key: str, trail: Trail, what: str) -> Mapping[str, Any]:
        """The mapping under *key*; null is as good as an empty one."""
        value = source.get(key)
        if isinstance(value, Mapping):
            return value
        if value is not None:
            self.refuse((trail, key), f"{shown(value)} is no mapping of {what}")
        return {}

    def check_keys(self, source: Mapping[str, Any], known: Collection[str], trail: Trail) -> None:
        """Note every key that is not one of *known*."""
        for key in source:
            if key not in known:
                near = nearest(str(key), known)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
                self.refuse(trail, f"there is no key {shown(key)} here; {hint}")
