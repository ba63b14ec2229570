"""What is read of runs in a file, by anyone at any time: `executors._stored.Reader` over snapshots.

Each question is one snapshot, which waits for no writer. Numbers of runs and what was submitted are kept, as they do
not change; how a run stands never is.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections import Counter, OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from executors._stored import Input, JobFacts, ListFacts, PastAttempt, RunFacts, StoredEvent
from executors.sqlite._columns import MASK, SHIFT
from executors.sqlite._database import MICROS, Database, Snapshot
from executors.sqlite._ends import ends_of
from executors.sqlite._keys import chunk_row, job_of, row_of
from executors.sqlite._run import Known, OpenRun, fetch_of, known_of, opened
from flows._state import ACTIVE, COMPLETED, DELAYED, WAITING_CHILDREN
from flows.errors import UnknownRunError

KNOWN_RUNS: Final = 16

_KINDS_WITH_TEXT: Final = frozenset(("retrying", "progress"))


class FileReader:
    """Answers about runs, which go by their ids.

    Args:
        database: The file.
        listen: Has a function called after each change of a run.
        held_back: Says what keeps a job of a run back.
    """

    def __init__(
        self,
        database: Database,
        listen: Callable[[int, Callable[[], None]], Callable[[], None]],
        held_back: Callable[[int, int, str], str | None],
    ) -> None:
        self._database = database
        self._listen = listen
        self._held_back = held_back
        self._numbers: dict[str, int] = {}
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._lock = threading.Lock()

    def now(self) -> float:
        """The store's clock."""
        return self._database.instant()

    def facts(self, run: str) -> RunFacts:
        """How the run stands."""
        rows = self._database.read("run_facts", run)
        if not rows:
            raise _unknown(run)
        ended_at, submitted_at, reason, openings, size, end = rows[0]
        ended = None if ended_at is None else ended_at / MICROS
        at = submitted_at / MICROS
        return RunFacts(ended is not None, at, ended, reason, openings, size, None if ended is None else end)

    def header(self, run: str) -> bytes:
        """The run's header."""
        rows = self._database.read("header_of", self.number(run))
        if not rows:
            raise _unknown(run)
        header: bytes = rows[0][0]
        return header

    def rows(self, run: str) -> Sequence[bytes]:
        """What was submitted of each job."""
        number = self.number(run)
        chunks = self._database.read("plan_all", chunk_row(number, 0), chunk_row(number + 1, 0))
        return [row for (packed,) in chunks for row in packed.split(b"\n")]

    def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
        """How these jobs stand, or all of them."""
        with self._opened(run) as (snapshot, one):
            wanted = range(one.state.size) if jobs is None else jobs
            first = row_of(one.number, 0)
            if jobs is None:
                for chunk, dense, sparse in snapshot.all(
                    "chunk_all", chunk_row(one.number, 0), chunk_row(one.number + 1, 0)
                ):
                    one.columns.take(chunk & ((1 << 20) - 1), dense, sparse)
                found = snapshot.all("result_all", first, row_of(one.number + 1, 0))
            else:
                found = snapshot.all("result_some", json.dumps([first + job for job in jobs]))
            results = {row - first: rest for row, *rest in found}
            claims = _Claims(snapshot, one.number)
            return [_job_facts(snapshot, one, job, results.get(job), claims) for job in wanted]

    def payloads(self, run: str, jobs: Sequence[int]) -> Sequence[bytes | None]:
        """Values and failures; of lists None."""
        first = row_of(self.number(run), 0)
        with self._database.snapshot() as snapshot:
            found = dict(snapshot.all("result_payloads", json.dumps([first + job for job in jobs])))
        return [found.get(first + job) for job in jobs]

    def ends(self, run: str, jobs: Sequence[int]) -> Sequence[Input]:
        """How these jobs ended, as a grant would bring it."""
        with self._opened(run) as (snapshot, one):
            first = row_of(one.number, 0)

            def fetch(wanted: Any) -> dict[int, bytes | None]:
                rows = json.dumps([first + job for job in wanted])
                return {row - first: payload for row, payload in snapshot.all("result_payloads", rows)}

            def row(job: int) -> bytes:
                (packed,) = snapshot.one("plan_rows", chunk_row(one.number, job >> SHIFT))
                found: bytes = packed.split(b"\n")[job & MASK]
                return found

            ends = ends_of(one, list(jobs), fetch, row)
            return [ends[job] for job in jobs]

    def items(self, run: str, list_job: int) -> Sequence[bytes]:
        """The items of a list."""
        return [one for (one,) in self._database.read("item_all", row_of(self.number(run), list_job))]

    def lists(self, run: str) -> Sequence[ListFacts]:
        """The lists that are expanded."""
        with self._opened(run) as (snapshot, one):
            if not one.known.layout.listed:
                return ()
            found: dict[int, ListFacts] = {}
            for first, job, body, _, items, _, links in snapshot.all("block_of_run", one.number):
                if job not in one.state.lists:
                    continue
                former = found.get(job)
                segments = [*(former.segments if former else ()), (first, items)]
                length, begun = one.state.lists[job], one.state.begun.get(job, 0)
                found[job] = ListFacts(job, body, length, begun, segments, json.loads(links))
            return list(found.values())

    def history(self, run: str, job: int) -> Sequence[PastAttempt]:
        """Earlier attempts."""
        rows = self._database.read("attempt_all", row_of(self.number(run), job))
        return [
            PastAttempt(number, began / MICROS, ended / MICROS, outcome, payload, worker)
            for number, outcome, began, ended, worker, payload in rows
        ]

    def histories(self, run: str) -> Sequence[int]:
        """The jobs that have earlier attempts."""
        number = self.number(run)
        first = row_of(number, 0)
        return [row - first for (row,) in self._database.read("attempt_jobs", first, row_of(number + 1, 0))]

    def progress(self, run: str, job: int) -> bytes | None:
        """What the handler last said."""
        rows = self._database.read("progress_get", row_of(self.number(run), job))
        return rows[0][0].encode() if rows else None

    def logs(self, run: str, job: int) -> Sequence[str]:
        """What the handler logged."""
        return [line for (line,) in self._database.read("log_all", row_of(self.number(run), job))]

    def ahead_of(self, run: str, job: int) -> int | None:
        """How many jobs of the run stand before a waiting job in its queue."""
        with self._opened(run) as (snapshot, one):
            queue = one.known.layout.queue(job)
            before = 0
            for lane, _, name, _ in snapshot.all("lane_of_run", one.number):
                if name != queue:
                    continue
                for (packed,) in snapshot.all("segment_all", lane):
                    jobs = array("I", packed)
                    if job in jobs:
                        return before + jobs.index(job)
                    before += len(jobs)
        return None

    def held_back(self, run: str, job: int) -> str | None:
        """What keeps a waiting job back other than its turn."""
        with self._opened(run) as (_, one):
            if one.state.state[job] != 1:
                return None
            queue = one.known.layout.queue(job)
        return self._held_back(one.number, job, queue)

    def events(self, run: str, position: int, kinds: Container[str] | None = None) -> tuple[Sequence[StoredEvent], int]:
        """Events from *position* on; those of *kinds*, where these are given."""
        number = self.number(run)
        place, end = row_of(number, position), row_of(number + 1, 0)
        with self._database.snapshot() as snapshot:
            written = [
                (job_of(first)[1], text)
                for first, text in snapshot.all("journal_from", row_of(number, 0), place, place, end)
            ]
            written += [(first, text) for text, first in snapshot.all("run_tail", number) if text]
        events: list[StoredEvent] = []
        kind: Any
        for first, text in written:
            steps = json.loads(f"[{text}]")
            for step in steps[max(0, position - first) :]:
                for now, kind, jobs in step:
                    if kinds is not None and kind not in kinds:
                        continue
                    at = now / MICROS
                    attempt = 1 if kind in ("started", "completed") else None
                    for job in jobs:
                        if type(job) is int:
                            events.append(StoredEvent(kind, at, job, attempt))
                        else:
                            events.append(_event(kind, at, job))
            position = max(position, first + len(steps))
        return events, position

    def listen(self, run: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change."""
        return self._listen(self.number(run), changed)

    def number(self, run: str) -> int:
        """The number of the run of that id.

        Raises:
            UnknownRunError: There is none.
        """
        number = self._numbers.get(run)
        if number is None:
            rows = self._database.read("run_number", run)
            if not rows:
                raise _unknown(run)
            number = rows[0][0]
            if len(self._numbers) > 10_000:
                self._numbers.clear()
            self._numbers[run] = number
        return number

    @contextmanager
    def _opened(self, run: str) -> Iterator[tuple[Snapshot, OpenRun]]:
        number = self.number(run)
        with self._database.snapshot() as snapshot:
            one = self._open(snapshot, number)
            if one is None:
                raise _unknown(run)
            yield snapshot, one

    def _open(self, snapshot: Snapshot, number: int) -> OpenRun | None:
        known = self._known.get(number)
        if known is None:
            known = known_of(snapshot, number)
            if known is None:
                return None
            self._known[number] = known
            while len(self._known) > KNOWN_RUNS:
                self._known.popitem(last=False)
        known.layout.fetch = fetch_of(snapshot, number)
        return opened(snapshot, known)

    def waiting_children(self) -> Counter[str]:
        """How many jobs of each queue wait for their dependencies: looks at all jobs of all runs that are open."""
        found: Counter[str] = Counter()
        with self._database.snapshot() as snapshot:
            for (number,) in snapshot.all("run_busy"):
                one = self._open(snapshot, number)
                if one is None:
                    continue
                for chunk, dense, sparse in snapshot.all("chunk_all", chunk_row(number, 0), chunk_row(number + 1, 0)):
                    one.columns.take(chunk & ((1 << 20) - 1), dense, sparse)
                states, layout = one.state.state, one.known.layout
                found.update(layout.queue(job) for job in one.jobs() if states[job] == WAITING_CHILDREN)
        return found


class _Claims:
    """Who holds the active jobs of a run."""

    def __init__(self, snapshot: Snapshot, number: int) -> None:
        self._snapshot = snapshot
        self._number = number
        self._of: dict[int, tuple[int, str | None]] | None = None

    def __getitem__(self, job: int) -> tuple[int | None, str | None]:
        if self._of is None:
            self._of = {}
            for granted_at, worker, packed in self._snapshot.all("claim_of_run", self._number):
                self._of.update(dict.fromkeys(array("I", packed), (granted_at, worker)))
        return self._of.get(job, (None, None))


def _job_facts(snapshot: Snapshot, run: OpenRun, job: int, result: list[Any] | None, claims: _Claims) -> JobFacts:
    columns, state = run.columns, run.columns.state[job]
    sparse = columns.sparse
    made = sparse["made"].get(job, 0)
    erred = job in sparse["erred"]
    cause = -1 if erred else sparse["cause"].get(job, -1)
    due_at = None
    if state == DELAYED:
        row = snapshot.one("delayed_of_job", row_of(run.number, job))
        due_at = None if row is None else row[0] / MICROS
    if state == ACTIVE and job not in run.state.gated:
        began, worker = claims[job]
        return JobFacts(state, made + 1, _seconds(began), None, worker, due_at, cause, erred)
    if result is None or result[0] is None or state < COMPLETED:
        return JobFacts(state, made, None, None, None, due_at, cause, erred, job in sparse["replayed"])
    number, began, ended, worker = result
    return JobFacts(state, number, _seconds(began), _seconds(ended), worker, due_at, cause, erred)


def _seconds(micros: int | None) -> float | None:
    return None if micros is None else micros / MICROS


def _event(kind: Any, at: float, entry: list[Any]) -> StoredEvent:
    job, number, detail = (*entry, None, None)[:3]
    if detail is None or kind == "ended":
        return StoredEvent(kind, at, job, number)
    text = detail if kind in _KINDS_WITH_TEXT else json.dumps(detail)
    return StoredEvent(kind, at, job, number, text.encode(), entry[3] if kind == "retrying" else None)


def _unknown(run: str) -> UnknownRunError:
    return UnknownRunError(f"run {run} is not in the file any more; it was past its retention")
