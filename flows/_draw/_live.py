"""The picture of a run that goes on: laid out once and recoloured, laid out again only when jobs have been added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flows._draw._picture import picture_of
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

    Raises:
        MissingDependencyError: pygraphviz is not installed.
    """

    def __init__(self, record: RunRecord, *, unfold: bool = False) -> None:
        self._record = record
        self._unfold = unfold
        self._shape: tuple[int, int, int] | None = None
        self._drawing: Drawing | None = None
        self._said: Sequence[Status] = ()
        self.svg()

    def svg(self) -> str:
        """The run as it is at this moment."""
        plan = self._record.plan
        over = lists_over(self._record)
        shape = (len(plan), len(plan.gone), len(over))
        drawing = self._drawing
        if drawing is None or shape != self._shape:
            self._shape = shape
            drawing = self._drawing = Drawing(picture_of(plan, over=over, unfold=self._unfold), live=True)
            self._said = ()
        # The last picture is read anew: jobs that were run again may have ended as they had before.
        before = () if self._record.ended else self._said
        self._said = statuses(drawing.picture, self._record, before)
        return drawing.svg(self._said, self.words())

    def boxes(self, mark: str) -> Sequence[Box] | None:
        """The boxes of the picture whose title has the id *mark*; None if that is no longer the picture."""
        drawing = self._drawing
        return drawing.picture.boxes if drawing is not None and drawing.mark == mark else None

    def words(self) -> str:
        """How far the run is, in one line."""
        record = self._record
        state = end_state(record) if record.ended else "running"
        return f"run {record.id} of {line(record.plan.name)}: {state}, {summary(record)}"
