"""SVG: a picture with places, written so that it can be recoloured without being laid out again.

Colours are attributes, not styles, because viewers of notebooks strip styles; ids come from the picture's content, so
that a notebook run again differs only where something has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from flows._draw._layout import Layout, Point, lay_out
from flows._draw._letters import escaped, fitted, pixels
from flows._draw._picture import Arrow, Box, Picture
from flows._draw._status import Status
from flows._typeset import line

MARGIN: Final = 8.0
TITLE_SIZE: Final = 13.0
NOTE_SIZE: Final = 11.0
HEIGHT: Final = 40.0
WIDEST: Final = 250.0
_NARROWEST: Final = 72.0
_INSET: Final = 13.0
_GLYPH: Final = 17.0
_NOTE: Final = "9 attempts · 999 ms"
"""The note that each box of a run keeps room for, as it must not grow when there is something to say."""

_INK, _PALE = "#1b1f24", "#4a5561"
_ARROW, _CRITICAL = "#7d8896", "#d9480f"
_HUES: Final = (
    "#3b7dd8",
    "#c06f1c",
    "#33925f",
    "#b5549c",
    "#8a6d3b",
    "#5b6cc9",
    "#c2484b",
    "#3d8895",
    "#7c8722",
    "#7d5ba6",
)
"""Colours of queues, in order of first use; of middle brightness, to be seen on light and on dark pages."""


class Drawing:
    """A picture with places. Made once; `svg` writes it again and again, as the states of its jobs change.

    Args:
        picture: What to draw.
        live: Whether boxes keep room for a note on their jobs.

    Raises:
        MissingDependencyError: pygraphviz is not installed.
    """

    def __init__(self, picture: Picture, *, live: bool = False) -> None:
        self.picture = picture
        queues = {queue: _HUES[place % len(_HUES)] for place, queue in enumerate(picture.queues)}
        self._hues = [queues.get(box.queue, _ARROW) for box in picture.boxes]
        self._sizes = [_size(box, live=live) for box in picture.boxes]
        layout = lay_out(self._sizes, [(arrow.tail, arrow.head) for arrow in picture.arrows])
        self._centres = layout.boxes
        self.width, self.height = round(layout.width + 2 * MARGIN), round(layout.height + 2 * MARGIN)
        self._written: list[tuple[Status | None, str]] = [(None, "")] * len(picture.boxes)
        """What was last written of each box: most say the same again."""
        self._arrows = "".join(map(_arrow, picture.arrows, layout.arrows))
        self._id = f"flow-{_digest(picture, layout)}"

    @property
    def mark(self) -> str:
        """The id of the title: the same for as long as the layout is."""
        return f"{self._id}-title"

    def svg(self, statuses: Sequence[Status], described: str) -> str:
        """The SVG document.

        Args:
            statuses: What to say in each box.
            described: The picture in words, for those who cannot see it.
        """
        name, label = escaped(self.picture.name), self._id
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="{-MARGIN:g} {-MARGIN:g} {self.width} {self.height}" role="img" '
            f'aria-labelledby="{label}-title {label}-desc" font-family="Helvetica, Arial, sans-serif">'
            f'<title id="{label}-title">flow {name}</title><desc id="{label}-desc">{escaped(described)}</desc>'
        )
        return "".join([head, self._arrows, *map(self._box, range(len(statuses)), statuses), "</svg>"])

    def _box(self, place: int, status: Status) -> str:
        before, written = self._written[place]
        if before != status:
            written = self._written_anew(place, status)
            self._written[place] = status, written
        return written

    def _written_anew(self, place: int, status: Status) -> str:
        box, look = self.picture.boxes[place], status.look
        (x, y), (width, height) = self._centres[place], self._sizes[place]
        left, top = x - width / 2, y - height / 2
        edge, weight = (_CRITICAL, 2.5) if place in self.picture.critical else (look.edge, 1.2)
        dashes = ' stroke-dasharray="5 3"' if box.kind == "each" else ""
        paint = f'rx="6" fill="{look.fill}" stroke="{edge}" stroke-width="{weight}"{dashes}'
        rects = f"{_rect(left, top, width, height)} {paint}/>"
        if len(box.jobs) != 1:  # one behind another: there are several
            rects = f"{_rect(left + 4, top - 4, width, height)} {paint}/>{rects}"
        rects += f'{_rect(left + 4, top + 6, 4, height - 12)} rx="2" fill="{self._hues[place]}"/>'
        text = left + _INSET
        at = text + (_GLYPH if look.glyph else 0)
        title = fitted(box.caption, TITLE_SIZE, left + width - at - 6)
        said = " · ".join(part for part in (box.where, status.note) if part)
        state = f' data-state="{status.state}"' if status.state else ""
        return "".join((
            f'<g data-box="{escaped(box.title)}"{state}><title>{escaped(_tip(box, status))}</title>{rects}',
            _text(text, y - 3, look.glyph, TITLE_SIZE, _INK) if look.glyph else "",
            _text(at, y - 3, title, TITLE_SIZE, _INK, ' font-weight="600"'),
            _text(text, y + 12, fitted(said, NOTE_SIZE, width - _INSET - 6), NOTE_SIZE, _PALE),
            "</g>",
        ))  # fmt: skip


def _rect(left: float, top: float, width: float, height: float) -> str:
    """The beginning of a rectangle's tag."""
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"'


