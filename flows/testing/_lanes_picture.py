"""The timeline of a simulation as a picture: a lane a worker, a column for each thing that happened, in order."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from flows._draw._box import INK, PALE
from flows._draw._letters import escaped, fitted
from flows._draw._status import LOOKS, PLAIN, Look
from flows.testing._lanes import LISTED, Entry, entries_of, instant

if TYPE_CHECKING:
    from flows.testing._trace import Trace

_LOOKS: Final[dict[str | None, Look]] = {
    **dict.fromkeys(("completed", "replayed"), LOOKS["completed"]),
    **dict.fromkeys(("failed", "crashed", "lost"), LOOKS["failed"]),
    **dict.fromkeys(("retrying", "refused"), LOOKS["delayed"]),
    None: PLAIN,
}
_OTHER: Final = LOOKS["cancelled"]
_PAPER, _LINE = "#f8f9fb", "#7d8896"
_WIDTH, _HEIGHT, _NAMES, _TOP = 118, 44, 84, 26
_SIZE: Final = 11.0


def picture(trace: Trace[object]) -> str:
    """*trace* as SVG, readable on light and dark pages; of very long ones the beginning."""
    entries = entries_of(trace)[:LISTED]
    names = sorted(
        {entry.worker for entry in entries}, key=lambda name: (name is not None, len(name or ""), name or "")
    )
    lanes = {name: lane for lane, name in enumerate(names)}
    width, height = _NAMES + _WIDTH * len(entries) + 8, _TOP + _HEIGHT * len(lanes) + 8
    parts = [f'<rect width="{width}" height="{height}" rx="6" fill="{_PAPER}"/>']
    for name, lane in lanes.items():
        y = _TOP + _HEIGHT * lane + _HEIGHT // 2
        parts.append(f'<line x1="{_NAMES}" y1="{y}" x2="{width - 8}" y2="{y}" stroke="{_LINE}" stroke-opacity="0.3"/>')
        parts.append(_text(4, y + 4, fitted(name or "the world", _SIZE, _NAMES - 6), PALE))
    shown = None
    for column, entry in enumerate(entries):
        x, y = _NAMES + _WIDTH * column, _TOP + _HEIGHT * lanes[entry.worker] + 5
        if entry.at != shown:
            shown = entry.at
            parts.append(_text(x + 4, 16, instant(entry.at), PALE))
        parts.append(_box(entry, x, y))
    body = "".join(parts)
    mark = f"trace-{blake2b(body.encode('utf-8', 'backslashreplace'), digest_size=5).hexdigest()}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-labelledby="{mark}-title {mark}-desc" font-family="Helvetica, Arial, sans-serif">'
        f'<title id="{mark}-title">{escaped(repr(trace))}</title>'
        f'<desc id="{mark}-desc">{escaped(trace.timeline())}</desc>{body}</svg>'
    )


def _box(entry: Entry, x: int, y: int) -> str:
    look = _LOOKS.get(entry.outcome, _OTHER)
    said = list(entry.lines)
    if look.glyph and said:
        said[0] = f"{look.glyph} {said[0]}"
    rect = (
        f'<rect x="{x + 2}" y="{y}" width="{_WIDTH - 6}" height="{_HEIGHT - 10}" rx="5" fill="{look.fill}" '
        f'stroke="{look.edge}"/>'
    )
    lines = [
        _text(x + 8, y + 14 + 13 * line, fitted(text, _SIZE, _WIDTH - 16), PALE if line else INK)
        for line, text in enumerate(said)
    ]
    return f"<g><title>{escaped(entry.text)}</title>{rect}{''.join(lines)}</g>"


def _text(x: int, y: int, text: str, colour: str) -> str:
    return f'<text x="{x}" y="{y}" font-size="{_SIZE:g}" fill="{colour}">{escaped(text)}</text>'
