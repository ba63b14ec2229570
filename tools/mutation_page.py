"""docs/mutation.md: a table of what was found, and of each survivor the reason why no test finds it.

Reasons are written there by a person; they are read from the page, and stay with their survivors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tools.mutants import Mutant
from tools.planting import ROOT

PAGE: Final = ROOT / "docs" / "mutation.md"

_SCORE: Final = re.compile(
    r"^\| `(?P<file>[^`]+)` \| (?P<mutants>\d+) \| (?P<judged>\d+) \| (?P<found>\d+) \| (?P<hung>\d+) "
    r"\| (?P<alike>\d+) \|"
)
_SECTION: Final = re.compile(r"^### `(?P<file>[^`]+)`$")
_ROW: Final = re.compile(r"^\| (?P<where>`[^`]+`|module) \| (?P<changes>`.*`) \| (?P<reason>.*) \|$")
_SCORES: Final = "| file | mutants | judged | found | hung | alike | |\n|---|---|---|---|---|---|---|\n"
_SURVIVORS: Final = "\n## Survivors\n"
_REASONS: Final = "\n| function | mistakes | why no test finds them |\n|---|---|---|\n"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one file's mutants.

    Attributes:
        mutants: How many there are.
        wanted: How many of them are to meet tests.
        judged: How many have.
        survivors: Those of the judged that no test found.
        alike: How many of these mean the same as what stood there, as the page says of them: they count neither way.
        hung: How many of those found make a test go on without end.
        waiting: Function and mistake of those that have not been judged: what the page says of them stays.
    """

    file: str
    mutants: int
    wanted: int
    judged: int
    survivors: tuple[Mutant, ...]
    alike: int = 0
    hung: int = 0
    waiting: frozenset[tuple[str, str]] = frozenset()

    @property
    def found(self) -> int:
        """How many mutants the tests have found."""
        return self.judged - len(self.survivors)

    @property
    def counted(self) -> int:
        """How many could be found."""
        return self.judged - self.alike


Reasons = dict[tuple[str, str], str]
"""Function and mistake -> why it is not found."""


ALIKE: Final = "alike: "
"""With this begins the reason of a mutant that means the same, but for what it costs."""


def reasons_in(text: str) -> dict[str, Reasons]:
    """What the page says of survivors, by file."""
    made: dict[str, Reasons] = {}
    here: Reasons = {}
    for line in text.splitlines():
        if section := _SECTION.match(line):
            here = made.setdefault(section["file"], {})
        elif row := _ROW.match(line):
            where = "" if row["where"] == "module" else row["where"].strip("`")
            for change in row["changes"][1:-1].split("`<br>`"):
                here[where, change.replace("\\|", "|")] = row["reason"].strip()
    return made


def written(text: str, results: Iterable[Result]) -> tuple[str, list[tuple[str, Mutant]]]:
    """The page with *results*; files that were not judged this time stay as they are.

    Returns:
        The text, and the survivors that have no reason yet.
    """
    reasons = reasons_in(text)
    rows = {score["file"]: score[0] for line in text.splitlines() if (score := _SCORE.match(line))}
    rows = {file: next(line for line in text.splitlines() if line.startswith(row)) for file, row in rows.items()}
    unexplained = []
    for one in results:
        share = f"{one.found / one.counted:.1%}" if one.counted else ""
        counts = (one.mutants, one.judged, one.found, one.hung, one.alike)
        rows[one.file] = f"| `{one.file}` | {' | '.join(map(str, counts))} | {share} |"
        known = reasons.get(one.file, {})
        reasons[one.file] = {name: reason for name, reason in known.items() if name in one.waiting}
        for each in one.survivors:
            reasons[one.file][each.function, each.change] = known.get((each.function, each.change), "")
            if not known.get((each.function, each.change)):
                unexplained.append((one.file, each))
    head = text.partition(_SCORES.splitlines()[0])[0]
    sections = "".join(_section(file, reasons[file]) for file in rows if reasons.get(file))
    table = "".join(f"{row}\n" for row in rows.values())
    return head + _SCORES + table + _together(rows) + _SURVIVORS + sections, unexplained


def _together(rows: Mapping[str, str]) -> str:
    """A line on all scripts, which are one program and of which a sample is judged."""
    scores = [score for file, row in rows.items() if file.endswith(".lua") and (score := _SCORE.match(row))]
    names = ("mutants", "judged", "found", "alike")
    mutants, judged, found, alike = (sum(int(score[name]) for score in scores) for name in names)
    if judged == alike:
        return ""
    low, high = interval(found, judged - alike)
    return (
        f"\nAll scripts together: {found} of {judged} found, {alike} alike: {found / (judged - alike):.1%}; with 95 % "
        f"certainty {low:.1%} to {high:.1%} of all {mutants}.\n"
    )


def interval(found: int, judged: int) -> tuple[float, float]:
    """Where the share of all lies, by a random sample, with 95 % certainty (Wilson's score interval)."""
    z, share = 1.96, found / judged
    middle = share + z * z / (2 * judged)
    reach = z * math.sqrt(share * (1 - share) / judged + z * z / (4 * judged * judged))
    whole = 1 + z * z / judged
    return (middle - reach) / whole, (middle + reach) / whole


def _section(file: str, reasons: Mapping[tuple[str, str], str]) -> str:
    together: dict[tuple[str, str, str], list[str]] = {}
    for (function, change), reason in reasons.items():
        alone = "" if reason else change
        together.setdefault((function, reason, alone), []).append(change.replace("|", "\\|"))
    rows = [
        f"| {f'`{function}`' if function else 'module'} | `{'`<br>`'.join(changes)}` | {reason} |\n"
        for (function, reason, _), changes in together.items()
    ]
    return f"\n### `{file}`\n{_REASONS}{''.join(rows)}"
