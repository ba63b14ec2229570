"""Data as JSON: what may be written down, and the one canonical way to write it."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from flows._binding import DEPTH_LIMIT
from flows._json_text import spelled
from flows._names import shown
from flows.errors import DataError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

INT_RANGE = (-(2**63), 2**64 - 1)
"""Integers that survive every store exactly."""


def canonical(plain: Any) -> bytes:
    """What `jsonable` gave, as JSON with sorted keys and no spaces: equal data, equal bytes."""
    import json

    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def jsonable(value: Any, spot: str, depth: int = 0) -> Any:
    """*value* in JSON's own types; models, dataclasses, dates and the like are written as pydantic writes them.

    Raises:
        DataError: Something in it has no JSON form, or would come back as something else.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return text_of(value, spot)
    if kind is int:
        if not INT_RANGE[0] <= value <= INT_RANGE[1]:
            raise DataError(f"{spot}: an integer of {value.bit_length()} bits does not fit 64; pass it as text")
        return value
    if kind is float:
        if not math.isfinite(value):
            raise DataError(f"{spot}: {value} has no JSON form; pass None or text")
        return value
    if depth >= DEPTH_LIMIT:
        raise DataError(f"{spot}: data nests deeper than {DEPTH_LIMIT} levels, or is circular")
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise DataError(f"{spot}: the key {shown(key)} is not text, and JSON has no others; convert it")
        return {text_of(key, spot): jsonable(item, f"{spot}{spelled(key)}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item, f"{spot}[{position}]", depth + 1) for position, item in enumerate(value)]
    return jsonable(written_by_pydantic(value, spot), spot, depth + 1)


def text_of(value: str, spot: str) -> str:
    """*value*, if it is text that can be written.

    Raises:
        DataError: It has a lone surrogate.
    """
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{spot}: a lone surrogate at position {error.start} is not text that can be written") from None
    return value


def written_by_pydantic(value: Any, spot: str) -> Any:
    """*value*, which is none of JSON's own types, as pydantic writes it: data that may again have such values in it.

    Raises:
        DataError: It has no JSON form.
    """
    if isinstance(value, set | frozenset | bytes | bytearray) or callable(value):
        raise DataError(
            f"{spot}: {shown(value)} of type {type(value).__name__} has no JSON form that comes back the same"
        )
    kind: Any = type(value)
    try:
        plain = _adapter(kind).dump_python(value, mode="json")
    except Exception as error:  # pydantic raises of many kinds for types it cannot write
        raise DataError(
            f"{spot}: {shown(value)} of type {type(value).__name__} has no JSON form; "
            "pass a pydantic model, a dataclass or plain data"
        ) from error
    if type(plain) is type(value):
        raise DataError(f"{spot}: {shown(value)} of type {type(value).__name__} has no JSON form")
    return plain


@functools.lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
