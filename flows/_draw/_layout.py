"""Layout: places for boxes of known size, by the Graphviz that pygraphviz brings along. The only engine."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from flows.errors import MissingDependencyError

INCH: Final = 72.0
"""Points in Graphviz's unit of length; one point is one pixel of ours."""

HINT: Final = (
    "pictures need pygraphviz, whose wheels bring Graphviz along: pip install 'flowproducer[viz]'; "
    ".to_mermaid() and .to_dot() work without it"
)

Point = tuple[float, float]

_lock = threading.Lock()
_warmed: set[str] = set()


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are, in pixels from the top left corner.

    Attributes:
        boxes: The centre of each box.
        arrows: The control points of each arrow's curve: a start, then three for each cubic piece.
    """

    width: float
    height: float
    boxes: Sequence[Point]
    arrows: Sequence[Sequence[Point]]


def lay_out(sizes: Sequence[Point], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Places for boxes of *sizes* (width, height in pixels) in layers from left to right, with *arrows* between them.

    Raises:
        MissingDependencyError: pygraphviz is not installed.
    """
    lines = ["digraph {", 'rankdir=LR; nodesep=0.22; ranksep=0.5; node [shape=box, fixedsize=true, label=""];']
    lines += [
        f"{place} [width={width / INCH:.4f}, height={height / INCH:.4f}];"
        for place, (width, height) in enumerate(sizes)
    ]
    lines += [f"{tail} -> {head};" for tail, head in arrows]
    text = _plain("\n".join([*lines, "}"]))
    return _read(text, len(sizes), arrows)


def render(dot: str, form: str) -> bytes:
    """A DOT text as a file of Graphviz's own making: ``png`` or ``pdf``.

    Raises:
        MissingDependencyError: pygraphviz is not installed.
    """
    return _drawn(dot, form)


def _plain(dot: str) -> str:
    return _drawn(dot, "plain").decode()


def engine() -> Any:
    """The module that lays out.

    Raises:
        MissingDependencyError: It is not installed.
    """
    try:
        import pygraphviz
    except ImportError as error:
        raise MissingDependencyError(HINT, name="pygraphviz") from error
    return pygraphviz


def _drawn(dot: str, form: str) -> bytes:
    pygraphviz = engine()
    with _lock:
        graph: Any = pygraphviz.AGraph(string=dot)
        with contextlib.nullcontext() if form in _warmed else _hushed():
            drawn: bytes = graph.draw(format=form, prog="dot")
        _warmed.add(form)
    return drawn


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Some systems' font settings make C code complain on stderr at first use, which a notebook shows in red."""
    try:
        kept = os.dup(2)
    except OSError:  # no stderr at all
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _read(text: str, boxes: int, arrows: Sequence[tuple[int, int]]) -> Layout:
    """Graphviz's *plain* format: inches, from the bottom left; long lines go on after a backslash."""
    width = height = 0.0
    centres: list[Point] = [(0.0, 0.0)] * boxes
    curves: dict[tuple[int, int], list[Point]] = {}
    for line in text.replace("\\\n", "").splitlines():
        word, *rest = line.split(" ")
        if word == "graph":
            width, height = float(rest[1]) * INCH, float(rest[2]) * INCH
        elif word == "node":
            centres[int(rest[0])] = (float(rest[1]) * INCH, height - float(rest[2]) * INCH)
        elif word == "edge":
            points = rest[3 : 3 + 2 * int(rest[2])]
            curves[int(rest[0]), int(rest[1])] = [
                (float(x) * INCH, height - float(y) * INCH) for x, y in zip(points[::2], points[1::2], strict=True)
            ]
    return Layout(width, height, centres, [curves[ends] for ends in arrows])
