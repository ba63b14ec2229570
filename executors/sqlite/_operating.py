"""What the SQLite executor offers to operators: all that is in the file, as `flows.operating.Operator` asks for it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from executors.sqlite._columns import SPARSE
from executors.sqlite._database import MICROS
from executors.sqlite._keys import job_of
from executors.sqlite._standing import PAGE, Due
from flows._dead_letters import dead_letter
from flows._names import shown
from flows._state import CONTROL_QUEUE
from flows.errors import DefinitionError, UnknownRunError

if TYPE_CHECKING:
    from executors.sqlite._executor import SqliteRecord
    from executors.sqlite._home import Home
    from flows.operating import Check, DeadPage, Pruned, QueueSummary, RunPage, RunState, RunSummary

_GONE = 1 << SPARSE.index("gone")
_FIRST = 1 << 62


class Operating:
    """The verbs of an operator, over a file. Listings ask for a page of it at a time."""

    @abstractmethod
    def _home(self) -> Home: ...

    @abstractmethod
    def _record(self, number: int) -> SqliteRecord: ...

    def runs(
        self, *, state: RunState | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """The runs in the file, newest first."""
        from flows.operating import RunPage

        home, after = self._home(), _read(cursor)
        now = home.store.tidied()
        found: list[RunSummary] = []
        while True:
            rows = home.database.read("run_page", after, PAGE)
            for row in rows:
                if len(found) == limit:
                    return RunPage(found, str(after))
                after = row[0]
                kept = row[10] is None or row[10] > now
                if kept and flow in (None, row[3]) and state in (None, row[4] or "running"):
                    found.append(self._summary(row))
            if len(rows) < PAGE:
                return RunPage(found, None)

    def queues(self) -> Sequence[QueueSummary]:
        """The queues that have open jobs, dead letters, limits or a pause, by name."""
        from flows.operating import QueueSummary

        home = self._home()
        waiting, delayed, active = home.store.counts()
        dead = dict(home.database.read("dead_counts"))
        found = []
        for name, concurrency, starts, period, paused in home.database.read("queue_states"):
            counts = (waiting[name], delayed[name], active[name], dead.get(name, 0))
            if name != CONTROL_QUEUE and (any(counts) or paused or concurrency is not None or starts is not None):
                rate = None if starts is None else (starts, period)
                found.append(QueueSummary(name, *counts, bool(paused), concurrency, rate))
        return found

    def pause_queue(self, queue: str) -> None:
        """Hand out no job of a queue until it is resumed."""
        self._home().store.pause(queue, paused=True)

    def resume_queue(self, queue: str) -> None:
        """Hand out the jobs of a queue again."""
        self._home().store.pause(queue, paused=False)

    def dead_letters(
        self, *, queue: str | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeadPage:
        """What failed for good by itself in the runs of the file, newest first."""
        from flows.operating import DeadJob, DeadPage

        home, after = self._home(), _read(cursor)
        records: dict[int, SqliteRecord] = {}
        found: list[DeadJob] = []
        while True:
            rows = home.database.read(*(("dead_page",) if queue is None else ("dead_page_of", queue)), after, limit + 1)
            for place, row in rows:
                if len(found) == limit:
                    return DeadPage(found, str(after))
                after = place
                number, job = job_of(row)
                if number not in records:
                    records[number] = self._record(number)
                record = records[number]
                if flow in (None, record.origin.name):
                    letter = dead_letter(record, job)
                    found.append(DeadJob(record.id, record.key, record.origin.name, record.ended, letter))
            if len(rows) <= limit:
                return DeadPage(found, None)

    def drop_dead_letters(self, run_id: str, jobs: Sequence[str] | None = None) -> int:
        """Take dead letters of a run off the list."""
        home = self._home()
        number, _, _ = home.store.find(run_id, None)
        if number is None:
            raise UnknownRunError(f"there is no run of id {shown(run_id)} here")
        if jobs is None:
            return home.store.drop_dead(number, None)
        wanted = set(jobs)
        ids = self._record(number).plan.ids
        return home.store.drop_dead(number, [job for job in range(len(ids)) if ids[job] in wanted])

    def prune(
        self,
        *,
        older_than: float | None = None,
        state: RunState | None = None,
        flow: str | None = None,
        keep: int | None = None,
        limit: int = 500,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove ended runs before their retention would, oldest first; the file shrinks by what they took."""
        from flows.operating import Pruned

        home = self._home()
        home.store.tidied()
        due = home.store.due(Due(older_than, state, flow, keep), limit + 1)
        numbers = due[:limit]
        rows = [home.database.read("run_summary", number) for number in numbers]
        runs = [self._summary(found[0]) for found in rows if found]
        if not dry_run:
            home.store.retire(numbers)
        return Pruned(runs, len(due) > limit)

    def doctor(self) -> Sequence[Check]:
        """Look at the file."""
        from executors.sqlite._doctor import examine

        return examine(self._home().database)

    def _summary(self, row: tuple[Any, ...]) -> RunSummary:
        from flows.operating import RunSummary

        number, run_id, key, name, state, submitted_at, ended_at, size, left, kinds, _ = row
        error = None
        if kinds & _GONE or state in ("failed", "cancelled"):
            record = self._record(number)
            size -= len(record.plan.gone) if kinds & _GONE else 0
            if state in ("failed", "cancelled"):
                wrong = next((root for root in record.origin.roots if record.state_of(root) == state), None)
                error = None if wrong is None else record.failed(wrong)
        ended = None if ended_at is None else _instant(ended_at)
        return RunSummary(run_id, key, name, state or "running", _instant(submitted_at), ended, size, left, error)


def _instant(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / MICROS, UTC)


def _read(cursor: str | None) -> int:
    """Before what a page begins."""
    if cursor is None:
        return _FIRST
    if cursor.isascii() and cursor.isdecimal():
        return min(int(cursor), _FIRST)
    raise DefinitionError(f"cursor {shown(cursor)}: no page of a listing gave it; leave it out to begin anew")
