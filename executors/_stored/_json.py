"""JSON text at little cost: Python's own C encoder and scanner, made once and called without their wrappers.

A row of a job is short, so that ``json.dumps`` and ``json.loads`` would spend most of their time on getting ready.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from json import encoder
from typing import Any


def _refuse(value: object) -> Any:
    raise TypeError(f"of type {type(value).__name__}, which JSON has not")


def _make_encoder() -> Callable[[Any], str]:
    make: Any = getattr(encoder, "c_make_encoder", None)
    try:
        encode = make(None, _refuse, encoder.encode_basestring, None, ":", ",", False, False, False)
        if "".join(encode([1, {"ß": None}], 0)) == '[1,{"ß":null}]':
            return lambda value: "".join(encode(value, 0))
    except TypeError:
        pass  # another interpreter, or a later one that makes it otherwise
    plain = json.JSONEncoder(ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"))
    return plain.encode


encode: Callable[[Any], str] = _make_encoder()
"""JSON text without spaces; text is written as it is. What is no plain data raises `TypeError`, a number that is not
finite `ValueError`, and keys are not looked at: whoever calls has seen to it that they are text.
"""

_decoder: Any = json.JSONDecoder()
_scan: Callable[[str, int], tuple[Any, int]] = _decoder.scan_once


def decode(payload: bytes) -> Any:
    """What JSON of our own writing says.

    Raises:
        ValueError: It is not whole, or is no JSON: what was stored has been damaged.
    """
    text = payload.decode()
    try:
        value, end = _scan(text, 0)
    except (StopIteration, ValueError):
        end = -1
    if end != len(text):
        raise ValueError(f"stored JSON is damaged: {text[:40]!r}")
    return value


def decode_all(payloads: Iterable[bytes]) -> list[Any]:
    """What each of *payloads* says, read at one go.

    Raises:
        ValueError: As `decode`.
    """
    values: list[Any] = decode(b"[%b]" % b",".join(payloads))
    return values
