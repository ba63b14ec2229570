"""Screen: the one place where the command line writes.

What was asked for goes to standard output: tables, documents, a flow's value. What is said beside it (how a run goes
on, hints, errors) goes to standard error, so that output can be piped. Lines are cut to a terminal's width and are
left whole elsewhere, where another program reads them. Nothing that users named is taken for markup, and what cannot
be seen in it is escaped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any, Final

from flows._typeset import line, width

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STYLES: Final = {
    "completed": "green",
    "failed": "bold red",
    "cancelled": "magenta",
    "skipped": "dim",
    "active": "cyan",
    "running": "cyan",
    "delayed": "yellow",
    "paused": "yellow",
    "ok": "green",
    "warn": "yellow",
    "fail": "bold red",
}
"""State, or how a check came out -> style. The word or a sign stands beside the colour everywhere."""

_PLAIN: Final = str.maketrans("…·µ✓✗●◷○⊘█░│├└─", "~-u+x*~o/#.||`-")
"""Our own signs on a terminal that knows ASCII only, each as wide as it was."""

_UNLIMITED: Final = 1_000_000

ID_COLUMNS: Final = 12
"""What is shown of a run's id where there is little room: 48 bits tell any runs apart that a person looks at."""


def console(stream: IO[str]) -> Console:
    """A console of rich on a stream: colours where it is a terminal and NO_COLOR is not set."""
    from rich.console import Console

    return _quiet_console(Console)(
        file=stream, markup=False, highlight=False, emoji=False, soft_wrap=True, legacy_windows=False
    )


def _quiet_console(kind: type[Console]) -> type[Console]:
    class _Console(kind):  # type: ignore[valid-type, misc]
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end the process by itself

    return _Console


def is_plain(stream: IO[str]) -> bool:
    """Whether the stream cannot take more than ASCII."""
    return not (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "").startswith("utf")


def fitting(text: str, stream: IO[str]) -> str:
    """*text* with our own signs replaced where the stream has none for them."""
    return text.translate(_PLAIN) if is_plain(stream) else text


def say(text: object = "", style: str = "") -> None:
    """Write a line for people, to standard error."""
    write(sys.stderr, styled(text, style))


def out(text: object = "", style: str = "") -> None:
    """Write a line of what was asked for, to standard output."""
    write(sys.stdout, styled(text, style))


def value(text: str) -> None:
    """Write what a program has made to standard output, as it is."""
    sys.stdout.write(f"{text}\n")


def write(stream: IO[str], text: Text) -> None:
    """Write a line to a stream."""
    text.plain = fitting(text.plain, stream)
    console(stream).print(text)


def styled(text: object, style: str = "") -> Text:
    """A piece of text for a line; what is no text is written in full."""
    from rich.text import Text

    return Text(str(text), style=style)


def document(data: Mapping[str, Any]) -> None:
    """Write one JSON document, on one line, to standard output."""
    sys.stdout.write(json.dumps(data, default=str, ensure_ascii=is_plain(sys.stdout)))
    sys.stdout.write("\n")  # apart: of one long write to a reader that has left, not every system tells


def columns(stream: IO[str]) -> int:
    """How many columns a line may have: those of the terminal, else any number."""
    if not stream.isatty():
        return _UNLIMITED
    return console(stream).width


class Column:
    """A column of a table; it is left out where all its cells are empty.

    Args:
        head: Its heading.
        right: Whether its cells stand at the right.
        least: It is cut down to so many columns where the table is too wide, and left out, the last one first, where
            that is not enough; 0: never.
        state: Whether its cells are states, and coloured so.
    """

    def __init__(self, head: str, *, right: bool = False, least: int = 0, state: bool = False) -> None:
        self.head = head
        self.right = right
        self.least = least
        self.state = state


def table(heads: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output, a row a line."""
    from rich.text import Text

    cells = [["" if cell is None else line(cell) for cell in row] for row in rows]
    used = [place for place in range(len(heads)) if not place or any(row[place] for row in cells)]
    while True:
        widths = fitted([heads[place] for place in used], [[row[place] for place in used] for row in cells])
        spare = [place for place in used if heads[place].least]
        if sum(widths) + 2 * (len(used) - 1) <= columns(sys.stdout) or len(spare) < 2:
            break
        used.remove(spare[-1])  # no room for the least of each
    screen = console(sys.stdout)
    for number, row in enumerate([[head.head for head in heads], *cells]):
        text = Text()
        for place, columns_ in zip(used, widths, strict=True):
            head, shown = heads[place], line(row[place], max(columns_, 1))
            gap = " " * (columns_ - width(shown))
            style = "bold" if not number else STYLES.get(row[place], "") if head.state else ""
            text.append("  " if text else "")
            text.append(gap if head.right else "")
            text.append(fitting(shown, sys.stdout), style=style)
            text.append("" if head.right else gap)
        text.rstrip()
        screen.print(text)


def fitted(heads: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[int]:
    """How wide each column is: as its widest cell; where the terminal has no room, what may be cut is, widest first."""
    widths = [
        max([width(head.head), *(width(row[place]) for row in rows)], default=0) for place, head in enumerate(heads)
    ]
    room = columns(sys.stdout) - 2 * (len(heads) - 1)
    while sum(widths) > room:
        cuttable = [place for place, head in enumerate(heads) if head.least and widths[place] > head.least]
        if not cuttable:
            break
        widest = max(cuttable, key=lambda place: widths[place])
        others = sorted((widths[place] for place in cuttable if place != widest), reverse=True)
        target = max(heads[widest].least, others[0] if others else 0, widths[widest] - (sum(widths) - room))
        widths[widest] = min(target, widths[widest] - 1)
    return widths


def short(run_id: str) -> str:
    """A run's id as it stands in a table: its beginning on a terminal, which the commands take, too."""
    return run_id[:ID_COLUMNS] if sys.stdout.isatty() else run_id


def paragraph(text: str, indent: int, style: str = "") -> None:
    """Write a text to standard output, broken into lines where a terminal is narrower."""
    import textwrap

    for part in textwrap.wrap(text, max(min(columns(sys.stdout), 100) - indent, 20)):
        out(" " * indent + part, style)


def silence() -> None:
    """Nobody reads standard output any more: let nothing that is still to be written raise."""
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
    except (OSError, ValueError):
        return


def prepare() -> None:
    """Have streams escape what their encoding has no sign for, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None and is_plain(stream):
            reconfigure(errors="backslashreplace")


def out_text(text: Text) -> None:
    """Write a line that is styled already to standard output."""
    write(sys.stdout, text)