def _text(x: float, y: float, text: str, size: float, colour: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{more}>{escaped(text)}</text>'


def _tip(box: Box, status: Status) -> str:
    """What a mouse over the box, or a screen reader, says of it."""
    parts = [box.caption]
    if box.task and box.task != box.title:
        parts.append(f"task {box.task}")
    parts.append(f"queue {box.queue}" if box.queue else "a list" if box.control else "several queues")
    if status.state:
        parts.append(status.state.replace("_", " ") + (f", {status.note}" if status.note else ""))
    return "\n".join(parts) if len(box.jobs) else f"{parts[0]}: once for each item"


def _size(box: Box, *, live: bool) -> Point:
    title = pixels(line(box.caption), TITLE_SIZE) + (_GLYPH if live else 0)
    note = pixels(line(f"{box.where}{' · ' + _NOTE if live and box.kind != 'each' else ''}"), NOTE_SIZE)
    return min(max(title, note, _NARROWEST - 2 * _INSET) + 2 * _INSET, WIDEST), HEIGHT


def _arrow(arrow: Arrow, curve: Sequence[Point]) -> str:
    """A curve that ends a head's length before its last point, and the head."""
    colour = _CRITICAL if arrow.critical else _ARROW
    points = list(curve)
    (x, y), (before_x, before_y) = points[-1], points[-2]
    start = f"M{points[0][0]:.1f},{points[0][1]:.1f}"
    path = start + "C" + " ".join(f"{px:.1f},{py:.1f}" for px, py in points[1:])
    length = max(((x - before_x) ** 2 + (y - before_y) ** 2) ** 0.5, 0.001)
    ux, uy = (x - before_x) / length, (y - before_y) / length
    tip_x, tip_y = x + ux * 9, y + uy * 9
    head = f"{tip_x:.1f},{tip_y:.1f} {x - uy * 3.5:.1f},{y + ux * 3.5:.1f} {x + uy * 3.5:.1f},{y - ux * 3.5:.1f}"
    dashes = ' stroke-dasharray="5 4"' if arrow.soft else ""
    weight = 2.4 if arrow.critical else 1.3
    return (
        f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{weight}"{dashes}/>'
        f'<polygon points="{head}" fill="{colour}"/>'
    )


def _digest(picture: Picture, layout: Layout) -> str:
    told = repr((picture.name, picture.boxes, picture.arrows, layout.width, layout.height))
    return blake2b(told.encode("utf-8", "backslashreplace"), digest_size=5).hexdigest()
