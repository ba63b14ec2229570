"""SVG: a picture with places, written so that it can be recoloured without being laid out again.

Colours are attributes, not styles, because viewers of notebooks strip styles; ids come from the picture's content, so
that a notebook run again differs only where something has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

from flows._draw._box import GLYPH, INSET, NOTE_SIZE, TITLE_SIZE, DrawnBox
from flows._draw._layout import Layout, Point, lay_out
from flows._draw._letters import escaped, pixels
from flows._draw._picture import Arrow, Box, Picture
from flows._draw._status import Status
from flows._typeset import line

MARGIN: Final = 8.0
HEIGHT: Final = 40.0
WIDEST: Final = 250.0
_NARROWEST: Final = 72.0
_NOTES: Final = {"one": " · 999 ms", "retried": " · 9 attempts · 999 ms", "many": " · 9 failed, 499 done"}
"""The note that a box of a run keeps room for, as it must not grow when there is something to say."""

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
        hues = [queues.get(box.queue, _ARROW) for box in picture.boxes]
        sizes = [_size(box, live=live) for box in picture.boxes]
        layout = lay_out(sizes, [(arrow.tail, arrow.head) for arrow in picture.arrows])
        self._boxes = [
            DrawnBox(box, centre, size, hue, _CRITICAL if place in picture.critical else None)
            for place, (box, centre, size, hue) in enumerate(zip(picture.boxes, layout.boxes, sizes, hues, strict=True))
        ]
        self.width, self.height = round(layout.width + 2 * MARGIN), round(layout.height + 2 * MARGIN)
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
        label = self._id
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width}" height="{self.height}" '
            f'viewBox="{-MARGIN:g} {-MARGIN:g} {self.width} {self.height}" role="img" '
            f'aria-labelledby="{label}-title {label}-desc" font-family="Helvetica, Arial, sans-serif">'
            f'<title id="{label}-title">flow {escaped(self.picture.name)}</title>'
            f'<desc id="{label}-desc">{escaped(described)}</desc>'
        )
        boxes = [box.svg(status) for box, status in zip(self._boxes, statuses, strict=True)]
        return "".join([head, self._arrows, *boxes, "</svg>"])


def _size(box: Box, *, live: bool) -> Point:
    title = pixels(line(box.caption), TITLE_SIZE) + (GLYPH if live else 0)
    says = live and box.kind != "each" and not (box.control and len(box.jobs) == 1)
    said = _NOTES["many" if len(box.jobs) > 1 else "retried" if box.retried else "one"] if says else ""
    note = pixels(line(box.where) + said, NOTE_SIZE)
    return min(max(title, note, _NARROWEST - 2 * INSET) + 2 * INSET, WIDEST), HEIGHT


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
