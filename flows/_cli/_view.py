"""What a run looks like at one moment, as lines for a screen: a head, a bar, and the jobs below each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from flows._cli._grouping import Group, arranged
from flows._cli._screen import STYLES
from flows._typeset import count, line, spell
from flows._views import end_state

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows.executor import RunRecord

SIGNS: Final = {
    "completed": "✓",
    "failed": "✗",
    "active": "●",
    "delayed": "◷",
    "waiting": "○",
    "waiting_children": "·",
    "skipped": "-",
    "cancelled": "⊘",
}
ENDS: Final = ("completed", "failed", "skipped", "cancelled")
_ORDER: Final = ("active", "failed", "delayed", "waiting", "waiting_children", "cancelled", "skipped", "completed")
"""What to show first where there is no room for all."""

_WORDS: Final = {"waiting_children": "to come"}
_DEEPEST: Final = 8
"""Levels by which a line is moved in at most: a long chain would leave the screen."""

_BAR: Final = 20


class View:
    """The picture of one run, drawn anew for each moment; what changes only with the plan is kept."""

    def __init__(self, record: RunRecord) -> None:
        self._record = record
        self._plan: tuple[object, int, int] | None = None
        self._groups: list[Group] = []
        self._longest = 0

    def lines(self, columns: int, room: int) -> list[Text]:
        """The run as it is now.

        Args:
            columns: How wide a line may be.
            room: How many lines there may be.
        """
        record, self._longest = self._record, max(columns // 2, 16)  # of a name, so that its state has room
        plan = record.plan
        states = record.states()  # after the plan: of each of its jobs
        groups = self._arranged(plan, room - 3)
        tally = Counter(states[: len(plan)])
        tally.subtract(states[job] for job in tuple(plan.gone))
        lines = [self._head(columns), _bar_line(tally, min(_BAR, columns // 4))]
        if len(groups) <= room - 3:
            lines += [self._row(group, group.depth, states) for group in groups]
        else:
            lines += self._cut(groups, states, room - 4)
        for text in lines:
            text.truncate(columns, overflow="ellipsis")
        return lines

    def _arranged(self, plan: Plan[Any], room: int) -> list[Group]:
        now = (plan, len(plan), room)  # the plan itself, not its id: another one might come to stand where it stood
        if self._plan is None or self._plan[0] is not plan or self._plan[1:] != now[1:]:
            self._plan, self._groups = now, arranged(plan, room)
        return self._groups

    def _head(self, columns: int) -> Text:
        record = self._record
        ended_at = record.ended_at
        seconds = ((ended_at or record.now()) - record.submitted_at).total_seconds()
        state = "running" if ended_at is None else end_state(record)
        head = Text(line(record.plan.name), style="bold")
        head.append("  ")
        head.append(state, style=STYLES.get(state, ""))
        head.append(f"  {spell(seconds)}", style="dim")
        if head.cell_len + 2 + len(record.id) <= columns:  # half an id is of no use
            head.append(f"  {record.id}", style="dim")
        return head

    def _cut(self, groups: list[Group], states: Sequence[str], room: int) -> list[Text]:
        """The groups that matter most, and a line that counts the rest."""

        def weight(group: Group) -> int:
            return min(_ORDER.index(states[job]) for job in group.jobs if job < len(states))

        ranked = sorted(range(len(groups)), key=lambda place: (weight(groups[place]), place))
        shown = sorted(ranked[: max(room, 0)])
        rest = Counter(states[job] for place in ranked[max(room, 0) :] for job in groups[place].jobs)
        lines = [self._row(groups[place], 0, states) for place in shown]
        return [*lines, Text(f"… and {count(sum(rest.values()), 'more job')}: {_counts(rest)}", style="dim")]

    def _row(self, group: Group, depth: int, states: Sequence[str]) -> Text:
        text = Text("  " * min(depth, _DEEPEST))
        if len(group.jobs) == 1:
            return self._job(text, group.jobs[0], states)
        tally = Counter(states[job] for job in group.jobs if job < len(states))
        state = next((state for state in _ORDER if tally[state]), "waiting")
        done = sum(tally[end] for end in ENDS)
        text.append(f"{SIGNS[state]} ", style=STYLES.get(state, ""))
        text.append(f"{line(group.label, self._longest)}  ")
        text.append_text(bar(done / max(sum(tally.values()), 1), 10))
        text.append(f"  {done:,}/{sum(tally.values()):,}")
        rest = {state: number for state, number in tally.items() if state not in ("completed", "waiting_children")}
        return text.append(f"  {_counts(rest)}" if rest else "", style="dim")

    def _job(self, text: Text, job: int, states: Sequence[str]) -> Text:
        state = states[job] if job < len(states) else self._record.state_of(job)
        text.append(f"{SIGNS[state]} ", style=STYLES.get(state, ""))
        text.append(line(self._record.plan.ids[job], self._longest), style="" if state != "waiting_children" else "dim")
        text.append("  ")
        told = {"active": self._active, "delayed": self._delayed, "completed": self._completed}.get(state)
        if told is not None:
            return text.append_text(told(job))
        if state == "waiting":
            held = self._record.held_back(job)
            return text.append("waits for a worker" + ("" if held is None else f": {line(held)}"), style="dim")
        if state in ENDS:
            failed = self._record.failed(job)
            message = failed.message.removeprefix(f"{failed.job}: ")
            what = line(f"{failed.type}: {message}".removesuffix(": "))
            return text.append(what, style="red" if state == "failed" else "dim")
        return text

    def _active(self, job: int) -> Text:
        attempts, text = self._record.attempts_of(job), Text()
        if attempts:
            text.append(spell((self._record.now() - attempts[-1].start).total_seconds()))
            most = self._record.plan.settings[job].attempts
            if most > 1:
                text.append(f"  attempt {attempts[-1].number}/{max(most, attempts[-1].number)}", style="dim")
        progress = self._record.progress_of(job)
        part = fraction(progress)
        if part is not None:
            text.append("  ").append_text(bar(part, 10)).append(f" {part:.0%}")
        elif progress is not None:
            text.append(f"  {line(progress)}")
        return text

    def _delayed(self, job: int) -> Text:
        due_at, attempts = self._record.due_at(job), self._record.attempts_of(job)
        when = "soon" if due_at is None else f"in {spell((due_at - self._record.now()).total_seconds())}"
        if not attempts:
            return Text(f"starts {when}")
        error = attempts[-1].error
        return Text(f"again {when}" + ("" if error is None else f", after {line(f'{error.type}: {error.message}')}"))

    def _completed(self, job: int) -> Text:
        attempts = self._record.attempts_of(job)
        if not attempts or attempts[-1].seconds is None:
            return Text()
        tries = f"  {len(attempts)} attempts" if len(attempts) > 1 else ""
        return Text(f"{spell(attempts[-1].seconds)}{tries}", style="dim")


def fraction(progress: object) -> float | None:
    """How much of a job is done, 0 to 1, where what its handler says can be read so; None where it cannot.

    Read are a fraction (``0.25``), a percentage (``25``), and ``(3, 12)``, ``{"done": 3, "total": 12}``.
    """
    done: object
    total: object
    if isinstance(progress, Mapping):
        done, total = progress.get("done"), progress.get("total")
    elif isinstance(progress, list | tuple) and len(progress) == 2:
        done, total = progress
    else:
        done, total = progress, 1.0 if isinstance(progress, float) and progress <= 1 else 100
    if not _is_number(done) or not _is_number(total):
        return None
    part = done / total if total else 0.0  # type: ignore[operator]
    return part if 0 <= part <= 1 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def bar(part: float, columns: int) -> Text:
    """A bar of that many columns."""
    full = min(int(part * columns + 1e-9), columns)
    return Text("█" * full, style="cyan").append("░" * (columns - full), style="dim")


def _bar_line(tally: Mapping[str, int], columns: int) -> Text:
    done, jobs = sum(tally.get(end, 0) for end in ENDS), sum(tally.values())
    text = bar(done / max(jobs, 1), columns)
    text.append(f"  {done:,} of {count(jobs, 'job')}")
    rest = {state: tally.get(state, 0) for state in _ORDER if state not in ("completed", "waiting_children")}
    told = _counts({state: number for state, number in rest.items() if number})
    return text.append(f"  {told}" if told else "", style="dim")


def _counts(tally: Mapping[str, int]) -> str:
    return ", ".join(f"{tally[state]:,} {_WORDS.get(state, state)}" for state in _ORDER if tally.get(state))
