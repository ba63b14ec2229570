"""What failed for good, by itself: the jobs that somebody has to look at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, overload

from flows._binding import Arguments, Lookup, Pick
from flows._idempotency import data_of
from flows._names import shown
from flows._task import call_arguments
from flows._typeset import CELL, count, line

if TYPE_CHECKING:
    from flows._views import Attempt
    from flows.errors import Failed
    from flows.executor import RunRecord

LISTED = 50
"""Letters that are written out before the rest is only counted."""


@dataclass(frozen=True, slots=True, repr=False)
class DeadLetter:
    """One job that failed for good, by itself and not because of another.

    Attributes:
        job, task, queue: What failed, and where.
        data: Its arguments by parameter name; under ``"*args"`` those given by place to a task that is not known here.
            Results that it took stand in their places where they are known, else ``{"$out": job id, ...}`` does; a part
            that the item of a list does not have is ``{"$item": ...}``. Where values are kept by reference these are
            the very objects.
        error: Why, with the traceback's text.
        attempts: The tries, the last one that failed at the end.
        at: When it failed for good; None where it never started.
    """

    job: str
    task: str
    queue: str
    data: Mapping[str, Any]
    error: Failed
    attempts: Sequence[Attempt]
    at: datetime | None

    @property
    def traceback(self) -> str:
        """The text of the last attempt's traceback."""
        return self.error.traceback

    def __str__(self) -> str:
        tries = f" after {count(len(self.attempts), 'attempt')}" if self.attempts else ""
        at = "" if self.at is None else f"{self.at:%Y-%m-%d %H:%M:%S} "
        return f"{at}{line(self.job)}{tries}: {line(self.error)}; data {shown(self.data, CELL)}"

    def __repr__(self) -> str:
        return f"<dead letter {self.job!r} on queue {self.queue!r}: {line(self.error)}; data {shown(self.data)}>"


class DeadLetters(Sequence[DeadLetter]):
    """The dead letters of a run as they were when it was asked, in run order."""

    def __init__(self, letters: Iterable[DeadLetter]) -> None:
        self._letters = tuple(letters)

    @property
    def queues(self) -> dict[str, list[DeadLetter]]:
        """Queue -> its letters, queues in the order of their first."""
        queues: dict[str, list[DeadLetter]] = {}
        for letter in self._letters:
            queues.setdefault(letter.queue, []).append(letter)
        return queues

    @overload
    def __getitem__(self, index: int) -> DeadLetter: ...
    @overload
    def __getitem__(self, index: slice) -> DeadLetters: ...
    def __getitem__(self, index: int | slice) -> DeadLetter | DeadLetters:
        return DeadLetters(self._letters[index]) if isinstance(index, slice) else self._letters[index]

    def __len__(self) -> int:
        return len(self._letters)

    def __str__(self) -> str:
        if not self._letters:
            return "no dead letters"
        lines, left = [], LISTED
        for queue, letters in self.queues.items():
            lines.append(f"queue {queue}: {count(len(letters), 'dead letter')}")
            lines += [f"- {letter}" for letter in letters[:left]]
            if len(letters) > left:
                lines.append(f"- and {len(letters) - left:,} more")
            left = max(left - len(letters), 0)
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<{count(len(self), 'dead letter')}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))


def dead_letters(record: RunRecord) -> DeadLetters:
    """What failed for good in a run so far."""
    gone = record.plan.gone
    failed = (job for job in range(len(record.plan)) if record.state_of(job) == "failed" and job not in gone)
    return DeadLetters(dead_letter(record, job) for job in failed if record.first_cause(job) == job)


def dead_letter(record: RunRecord, job: int) -> DeadLetter:
    """What is to be known of a job that failed for good by itself."""
    plan, attempts = record.plan, tuple(record.attempts_of(job))
    place = (plan.ids[job], plan.names[job], plan.queues_of[job])
    at = attempts[-1].end if attempts else None
    return DeadLetter(*place, data_given(record, job), record.failed(job), attempts, at)


def data_given(record: RunRecord, job: int) -> Mapping[str, Any]:
    """A job's arguments by name, resolved; as they were declared where they cannot be, which may be why it failed."""
    plan = record.plan
    binding, task = plan.bindings[job], plan.tasks[job]
    if type(binding) is tuple:
        binding = Arguments(tuple(Pick(child, (), False) for child in binding), {}, by_name=False)
    assert isinstance(binding, Arguments)
    lookup = Lookup(_Values(record), lambda child: record.state_of(child) == "completed", record.failed)
    try:
        args, kwargs = lookup.bind(binding)
        if task is None:  # a literal job's; or nobody here knows what the places are called
            return {"*args": list(args), **kwargs} if args else kwargs
        return kwargs if binding.by_name else call_arguments(task, tuple(args), kwargs)
    except Exception:  # a path that leads nowhere, a property that raises: values are the user's
        return data_of(plan, job)


class _Values:
    """The results of a run, by position."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record

    def __getitem__(self, child: int) -> Any:
        return self._record.value_of(child)
