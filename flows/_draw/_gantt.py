"""A timeline as a picture: a lane for what a worker ran of a queue, a bar an attempt, a thin line for its wait.

Attempts that overlap in a lane stand below one another: the first free row takes the next (the greedy colouring of
interval graphs, which needs no more rows than ran at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from flows._draw._letters import escaped, fitted, pixels
from flows._draw._status import LOOKS
from flows._typeset import count, line, spell

if TYPE_CHECKING:
    from flows._timeline import Timeline, TimelineRow

BARS: Final = 400
"""Attempts that are drawn before the rest is only counted: those of the critical path first, then the longest."""

WIDTH: Final = 720.0
_ROW, _BAR, _TOP, _MARGIN, _LABEL = 22.0, 16.0, 46.0, 8.0, 220.0
_SIZE: Final = 11.0
_PAPER: Final = "#f8f9fb"
"""Under the letters between the bars: no colour of letters reads well on light and on dark pages both."""
_INK, _PALE, _GRID, _CRITICAL = "#1b1f24", "#4a5561", "#7d8896", "#d9480f"
_OTHER = LOOKS["cancelled"]


@dataclass(frozen=True, slots=True)
class _Lane:
    """What one worker ran of one queue: its rows, each with attempts that do not overlap."""

    label: str
    rows: Sequence[Sequence[TimelineRow]]


def gantt(timeline: Timeline, limit: int = BARS) -> str:
    """The SVG document."""
    shown = timeline.shown(limit)
    lanes = _lanes(shown, timeline.end)
    room = min(max((pixels(lane.label, _SIZE) for lane in lanes), default=0.0) + 14, _LABEL)
    rows = sum(len(lane.rows) for lane in lanes)
    height = _TOP + rows * _ROW + 26
    parts = [_axis(timeline, room, _TOP + rows * _ROW)]
    top = _TOP
    for lane in lanes:
        parts.append(_text(0, top + 15, fitted(lane.label, _SIZE, room - 8), _INK))
        parts.append(_rule(0, top, room + WIDTH))
        for row in lane.rows:
            parts += [_bar(timeline, one, room, top) for one in row]
            top += _ROW
    left = len(timeline.rows) - len(shown)
    said = "thin: waits · orange edge: critical path" + (f" · and {count(left, 'more attempt')}" if left else "")
    parts.append(_text(room, top + 17, said, _PALE))
    body = "".join(parts)
    return f"{_head(timeline, room + WIDTH + 60, height, body)}{body}</svg>"


def _head(timeline: Timeline, width: float, height: float, body: str) -> str:
    mark = blake2b(body.encode("utf-8", "backslashreplace"), digest_size=5).hexdigest()
    title, figures = timeline.figures()
    wide, high = f"{width + 2 * _MARGIN:.0f}", f"{height + 2 * _MARGIN:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" '
        f'viewBox="{-_MARGIN:g} {-_MARGIN:g} {wide} {high}" role="img" '
        f'aria-labelledby="time-{mark}-title time-{mark}-desc" font-family="Helvetica, Arial, sans-serif">'
        f'<title id="time-{mark}-title">timeline of {escaped(title)}</title>'
        f'<desc id="time-{mark}-desc">{escaped(timeline.text(100))}</desc>'
        f'<rect x="{-_MARGIN:g}" y="{-_MARGIN:g}" width="{wide}" height="{high}" rx="6" fill="{_PAPER}"/>'
        + _text(0, 12, line(title, 140), _INK, ' font-weight="600"')
        + _text(0, 27, figures, _PALE)
    )


def _axis(timeline: Timeline, left: float, bottom: float) -> str:
    """Instants below one another would hide the bars, so there are only a few."""
    step = _step(timeline.seconds)
    parts, at = [], 0.0
    while at <= timeline.seconds and step:
        x = left + at / timeline.seconds * WIDTH
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 4}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="{_GRID}" stroke-opacity="0.3"/>'
        )
        parts.append(_text(x, _TOP - 6, spell(at) if at else "0", _PALE))
        at += step
    return "".join(parts)


def _step(seconds: float) -> float:
    """Between the marks of the axis: 1, 2 or 5 times a power of ten, four to ten of them."""
    if seconds <= 0:
        return 0.0
    step = 1e-6
    while True:
        for factor in (1, 2, 5):
            if seconds / (step * factor) <= 9:
                return step * factor
        step *= 10


def _bar(timeline: Timeline, row: TimelineRow, left: float, top: float) -> str:
    def x(at: datetime) -> float:
        whole = timeline.seconds or 1.0
        return left + min(max((at - timeline.start).total_seconds() / whole, 0.0), 1.0) * WIDTH

    ready, start, end = x(row.ready), x(row.start), x(row.end or timeline.end)
    look = LOOKS["active" if row.outcome is None else row.outcome] if row.outcome in (None, *LOOKS) else _OTHER
    wide, middle = max(end - start, 1.5), top + _ROW / 2
    edge, weight = (_CRITICAL, 2) if row.critical else (look.edge, 1)
    again = f" {row.attempt}/{row.attempts}" if row.attempt > 1 or row.outcome == "failed" else ""
    name = f"{look.glyph} {row.job}{again}"
    lasted = spell(((row.end or timeline.end) - row.start).total_seconds())
    tried = f"{row.job}, attempt {row.attempt} of {row.attempts}"
    tip = f"{tried}\n{row.outcome or 'active'}: waited {spell(row.waited)}, ran {lasted}"
    waits = f'<line x1="{ready:.1f}" y1="{middle:.1f}" x2="{start:.1f}" y2="{middle:.1f}" stroke="{look.edge}"/>'
    label = fitted(name, _SIZE, wide - 8) if wide > 26 else ""
    return (
        f"<g><title>{escaped(tip)}</title>{waits if start - ready > 0.5 else ''}"
        f'<rect x="{start:.1f}" y="{top + (_ROW - _BAR) / 2:.1f}" width="{wide:.1f}" height="{_BAR:g}" rx="3" '
        f'fill="{look.fill}" stroke="{edge}" stroke-width="{weight}"/>'
        + (_text(start + 4, middle + 4, label, _INK) if label else "")
        + "</g>"
    )


def _lanes(rows: Sequence[TimelineRow], until: datetime) -> list[_Lane]:
    places = dict.fromkeys((row.worker, row.queue) for row in rows)
    lanes = []
    for worker, queue in sorted(places, key=lambda place: str(place[0])):
        ends: list[datetime] = []
        packed: list[list[TimelineRow]] = []
        for row in rows:
            if (row.worker, row.queue) == (worker, queue):
                free = next((place for place, end in enumerate(ends) if end <= row.ready), len(ends))
                if free == len(ends):
                    ends.append(until)
                    packed.append([])
                ends[free] = row.end or until
                packed[free].append(row)
        lanes.append(_Lane(f"{worker or 'unknown'} · {queue}", packed))
    return lanes


def _rule(x: float, y: float, width: float) -> str:
    return f'<line x1="{x:g}" y1="{y:.1f}" x2="{x + width:.1f}" y2="{y:.1f}" stroke="{_GRID}" stroke-opacity="0.3"/>'


def _text(x: float, y: float, text: str, colour: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{_SIZE:g}" fill="{colour}"{more}>{escaped(text)}</text>'
