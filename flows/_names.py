"""The edge checks of names, and how values are shown in messages."""

from __future__ import annotations

import re
import reprlib
import unicodedata
from collections.abc import Iterable

from flows.errors import DefinitionError

NAME_LIMIT = 128
QUEUE_LIMIT = 64

_QUEUE = re.compile(rf"[A-Za-z0-9_.-]{{1,{QUEUE_LIMIT}}}")
# Letters and marks by their category, yet drawn as nothing or as a blank.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
_KINDS = {
    "Cc": "control character",
    "Cf": "invisible format character",
    "Cs": "lone surrogate",
    "Co": "private-use character",
    "Cn": "unassigned character",
    "Zl": "line separator",
    "Zp": "paragraph separator",
    "Zs": "unusual space",
}

_shorter = reprlib.Repr()
_shorter.maxstring = _shorter.maxother = _shorter.maxlong = 80


def shown(value: object, limit: int = 80) -> str:
    """The repr of *value* for a message: at most *limit* characters, on one line, never raising."""
    try:
        text = _shorter.repr(value)
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[: limit + 1])
    except Exception:
        text = f"<unprintable {type(value).__name__}>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def nearest(name: str, known: Iterable[str], count: int = 1) -> list[str]:
    """Up to *count* of the *known* names that *name* may have been meant for, the likeliest first."""
    from difflib import get_close_matches  # only messages need it

    return get_close_matches(name, list(known), n=count)


def check_name(value: object, what: str, limit: int = NAME_LIMIT) -> str:
    """*value* if it may name a task or a job: printable text of 1 to 128 characters.

    Args:
        value: The name.
        what: What it names, for the message: ``"task name"``, ``"job id"``.
        limit: The greatest number of characters.

    Raises:
        DefinitionError: It is no text, empty, too long, or has a character that cannot be seen.
    """
    text = _text(value, what, f"printable text of 1 to {limit} characters", limit)
    if not text.isprintable() or not (text.isascii() or _INVISIBLE.isdisjoint(text)):
        raise DefinitionError(f"{what} {shown(text)}: {_first_bad(text)} cannot be seen; leave it out")
    return text


def check_queue(value: object, what: str = "queue") -> str:
    """*value* if it may name a queue or a namespace: 1 to 64 of the characters ``A-Z a-z 0-9 _ . -``.

    Raises:
        DefinitionError: It is anything else.
    """
    text = _text(value, what, f"text of 1 to {QUEUE_LIMIT} characters of A-Z a-z 0-9 _ . -", QUEUE_LIMIT)
    if _QUEUE.fullmatch(text) is None:
        at, bad = next((at, char) for at, char in enumerate(text) if _QUEUE.fullmatch(char) is None)
        raise DefinitionError(
            f"{what} {shown(text)}: {_named(bad)} at position {at} is not allowed; use A-Z a-z 0-9 _ . - only"
        )
    return text


def _text(value: object, what: str, wanted: str, limit: int) -> str:
    if not isinstance(value, str):
        raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; give {wanted}")
    text = str.__str__(value)  # a plain str, also of an enum's member
    if not text:
        raise DefinitionError(f"{what} '': is empty; give {wanted}")
    if len(text) > limit:
        raise DefinitionError(f"{what} {shown(text)}: has {len(text)} characters; give {wanted}")
    return text


def _first_bad(text: str) -> str:
    at, bad = next((at, char) for at, char in enumerate(text) if not char.isprintable() or char in _INVISIBLE)
    return f"{_named(bad)} at position {at}"


def _named(char: str) -> str:
    kind = _KINDS.get(unicodedata.category(char))
    if kind is None:
        kind = "invisible character" if char in _INVISIBLE else f"character {char!r}"
    if char == " ":
        kind = "space"
    return f"{kind} U+{ord(char):04X}"
