"""Where the time of a run went: attempts over time, what they waited for, and the chain that made the run so long.

Made at once from a record: when each job could start, and the critical path down from the job that ended last
(`_Made`); then a row for each attempt. Text and SVG are drawn from the rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from flows._typeset import cell, count, line, spell, width
from flows._views import Outcome, end_state

if TYPE_CHECKING:
    from flows._views import Attempt
    from flows.executor import RunRecord

COLUMNS = 100
LISTED = 40
"""Attempts that the picture shows before it only counts: a screenful."""

_LABEL, _QUEUE, _AFTER = 28, 14, 17
_FILLS = {"completed": "█", "failed": "▓", None: "▶"}
_MEANINGS = {"·": "waits", "█": "runs", "▓": "runs and fails", "▶": "still runs", "░": "ends otherwise"}


@dataclass(frozen=True, slots=True)
class TimelineRow:
    """One attempt in a timeline.

    Attributes:
        job, task, queue: What was tried.
        attempt, attempts: Which try it was, of how many.
        worker: Who ran it.
        ready: When it could have started: when the last of its dependencies had ended and its delay had passed; for
            a later attempt when the one before had ended, so that its wait has the backoff in it.
        start, end: When the handler began and ended; `end` is None while it runs.
        outcome: As in `Attempt.outcome`.
        critical: Whether its job is on the critical path.
    """

    job: str
    task: str
    queue: str
    attempt: int
    attempts: int
    worker: str | None
    ready: datetime
    start: datetime
    end: datetime | None
    outcome: Outcome | None
    critical: bool

    @property
    def waited(self) -> float:
        """Seconds between `ready` and `start`."""
        return (self.start - self.ready).total_seconds()

    @property
    def seconds(self) -> float | None:
        """How long the handler ran; None while it runs."""
        return None if self.end is None else (self.end - self.start).total_seconds()


class Timeline:
    """The attempts of a run over time, as they were when it was made; `str` draws them.

    Attributes:
        rows: One a attempt, by start.
        critical_path: The chain of jobs that decided when the run ended, first job first: from the job that ended
            last down over the dependency that each was waiting for last. Of a run that goes on, as far as it is.
        path: The same with the jobs in between that ran nothing, such as lists.
        start, end: Of the run; of one that goes on, `end` is when the timeline was made.
        work: Seconds that handlers ran, all together.
        peak: How many ran at once at most.
    """

    def __init__(self, record: RunRecord) -> None:
        self._what = f"run {record.id} of {line(record.plan.name)}"
        ended_at = record.ended_at
        self._state = "running" if ended_at is None else end_state(record)
        self.start = record.submitted_at
        self.end = ended_at or record.now()
        made = _Made(record, self.start)
        self.rows: Sequence[TimelineRow] = made.rows()
        if self.rows:
            self.end = max(self.end, max(row.end or row.start for row in self.rows))  # clocks of workers may differ
        self.critical_path: Sequence[str] = tuple(record.plan.ids[job] for job in made.path)
        self.path: Sequence[str] = tuple(record.plan.ids[job] for job in made.through())
        self.work = sum(self._lasted(row) for row in self.rows)
        self.peak = _peak(self.rows, self.end)

    @property
    def seconds(self) -> float:
        """From the start of the run to its end, or until now."""
        return (self.end - self.start).total_seconds()

    @property
    def parallelism(self) -> float:
        """How many handlers ran at once, on average."""
        return self.work / self.seconds if self.seconds else 0.0

    def text(self, width: int | None = None, limit: int = LISTED) -> str:
        """The picture: a bar an attempt, by worker.

        Args:
            width: Columns; without it those of the terminal, else 100.
            limit: How many attempts are shown, those of the critical path first, then the longest.
        """
        import shutil  # drags in a good deal that a run has no need of

        columns = shutil.get_terminal_size((COLUMNS, 24)).columns if width is None else width
        columns = max(columns, 60)
        shown = self.shown(limit)
        lines = [*self.figures(), *self._path(columns)]
        if shown:
            label = min(_LABEL, max(map(_label_width, shown)), columns // 4)
            queue = min(_QUEUE, max(len(row.queue) for row in shown) + 2, columns // 6)
            bar = columns - label - queue - _AFTER - 5
            scale = spell(self.seconds)
            lines.append(" " * (label + queue + 4) + "0" + cell(scale, bar - 1, right=True))
            for worker in dict.fromkeys(row.worker for row in shown):
                lines.append(f"worker {'unknown' if worker is None else line(worker)}")
                lines += [self._drawn(row, label, queue, bar) for row in shown if row.worker == worker]
        left = len(self.rows) - len(shown)
        if left:
            rest = self.work - sum(map(self._lasted, shown))
            lines.append(f"... and {count(left, 'more attempt')}, {spell(rest)} of work")
        used = "".join(lines[2:])
        legend = [f"{fill} {meaning}" for fill, meaning in _MEANINGS.items() if fill in used]
        if shown:
            lines.append("  ".join([*legend, "* on the critical path"]))
        return "\n".join(line(text, columns) for text in lines)

    def figures(self) -> list[str]:
        """The run and how much it did at once, in two lines."""
        attempts, overlap = count(len(self.rows), "attempt"), f"{self.parallelism:.1f} at once on average"
        return [
            f"{self._what}: {self._state}, {spell(self.seconds)}",
            f"{attempts}, {spell(self.work)} of work, {overlap}, {self.peak} at most",
        ]

    def _path(self, columns: int) -> list[str]:
        if not self.critical_path:
            return []
        ids = [line(job, columns // 3) for job in self.critical_path]
        chain = " -> ".join(ids)
        if len(ids) > 8 or width(chain) > columns - 15:
            chain = f"{count(len(ids), 'job')}, {ids[0]} ... {ids[-1]}" if len(ids) > 1 else ids[0]
        rows = [row for row in self.rows if row.critical]
        ran, waited = sum(map(self._lasted, rows)), sum(row.waited for row in rows)
        return [f"critical path: {chain}", f"  running {spell(ran)}, waiting {spell(waited)} of {spell(self.seconds)}"]

    def shown(self, limit: int) -> list[TimelineRow]:
        """The rows that a picture of *limit* rows shows: those of the critical path first, then the longest."""
        if len(self.rows) <= limit:
            return list(self.rows)
        ranked = sorted(self.rows, key=lambda row: (not row.critical, -self._lasted(row) - row.waited))
        return sorted(ranked[:limit], key=lambda row: (row.start, row.attempt))

    def _lasted(self, row: TimelineRow) -> float:
        return ((row.end or self.end) - row.start).total_seconds()

    def _drawn(self, row: TimelineRow, label: int, queue: int, columns: int) -> str:
        ready, start, end = (self._column(at, columns) for at in (row.ready, row.start, row.end or self.end))
        start = min(start, columns - 1)
        ran = max(end - start, 1)
        waits = "·" * (start - ready)
        bar = " " * ready + waits + _FILLS.get(row.outcome, "░") * ran
        again = _again(row)
        name = cell(row.job, label - len(again)) + again
        words = spell(self._lasted(row)) + ("" if row.outcome == "completed" else f" {row.outcome or 'active'}")
        mark = "*" if row.critical else " "
        return f"{mark} {name} {cell(f'[{row.queue}]', queue)} {bar.ljust(columns)} {words}"

    def _column(self, at: datetime, columns: int) -> int:
        if not self.seconds:
            return 0
        return min(max(round((at - self.start).total_seconds() / self.seconds * columns), 0), columns)

    def to_svg(self, limit: int | None = None) -> str:
        """The picture as an SVG document: a lane for each worker and queue, a bar an attempt, thin where it waited.

        Args:
            limit: How many attempts are drawn, those of the critical path first, then the longest; without it 400.
        """
        from flows._draw._gantt import BARS, gantt

        return gantt(self, BARS if limit is None else limit)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"image/svg+xml": self.to_svg(), "text/plain": self.text(COLUMNS)}

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<timeline of {self._what}: {count(len(self.rows), 'attempt')}, {spell(self.seconds)}>"


class _Made:
    """What a timeline is made of: attempts, when each job could start, and the critical path."""

    def __init__(self, record: RunRecord, begun: datetime) -> None:
        self.plan = record.plan
        self._size = size = len(self.plan)
        gone = self.plan.gone
        self.attempts: list[Sequence[Attempt]] = [() if job in gone else record.attempts_of(job) for job in range(size)]
        self.ready: list[datetime] = [begun] * size
        self.gate: list[int] = [-1] * size
        """The job that each waited for last, of those that ran."""
        self._last: list[int] = [-1] * size
        """The dependency that each waited for last, also one that ran nothing."""
        self._order(size)
        self.path = self._critical()

    def _edges(self, size: int) -> list[list[int]]:
        """Who waits for each job; and beyond the jobs, for each list, the jobs of its items, which wait as it does."""
        plan = self.plan
        edges = [[above for above in dependents if above < size] for dependents in plan.dependents[:size]]
        lists = {job: (size + at, plan.lists[job]) for at, job in enumerate(tuple(plan.lists)) if job < size}
        edges += [[] for _ in range(len(plan.lists))]
        for child in range(size):
            for above in tuple(edges[child]) if lists else ():
                if above in lists:
                    before, body = lists[above]
                    if child < above:  # as planned, before those that wait for it
                        edges[child].append(before)
                    else:  # an item: it was put there when the list was known
                        first = child - body.root
                        edges[before] += range(first, min(first + len(body.plan), size))
        return edges

    def _order(self, size: int) -> None:
        """Find when each job was ready, children first; lists add jobs, so that the plan's order does not tell."""
        dependents = self._edges(size)
        extra = len(dependents) - size
        self.attempts += [()] * extra
        self.ready += self.ready[:1] * extra
        self.gate += [-1] * extra
        self._last += [-1] * extra
        pending = [0] * len(dependents)
        for above in dependents:
            for dependent in above:
                pending[dependent] += 1
        starts = [_started(attempts) for attempts in self.attempts]
        line_up = deque(job for job, edges in enumerate(pending) if not edges)
        while line_up:
            job = line_up.popleft()
            attempts, gate = self.attempts[job], job
            end = attempts[-1].end if attempts else self.ready[job]
            if not attempts:
                gate = self.gate[job]  # what ran nothing took no time: those above waited for what is below it
            for dependent in dependents[job]:
                pending[dependent] -= 1
                if not pending[dependent]:
                    line_up.append(dependent)
                start = starts[dependent]
                in_time = end is not None and (start is None or end <= start)
                if end is not None and in_time and end >= self.ready[dependent] and gate >= 0:
                    self.ready[dependent], self.gate[dependent], self._last[dependent] = end, gate, job

    def _critical(self) -> tuple[int, ...]:
        """From the job that ended last, or runs still, down over what each waited for last."""
        ends = [
            (attempts[-1].end is None, attempts[-1].end or attempts[-1].start, job)
            for job, attempts in enumerate(self.attempts)
            if attempts
        ]
        if not ends:
            return ()
        path = [max(ends)[2]]
        while self.gate[path[-1]] >= 0:
            path.append(self.gate[path[-1]])
        return tuple(reversed(path))

    def through(self) -> list[int]:
        """The critical path with the jobs that ran nothing."""
        path, size = list(self.path[-1:]), self._size
        while path and self._last[path[-1]] >= 0:
            path.append(self._last[path[-1]])
        return [job for job in reversed(path) if job < size]

    def rows(self) -> list[TimelineRow]:
        """All attempts, by start."""
        plan, critical, rows = self.plan, set(self.path), []
        for job, attempts in enumerate(self.attempts):
            if not attempts:
                continue  # nor has the plan anything of those that stand for the items of a list
            settings = plan.settings[job]
            released = ready = self.ready[job] + timedelta(seconds=settings.delay)
            for one in attempts:
                most = max(one.number, settings.attempts)
                place = (plan.ids[job], plan.names[job], plan.queues_of[job], one.number, most, one.worker)
                ready = min(max(ready, released) if one.number == 1 else ready, one.start)
                rows.append(TimelineRow(*place, ready, one.start, one.end, one.outcome, job in critical))
                ready = one.end or one.start
        rows.sort(key=lambda row: (row.start, row.attempt))
        return rows


def _started(attempts: Sequence[Attempt]) -> datetime | None:
    """When the first attempt began of those since the run was last reopened, which are numbered anew."""
    return next((one.start for one in reversed(attempts) if one.number == 1), None)


def _peak(rows: Sequence[TimelineRow], until: datetime) -> int:
    """How many attempts overlapped at most; one that ends when another starts does not overlap it."""
    steps = sorted([(row.start, 1) for row in rows] + [(row.end or until, -1) for row in rows])
    running = peak = 0
    for _, step in steps:
        running += step
        peak = max(peak, running)
    return peak


def _again(row: TimelineRow) -> str:
    return f" {row.attempt}/{row.attempts}" if row.attempt > 1 or row.outcome not in ("completed", None) else ""


def _label_width(row: TimelineRow) -> int:
    return width(line(row.job, _LABEL)) + len(_again(row))
