"""Pictures of the figures: for each place one, with a panel for each workload and a dot for each contender.

Drawn by hand, so that nothing has to be installed: text, lines and dots, readable on a light and on a dark page.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks.contest.contenders import PLACES, Where
from benchmarks.contest.figures import Standing, standings
from benchmarks.contest.page import shown

WIDTH, NAMES, FIGURES, LINE, PANEL = 760, 130, 110, 18, 44
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.t{font-weight:600}.us{font-weight:600;fill:#0969da}"
    ".g{stroke:#d0d7de;stroke-width:1}.d{fill:#6e7781}.w{stroke:#6e7781;stroke-width:2}.ud{fill:#0969da}"
    ".uw{stroke:#0969da;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#8d96a0}.us{fill:#4493f8}.g{stroke:#30363d}.ud{fill:#4493f8}}"
)


def picture(figures: dict[str, Any], where: Where) -> str:
    """The SVG of one place."""
    parts, top = [], 8
    for workload in figures["workloads"]:
        found = standings(figures, workload["name"], where)
        if sum(one.compared > 0 for one in found) > 1:
            parts.append(_panel(workload["name"], workload["kind"], found, top))
            top += PANEL + LINE * len(found)
    title = f"Figures {PLACES[where]}: further left is better"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" viewBox="0 0 {WIDTH} {top}" '
        f'role="img"><title>{escape(title)}</title><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )


def _panel(name: str, kind: str, found: Sequence[Standing], top: int) -> str:
    scales = [one.compared / one.call.median if one.compared else 0.0 for one in found]
    lows = [one.call.low * scale or one.compared for one, scale in zip(found, scales, strict=True)]
    highs = [one.call.high * scale for one, scale in zip(found, scales, strict=True)]
    first, last = math.floor(math.log10(min(filter(None, lows)))), math.ceil(math.log10(max(highs)))
    last = max(last, first + 1)
    left, right = NAMES + 10, WIDTH - FIGURES

    def at(value: float) -> float:
        return left + (right - left) * (math.log10(value) - first) / (last - first)

    unit = " a job" if kind in {"throughput", "orders"} else ""
    parts = [f'<text class="t" x="0" y="{top + 12}">{escape(name)}</text>']
    bottom = top + PANEL - 14 + LINE * len(found)
    for power in range(first, last + 1):
        x = at(10.0**power)
        parts.append(f'<line class="g" x1="{x:.1f}" x2="{x:.1f}" y1="{top + 20}" y2="{bottom - 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{top + 12}" text-anchor="middle">{escape(shown(10.0**power, kind))}</text>')
    for index, one in enumerate(found):
        y = top + PANEL - 8 + LINE * index
        ours = "u" if one.ours else ""
        text = "us" if one.ours else ""
        parts.append(f'<text class="{text}" x="{NAMES}" y="{y + 4}" text-anchor="end">{escape(one.contender)}</text>')
        if one.compared:  # nothing at all has no place on this scale
            parts.append(
                f'<line class="{ours}w" x1="{at(lows[index]):.1f}" x2="{at(highs[index]):.1f}" y1="{y}" y2="{y}"/>'
                f'<circle class="{ours}d" cx="{at(one.compared):.1f}" cy="{y}" r="4"/>'
            )
        said = escape(shown(one.compared, kind) + unit)
        parts.append(f'<text class="{text}" x="{WIDTH}" y="{y + 4}" text-anchor="end">{said}</text>')
    return "".join(parts)
