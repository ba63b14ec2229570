"""Durations: seconds, `timedelta` or text such as ``"1m30s"``, checked and turned into seconds."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import NoReturn

from flows._names import shown
from flows.errors import DefinitionError

Duration = float | int | str | timedelta

LIMIT_DAYS = 366
LIMIT_SECONDS = LIMIT_DAYS * 86_400

_TEXT_LIMIT = 64
_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))? ?([a-z]+) ?")
_SPELLINGS = {
    7 * 86_400_000: "w week weeks",
    86_400_000: "d day days",
    3_600_000: "h hr hrs hour hours",
    60_000: "m min mins minute minutes",
    1_000: "s sec secs second seconds",
    1: "ms msec msecs millisecond milliseconds",
}
_UNIT_MS = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_FORMS = "give seconds (90), a timedelta, or text with units ('1m30s', '24h', '3d', '500ms')"


def seconds(value: object, what: str = "delay", *, above_zero: bool = False) -> float:
    """*value* in seconds: finite, not negative, at most 366 days.

    Args:
        value: Seconds as int or float, a `timedelta`, or text of numbers with units (w, d, h, m, s, ms), the
            largest first.
        what: What lasts that long, for the message: ``"delay"``, ``"option timeout"``.
        above_zero: Refuse 0 too.

    Raises:
        DefinitionError: It is anything else; the message says what to write instead.
    """
    if isinstance(value, str):
        result = _parse(str.__str__(value).strip(), what)
    elif isinstance(value, timedelta):
        result = value / timedelta(seconds=1)
    elif isinstance(value, float):
        result = float.__float__(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        # Clamped first: an int may be too large for a float.
        result = float(max(-1, min(int.__int__(value), LIMIT_SECONDS + 1)))
    else:
        _refuse(value, what, f"is of type {type(value).__name__}")
    if not math.isfinite(result):
        _refuse(value, what, "is not finite")
    if result < 0:
        _refuse(value, what, "is negative")
    if result > LIMIT_SECONDS:
        _refuse(value, what, f"is longer than {LIMIT_DAYS} days", f"give at most '{LIMIT_DAYS}d'")
    if above_zero and result == 0:
        _refuse(value, what, "must be more than 0")
    return result + 0.0  # turns -0.0 into 0.0


def _parse(text: str, what: str) -> float:
    scale: int = 10**_TEXT_LIMIT
    total, last, at = 0, 1 + max(_UNIT_MS.values()), 0
    while len(text) <= _TEXT_LIMIT and (part := _PART.match(text, at)) is not None:
        whole, fraction, unit = part[1], part[2] or "", _UNIT_MS.get(part[3], last)
        if unit >= last:
            break
        # Whole numbers up to the one division at the end: "0.1s" gives exactly 0.1.
        total += int(whole + fraction) * unit * scale // 10 ** len(fraction)
        last, at = unit, part.end()
    if not text or at < len(text):
        _refuse(text, what, _fault(text, at))
    return min(total, (LIMIT_SECONDS + 1) * 1_000 * scale) / (1_000 * scale)


def _fault(text: str, at: int) -> str:
    """Why *text* was not understood from position *at* on."""
    rest = text[at : at + _TEXT_LIMIT]
    part = _PART.match(rest)
    if not text:
        return "is empty"
    if len(text) > _TEXT_LIMIT:
        return f"has more than {_TEXT_LIMIT} characters"
    if rest.startswith("-"):
        return "has a minus sign, and durations are never negative"
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", rest):
        return f"lacks the unit after {rest}"
    if part is None:
        return "cannot be read as a duration"
    if part[3] not in _UNIT_MS:
        return f"has the unknown unit {part[3]!r} (known are w, d, h, m, s, ms)"
    return f"has its units out of order at {part[0].strip()!r} (largest first, each once)"


def _refuse(value: object, what: str, fault: str, remedy: str = _FORMS) -> NoReturn:
    raise DefinitionError(f"{what} {shown(value)}: {fault}; {remedy}")
