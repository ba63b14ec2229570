"""One box as SVG: what stays the same is written once, and put together with a state whenever that has changed."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from flows._draw._letters import escaped, fitted, pixels

if TYPE_CHECKING:
    from flows._draw._layout import Point
    from flows._draw._picture import Box
    from flows._draw._status import Status

TITLE_SIZE: Final = 13.0
NOTE_SIZE: Final = 11.0
INSET: Final = 13.0
GLYPH: Final = 17.0
_SPARE: Final = 6.0
INK, PALE = "#1b1f24", "#4a5561"


class DrawnBox:
    """A box in its place. Whatever users have named is escaped here once; states and notes are ours.

    Args:
        centre, size: Where it is, in pixels.
        hue: The colour of its queue.
        edge: The colour of its edge, where that does not go by the state.
    """

    def __init__(self, box: Box, centre: Point, size: Point, hue: str, edge: str | None) -> None:
        (x, y), (width, height) = centre, size
        self._box = box
        self._left, self._y, self._width = x - width / 2, y, width
        self._edge = edge
        top = y - height / 2
        self._head = f'<g data-box="{escaped(box.title)}"'
        self._tip = escaped(_tip(box))
        self._front = _rect(self._left, top, width, height)
        # One behind another: there are several.
        self._back = _rect(self._left + 4, top - 4, width, height) if len(box.jobs) != 1 else ""
        self._hue = f'{_rect(self._left + 4, top + 6, 4, height - 12)} rx="2" fill="{hue}"/>'
        self._weight = f'{1.2 if edge is None else 2.5}"' + (' stroke-dasharray="5 3"' if box.kind == "each" else "")
        self._titles: dict[str, str] = {}
        self._where = escaped(box.where)
        self._room = width - INSET - _SPARE
        self._taken = pixels(box.where, NOTE_SIZE)
        self._under = _opened(self._left + INSET, y + 12, NOTE_SIZE, PALE)
        self._status: Status | None = None
        self._svg = ""

    def svg(self, status: Status) -> str:
        """The box with a state."""
        last = self._status
        if last is not status and last != status:
            self._status, self._svg = status, self._written(status)
        return self._svg

    def _written(self, status: Status) -> str:
        look = status.look
        edge = self._edge or look.edge
        paint = f' rx="6" fill="{look.fill}" stroke="{edge}" stroke-width="{self._weight}/>'
        state = f' data-state="{status.state}"' if status.state else ""
        back = f"{self._back}{paint}" if self._back else ""
        return (
            f"{self._head}{state}><title>{self._tip}{self._told(status)}</title>{back}{self._front}{paint}{self._hue}"
            f"{self._title(look.glyph)}{self._under}{self._said(status.note)}</text></g>"
        )

    def _told(self, status: Status) -> str:
        """What the tip says of the state."""
        if not status.state or not len(self._box.jobs):
            return ""
        state = status.state.replace("_", " ")
        return f"\n{state}, {status.note}" if status.note else f"\n{state}"

    def _title(self, glyph: str) -> str:
        written = self._titles.get(glyph)
        if written is None:
            left, y = self._left + INSET, self._y - 3
            at = left + (GLYPH if glyph else 0)
            title = fitted(self._box.caption, TITLE_SIZE, self._left + self._width - at - _SPARE)
            written = text_at(left, y, glyph, TITLE_SIZE, INK) if glyph else ""
            written += text_at(at, y, title, TITLE_SIZE, INK, ' font-weight="600"')
            self._titles[glyph] = written
        return written

    def _said(self, note: str) -> str:
        """The second line: the queue and the note, cut where they do not fit."""
        said = f" · {note}" if note else ""
        if self._taken + pixels(said, NOTE_SIZE) > self._room:
            return html.escape(fitted(f"{self._box.where}{said}", NOTE_SIZE, self._room))
        return self._where + said


def text_at(x: float, y: float, text: str, size: float, colour: str, more: str = "") -> str:
    """A text element, its content escaped."""
    return f"{_opened(x, y, size, colour, more)}{escaped(text)}</text>"


def _opened(x: float, y: float, size: float, colour: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{more}>'


def _rect(left: float, top: float, width: float, height: float) -> str:
    """The beginning of a rectangle's tag."""
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _tip(box: Box) -> str:
    """What a mouse over the box, or a screen reader, says of it beside the state."""
    if not len(box.jobs):
        return f"{box.caption}: once for each item"
    parts = [box.caption]
    if box.task and box.task != box.title:
        parts.append(f"task {box.task}")
    parts.append(f"queue {box.queue}" if box.queue else "a list" if box.control else "several queues")
    return "\n".join(parts)
