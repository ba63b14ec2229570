"""The picture of a run that goes on: laid out once and recoloured, laid out again only when jobs have been added."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows._draw._picture import BOXES, picture_of
from flows._draw._status import lists_over, statuses, summary
from flows._draw._svg import Drawing
from flows._typeset import line
from flows._views import end_state

if TYPE_CHECKING:
    from flows._draw._picture import Box
    from flows._draw._status import Status
    from flows.executor import RunRecord


class LivePicture:
    """Draws a run again and again. Not thread-safe.

    Args:
        unfold: A box for each job, however many there are.

    Attributes:
        words: What the last picture shows, in one line.
    """

    def __init__(self, record: RunRecord, *, unfold: bool = False) -> None:
        self._record = record
        self._unfold = unfold
        self._shape: tuple[int, int, int] | None = None
        self._drawing: Drawing | None = None
        self._laid_out_in = 0.0
        self._said: Sequence[Status] = ()
        self.words = ""

    @property
    def price(self) -> float:
        """About how many seconds it takes to lay the next picture out; 0 where it only has to be recoloured."""
        if self._drawing is None:
            return _price(len(self._record.plan), unfold=self._unfold)
        return self._laid_out_in if self._shape != self._shape_now() else 0.0

    def svg(self, *, as_laid_out: bool = False) -> str:
        """The run as it is at this moment.

        Args:
            as_laid_out: Only recolour, even if jobs have been added since.

        Raises:
            MissingDependencyError: pygraphviz is not installed.
        """
        drawing = self._drawing
        if drawing is None or (not as_laid_out and self._shape != self._shape_now()):
            drawing = self._laid_out()
        # The last picture is read anew: jobs that were run again may have ended as they had before.
        before = () if self._record.ended else self._said
        states = self._record.states()
        self._said = statuses(drawing.picture, self._record, before, states)
        self.words = words(self._record, states)
        return drawing.svg(self._said, self.words)

    def boxes(self, mark: str) -> Sequence[Box] | None:
        """The boxes of the picture whose title has the id *mark*; None if that is no longer the picture."""
        drawing = self._drawing
        return drawing.picture.boxes if drawing is not None and drawing.mark == mark else None

    def _laid_out(self) -> Drawing:
        begun, self._shape = time.monotonic(), self._shape_now()
        picture = picture_of(self._record.plan, over=lists_over(self._record), unfold=self._unfold)
        self._drawing, self._said = Drawing(picture, live=True), ()
        self._laid_out_in = time.monotonic() - begun
        return self._drawing

    def _shape_now(self) -> tuple[int, int, int]:
        plan = self._record.plan
        return len(plan), len(plan.gone), len(lists_over(self._record))


def words(record: RunRecord, states: bytes | None = None) -> str:
    """How far a run is, in one line. *states* are those of all jobs, where they were read already."""
    state = end_state(record) if record.ended else "running"
    return f"run {record.id} of {line(record.plan.name)}: {state}, {summary(record, states)}"


def _price(jobs: int, *, unfold: bool) -> float:
    """Seconds, as found by measuring: all jobs are looked at, boxes are laid out, and many of them take long."""
    boxes = jobs if unfold else min(jobs, BOXES)
    return 40e-6 * jobs + 300e-6 * boxes + 1e-6 * boxes * boxes
