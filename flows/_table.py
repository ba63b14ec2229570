"""The jobs of a run as a table: for a terminal, a notebook, a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flows._state import CONTROL_QUEUE
from flows._typeset import cell, line, spell, width
from flows.errors import Failed, MissingDependencyError

if TYPE_CHECKING:
    from flows.executor import RunRecord

LISTED = 200
"""Rows that are written out before the rest is only counted."""

_HEADS = ("job", "task", "queue", "state", "attempts", "duration", "what")
_WIDEST = {"job": 32, "task": 24, "queue": 16, "what": 60}
_RIGHT = ("attempts", "duration")


@dataclass(frozen=True, slots=True)
class TableRow:
    """One job in a table.

    Attributes:
        job, task, queue, state: As in `JobView`.
        attempts: How many were made, the running one included.
        seconds: How long they ran, all together; None where none has ended.
        start, end: When the first attempt began and when the last one ended.
        worker: Who ran, or runs, the last attempt.
        progress: What the handler last said of how far it is.
        error: Why the job failed, was skipped or cancelled; of one that is tried again, why it failed last.
    """

    job: str
    task: str
    queue: str
    state: str
    attempts: int
    seconds: float | None
    start: datetime | None
    end: datetime | None
    worker: str | None
    progress: object
    error: Failed | None

    @property
    def what(self) -> str:
        """The error or the progress, in a few words."""
        if self.error is not None:
            return f"{self.error.type}: {self.error.message.removeprefix(f'{self.job}: ')}".removesuffix(": ")
        return "" if self.progress is None or self.state == "completed" else f"progress {self.progress}"


class Table:
    """The jobs of a run, as they were when it was made; `str` writes a table, Jupyter shows one.

    Attributes:
        rows: One a job, in run order: children before their parents, and last the items that lists have brought.
    """

    def __init__(self, record: RunRecord) -> None:
        gone = record.plan.gone
        self.rows: Sequence[TableRow] = [_row(record, job) for job in range(len(record.plan)) if job not in gone]

    def to_pandas(self) -> Any:
        """The rows as a `pandas.DataFrame`, a column a field of a row, errors as text.

        Raises:
            MissingDependencyError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingDependencyError(
                "to_pandas() needs pandas, which is not installed: pip install pandas", name="pandas"
            ) from error
        rows = [asdict(row) | {"error": None if row.error is None else str(row.error)} for row in self.rows]
        return pandas.DataFrame(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        cells = [_cells(row) for row in self.rows[:LISTED]]
        cells = [{head: line(text, _WIDEST.get(head, 20)) for head, text in row.items()} for row in cells]
        widths = {head: max([len(head), *(width(row[head]) for row in cells)]) for head in _HEADS}
        lines = [{head: head for head in _HEADS}, *cells]
        text = [
            "  ".join(cell(row[head], widths[head], right=head in _RIGHT) for head in _HEADS).rstrip() for row in lines
        ]
        return "\n".join([*text, *self._rest()])

    def _repr_html_(self) -> str:
        import html

        head = "".join(f"<th>{name}</th>" for name in _HEADS)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(line(text))}</td>" for text in _cells(row).values()) + "</tr>"
            for row in self.rows[:LISTED]
        )
        rest = "".join(f"<p>{text}</p>" for text in self._rest())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{rest}"

    def __repr__(self) -> str:
        return f"<table of {len(self.rows)} jobs>"

    def _rest(self) -> list[str]:
        left = len(self.rows) - LISTED
        return [f"... and {left:,} more jobs"] if left > 0 else []


def _row(record: RunRecord, job: int) -> TableRow:
    plan, state, attempts = record.plan, record.state_of(job), record.attempts_of(job)
    spans = [(one.end - one.start).total_seconds() for one in attempts if one.end is not None]
    if state in ("failed", "skipped", "cancelled"):
        error: Failed | None = record.failed(job)
    else:
        last = next((one for one in reversed(attempts) if one.end is not None), None)
        error = None if last is None or state == "completed" else last.error
    return TableRow(
        plan.ids[job],
        plan.names[job],
        plan.queues_of[job],
        state,
        len(attempts),
        sum(spans) if spans else None,
        attempts[0].start if attempts else None,
        attempts[-1].end if attempts else None,
        attempts[-1].worker if attempts else None,
        record.progress_of(job),
        error,
    )


def _cells(row: TableRow) -> dict[str, str]:
    duration = "" if row.seconds is None else spell(row.seconds)
    queue = "" if row.queue == CONTROL_QUEUE else row.queue  # lists wait in none
    values = (row.job, row.task, queue, row.state, str(row.attempts or ""), duration, row.what)
    return dict(zip(_HEADS, values, strict=True))
