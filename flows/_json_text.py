"""JSON text, read strictly, and the paths by which messages name a spot in a document.

Refused is what Python's reader takes although it is no JSON, or would change on the way: keys that stand
twice (the last one would win, and another reader may take the first), ``NaN`` and ``Infinity``, numbers too
large to be held.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

from flows._names import shown
from flows.errors import DataError, DefinitionError

Trail = tuple["Trail", str | int] | None
"""The way to a spot, its last step first, so that a step down costs the same at any depth."""

_DIGITS = 40
"""Longer integers are refused unread: none fits 64 bits, and Python itself would stop at some length."""

_FIRST_STEPS, _LAST_STEPS = 6, 8


def spot_of(trail: Trail) -> str:
    """A trail as a path: ``children[2].opts.attempts``. Of a long one the middle is left out."""
    steps: list[str | int] = []
    while trail is not None:
        trail, step = trail
        steps.append(step)
    steps.reverse()
    if len(steps) <= _FIRST_STEPS + _LAST_STEPS + 1:
        return _spelled(steps).removeprefix(".")
    return f"{_spelled(steps[:_FIRST_STEPS]).removeprefix('.')}…{_spelled(steps[-_LAST_STEPS:])}"


def _spelled(steps: list[str | int]) -> str:
    return "".join(map(spelled, steps))


def spelled(step: str | int) -> str:
    """One step of a path: plain where it is a short word, else as it would be quoted."""
    return f".{step}" if isinstance(step, str) and len(step) <= 80 and step.isidentifier() else f"[{shown(step)}]"


def read_json(source: str | bytes | bytearray) -> Any:
    """What the JSON *source* says.

    Raises:
        DataError: It is not UTF-8, empty, not JSON, or has what is refused here; the message has the place.
    """
    import json

    text = _decoded(source)
    if not text.strip():
        raise DataError('the JSON text is empty; a flow is at least {"name": ...}')
    reader = _Reader()
    try:
        document = reader.decoder.decode(text)
    except json.JSONDecodeError as error:
        raise DataError(
            f"the text is not JSON: {error.msg} at line {error.lineno}, column {error.colno}{_hint(text)}"
        ) from None
    except RecursionError:
        raise DataError(
            f"the text nests deeper than Python's JSON reader goes at a recursion limit of {sys.getrecursionlimit()}; "
            'list the jobs flat under "jobs" and join them by "depends_on", or pass data that is parsed already'
        ) from None
    if reader.odd:
        raise DefinitionError.of([DataError(text) for text in reader.faults(document)])
    return document


def _decoded(source: str | bytes | bytearray) -> str:
    if isinstance(source, str):
        return source.removeprefix("\ufeff")
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"the JSON text is not UTF-8: byte 0x{source[error.start]:02x} at position {error.start} "
            f"({error.reason}); encode it so"
        ) from None


def _hint(text: str) -> str:
    if text.lstrip()[0] in "{[":
        return ""
    return f"; parse() takes the text itself, not a path or a name, and got {shown(text)}"


class _Reader:
    """Python's decoder, and a note of every value refused; the place of each is looked for afterwards."""

    def __init__(self) -> None:
        import json

        self.odd: list[tuple[object, str]] = []
        self.decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=lambda name: self._refused(f"{name} has no place in JSON; write null or text"),
            parse_float=self._float,
            parse_int=self._integer,
        )

    def faults(self, document: object) -> Iterator[str]:
        """A message for each value refused, with its path."""
        wanted = {id(value): message for value, message in self.odd}
        stack: list[tuple[object, Trail]] = [(document, None)]
        while stack and wanted:
            value, trail = stack.pop()
            message = wanted.pop(id(value), None)
            if message is not None:
                yield f"{spot_of(trail) or 'the document'}: {message}"
            if isinstance(value, dict):
                stack.extend((item, (trail, key)) for key, item in reversed(value.items()))
            elif isinstance(value, list):
                stack.extend((item, (trail, place)) for place, item in reversed(list(enumerate(value))))
        yield from wanted.values()  # those in a value that a later one of its key replaced

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        read = dict(pairs)
        if len(read) < len(pairs):
            met: set[str] = set()
            twice = next(key for key, _ in pairs if key in met or met.add(key))  # type: ignore[func-returns-value]
            self.odd.append((read, f"the key {shown(twice)} stands there twice; leave one out"))
        return read

    def _float(self, text: str) -> float:
        value = float(text)
        return (
            value if math.isfinite(value) else self._refused(f"the number {shown(text)} is too large; pass it as text")
        )

    def _integer(self, text: str) -> float:
        if len(text) <= _DIGITS:
            return int(text)
        return self._refused(f"an integer of {len(text)} digits does not fit 64 bits; pass it as text")

    def _refused(self, message: str) -> float:
        value = float("nan")  # a new object, found again by its identity
        self.odd.append((value, message))
        return value
