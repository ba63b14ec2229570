"""Laying out text for people: one line of anything, cells of equal width, spans of time in words."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

CELL = 200
"""Columns after which a text in a message is cut, where nothing else is said."""


def line(text: object, limit: int = CELL) -> str:
    """*text* on one line of at most *limit* columns: what cannot be seen is escaped, what is too long is cut."""
    plain = str(text)
    plain = plain if len(plain) <= 4 * limit else plain[: 4 * limit]
    if not plain.isprintable():
        plain = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in plain)
    return _cut(plain, limit)


def width(text: str) -> int:
    """How many columns of a terminal *text* takes: wide characters take two, combining ones none."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cell(text: object, columns: int, *, right: bool = False) -> str:
    """*text* as `line` writes it, cut or filled up to exactly *columns*."""
    shown = line(text, columns)
    gap = " " * (columns - width(shown))
    return gap + shown if right else shown + gap


def spell(seconds: float) -> str:
    """A span of time with its unit, to about two digits: ``20 µs``, ``250 ms``, ``4.2 s``, ``3 min 20 s``."""
    seconds = max(seconds, 0.0)
    if 0 < seconds < 0.0000995:
        return f"{_two_digits(seconds * 1_000_000)} µs"
    if seconds < 0.0995:
        return f"{_two_digits(seconds * 1_000)} ms"
    if seconds < 0.9995:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 59.5:
        return f"{_two_digits(seconds)} s"
    whole = round(seconds)
    for unit, name, part, part_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // part
            return f"{whole // unit} {name} {rest} {part_name}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def count(number: int, noun: str) -> str:
    """``1 job``, ``2 jobs``, ``12,000 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _two_digits(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0") if value < 9.95 else f"{value:.0f}"


def _cut(text: str, limit: int) -> str:
    if width(text) <= limit:
        return text
    kept, columns = [], 1
    for char in text:
        columns += _columns(char)
        if columns > limit:
            break
        kept.append(char)
    return "".join(kept) + "…"


@lru_cache(maxsize=4_096)
def _columns(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
