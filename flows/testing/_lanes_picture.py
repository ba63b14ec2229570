"""The timeline of a simulation as a picture: a lane a worker, a column for each thing that happened, in order."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from flows.testing._lanes import LISTED, entries_of, instant

if TYPE_CHECKING:
    from flows.testing._trace import Trace

_COLOURS: Final = {
    **dict.fromkeys(("completed", "replayed"), "#2e8b57"),
    **dict.fromkeys(("failed", "crashed", "lost"), "#c0392b"),
    **dict.fromkeys(("retrying", "refused"), "#c77700"),
}
_OTHER: Final = "#6b7785"
_WIDTH, _HEIGHT, _NAMES, _TOP = 118, 44, 84, 26


def picture(trace: Trace[object]) -> str:
    """*trace* as SVG, readable on light and dark pages; of very long ones the beginning."""
    entries = entries_of(trace)[:LISTED]
    lanes: dict[str | None, int] = {}
    for name in sorted(
        {entry.worker for entry in entries}, key=lambda name: (name is not None, len(name or ""), name or "")
    ):
        lanes[name] = len(lanes)
    width, height = _NAMES + _WIDTH * len(entries) + 8, _TOP + _HEIGHT * len(lanes) + 8
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">']
    for name, lane in lanes.items():
        y = _TOP + _HEIGHT * lane + _HEIGHT // 2
        parts.append(f'<line x1="{_NAMES}" y1="{y}" x2="{width - 8}" y2="{y}" stroke="#8884" stroke-width="1"/>')
        parts.append(f'<text x="4" y="{y + 4}" fill="#888">{escape(name or "the world")}</text>')
    shown = None
    for column, entry in enumerate(entries):
        x, y = _NAMES + _WIDTH * column, _TOP + _HEIGHT * lanes[entry.worker] + 5
        if entry.at != shown:
            shown = entry.at
            parts.append(f'<text x="{x + 4}" y="16" fill="#888">{instant(entry.at)}</text>')
        colour = "none" if entry.outcome is None else _COLOURS.get(entry.outcome, _OTHER)
        ink = "#888" if entry.outcome is None else "#fff"
        parts.append(f"<g><title>{escape(entry.text)}</title>")
        parts.append(
            f'<rect x="{x + 2}" y="{y}" width="{_WIDTH - 6}" height="{_HEIGHT - 10}" rx="5" fill="{colour}" '
            f'stroke="{_OTHER if entry.outcome is None else colour}"/>'
        )
        for line, text in enumerate(entry.lines):
            parts.append(f'<text x="{x + 8}" y="{y + 14 + 13 * line}" fill="{ink}">{escape(_cut(text))}</text>')
        parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _cut(text: str) -> str:
    return text if len(text) <= 17 else f"{text[:16]}…"
