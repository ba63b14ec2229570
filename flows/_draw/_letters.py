"""How wide text comes out in a proportional font that the picture cannot measure, and text that XML can hold."""

from __future__ import annotations

import html
from typing import Final

from flows._typeset import line
from flows._typeset import width as columns

_SPARE: Final = 1.08
"""Viewers without the wanted font take one that is wider."""

_LINES: Final = 250

_NARROW: Final = frozenset("fijlrtI.,:;'|!()[]{}-/\\ \"`*°·")
_WIDE: Final = frozenset("mwQGOCDHNU&+=<>~^_✓✗▶○")
_WIDEST: Final = frozenset("MW@%")


class _Units(dict[str, float]):
    """Widths of characters, in the size of the font; found when they are first met."""

    def __missing__(self, char: str) -> float:
        if char in _NARROW:
            units = 0.36
        elif char in _WIDE:
            units = 0.86
        elif char in _WIDEST:
            units = 1.02
        elif char.isascii():
            units = 0.70 if char.isupper() else 0.575
        else:
            return 1.05 if columns(char) == 2 else 0.68  # not kept: there are too many
        self[char] = units
        return units


_units: Final = _Units()


def pixels(text: str, size: float) -> float:
    """About the width of *text* in a sans-serif font of *size*; rather too much than too little."""
    return sum([_units[char] for char in text]) * size * _SPARE


def fitted(text: str, size: float, room: float) -> str:
    """*text* on one line, cut so that it takes no more than *room* pixels."""
    text = line(text)
    if pixels(text, size) <= room:
        return text
    while text and pixels(text, size) + size > room:
        text = text[:-1]
    return text + "…"


def escaped(text: str) -> str:
    """*text* as character data or an attribute's value: inert, and well-formed whatever the user has put in.

    Lines stay, what cannot be seen is spelled out, what is very long is cut.
    """
    lines = text.split("\n", _LINES)
    shown = "\n".join([line(one, 2_000) for one in lines[:_LINES]]) if len(lines) > 1 else line(text, 2_000)
    return html.escape(shown, quote=True)
