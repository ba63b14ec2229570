"""Pictures as text for other tools: Mermaid, for documents that draw it, and Graphviz's DOT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flows._draw._picture import Box, Picture
from flows._draw._status import LOOKS, Status
from flows._typeset import line

_MERMAID: Final = str.maketrans({char: f"#{ord(char)};" for char in "\"'`#&<>\\[](){}|;%"})
_DOT: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;", "<": "&lt;", ">": "&gt;"})


def mermaid(picture: Picture, statuses: Sequence[Status]) -> str:
    """A Mermaid flowchart. Labels are spelled so that nothing in them can be markup."""
    lines = ["flowchart LR"]
    for place, (box, status) in enumerate(zip(picture.boxes, statuses, strict=True)):
        first, *rest = [line(part, 80).translate(_MERMAID) for part in _label(box, status)]
        label = "<br/>".join([first, *(f"<small>{part}</small>" for part in rest)])
        left, right = ("[[", "]]") if box.kind == "each" or len(box.jobs) > 1 else ("[", "]")
        lines.append(f'    n{place}{left}"{label}"{right}')
        if status.state:
            lines.append(f"    class n{place} {status.state}")
    for arrow in picture.arrows:
        shaft = "==>" if arrow.critical else "-.->" if arrow.soft else "-->"
        lines.append(f"    n{arrow.tail} {shaft} n{arrow.head}")
    used = dict.fromkeys(status.state for status in statuses if status.state)
    lines += [
        f"    classDef {state} fill:{LOOKS[state].fill},stroke:{LOOKS[state].edge},color:#1b1f24" for state in used
    ]
    return "\n".join(lines) + "\n"


def dot(picture: Picture, statuses: Sequence[Status]) -> str:
    """A DOT digraph with labels and colours, as ``dot -Tpng`` and its like draw it."""
    name = line(picture.name, 120).translate(_DOT)
    lines = [
        f'digraph "{name}" {{',
        "    rankdir=LR; nodesep=0.22; ranksep=0.5;",
        '    node [shape=box, style="rounded,filled", fontname="Helvetica", fontsize=11, color="#5f6f82"];',
        '    edge [color="#7d8896", arrowsize=0.7];',
    ]
    for place, (box, status) in enumerate(zip(picture.boxes, statuses, strict=True)):
        label = "\\n".join(line(part, 80).translate(_DOT) for part in _label(box, status))
        style = ', style="rounded,filled,dashed"' if box.kind == "each" else ""
        colour = "#d9480f" if place in picture.critical else status.look.edge
        lines.append(f'    n{place} [label="{label}", fillcolor="{status.look.fill}", color="{colour}"{style}];')
    for arrow in picture.arrows:
        looks = [
            *(["style=dashed"] if arrow.soft else []),
            *(['color="#d9480f"', "penwidth=2"] if arrow.critical else []),
        ]
        given = f" [{', '.join(looks)}]" if looks else ""
        lines.append(f"    n{arrow.tail} -> n{arrow.head}{given};")
    return "\n".join([*lines, "}"]) + "\n"


def _label(box: Box, status: Status) -> list[str]:
    """The lines of a box."""
    glyph = f"{status.look.glyph} " if status.look.glyph else ""
    return [f"{glyph}{box.caption}", " · ".join(part for part in (box.where, status.note) if part)]
