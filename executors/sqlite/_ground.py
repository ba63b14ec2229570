"""What the verbs stand on: steps over the file, and the runs that this process knows."""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from executors._stored import rows_from
from executors.sqlite._columns import Columns
from executors.sqlite._database import MICROS, Database
from executors.sqlite._keys import chunk_row, row_of
from executors.sqlite._lanes import Lanes
from executors.sqlite._run import Known, OpenRun, known_of, opened, written

KNOWN_RUNS: Final = 64
"""Of how many runs a process remembers what was submitted."""

PAYLOAD_BYTES: Final = 64 * 1024 * 1024
"""How much of the results that went through this process it remembers, since the next jobs take them."""

_SHIFT: Final = 7
_MASK: Final = (1 << _SHIFT) - 1


class Payloads:
    """Results by row: those that are asked for again are mostly those that have just been written."""

    def __init__(self) -> None:
        self._of: dict[int, bytes] = {}
        self._bytes = 0
        self.known = self._of.get
        """The result of a job, if it is remembered."""

    def put(self, row: int, payload: bytes) -> None:
        """Remember the result of a job."""
        self._of[row] = payload
        self._bytes += len(payload) + 100
        if self._bytes > PAYLOAD_BYTES:
            self.clear()
            self._of[row] = payload

    def put_all(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Remember results, of the rows that are written of them."""
        if self._bytes > PAYLOAD_BYTES:
            self.clear()
        self._of.update([row[:2] for row in rows])
        self._bytes += sum([len(row[1]) for row in rows]) + 100 * len(rows)

    def drop(self, row: int) -> None:
        """The job will be done again."""
        self._of.pop(row, None)

    def clear(self) -> None:
        """Forget all."""
        self._of.clear()
        self._bytes = 0


class Ground:
    """The file, the runs in it and their lanes.

    Attributes:
        database: The file.
        clock: Seconds, never going back.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock: Callable[[], float] = database.clock
        self._lanes = Lanes(database)
        self._known: OrderedDict[int, Known] = OrderedDict()
        self._rows: dict[int, list[bytes]] = {}
        self._rows_read: dict[int, list[Any]] = {}
        self._runs: dict[int, OpenRun] = {}
        self._payloads = Payloads()
        self._touched: dict[int, OpenRun] = {}
        self._ended: list[int] = []
        self._interrupted: list[int] = []

    @contextlib.contextmanager
    def transaction(self, by: int = 0) -> Iterator[int]:
        """One transaction; gives its instant in microseconds. When it is written, those concerned are told.

        Args:
            by: The run whose own crew does it, which need not be told.
        """
        with self.database.step(self._forget, self._flush) as now:
            self._carry_over()
            yield now
            touched = set(self._touched)
        ended, self._ended = self._ended, []
        interrupted, self._interrupted = self._interrupted, []
        self._tell(touched, ended, interrupted, by)

    def _carry_over(self) -> None:
        """Before all else in a step: tables are made to say what they do not say yet."""

    def _tell(self, touched: set[int], ended: list[int], interrupted: list[int], by: int) -> None:
        """A step was written: it has touched, ended, or begun to cancel these runs. Not within a step."""

    def _forget(self) -> None:
        """Another process has changed the file, or a step was undone."""
        self._lanes.forget()
        self._runs.clear()
        self._touched.clear()
        self._payloads.clear()
        self._ended, self._interrupted = [], []

    def _flush(self) -> None:
        for run in self._touched.values():
            written(self.database, run)
            if run.ended_at is not None:
                self._runs.pop(run.number, None)
                self._lanes.drop(run.number)
        self._touched.clear()
        self._lanes.flush()

    def _run(self, number: int, columns: Columns | None = None) -> OpenRun | None:
        """A run, to be changed; within a step. A new one comes with its columns."""
        run = self._runs.get(number)
        if run is None:
            known = self._knows(number)
            run = None if known is None else opened(self.database, known, columns)
            if run is None:
                return None
            self._runs[number] = run
        self._touched[number] = run
        return run

    def _knows(self, number: int) -> Known | None:
        known = self._known.get(number)
        if known is None:
            known = known_of(self.database, number)
            if known is not None:
                self._learn(known)
        else:
            self._known.move_to_end(number)
        return known

    def _learn(self, known: Known) -> None:
        self._known[known.number] = known
        while len(self._known) > KNOWN_RUNS:
            gone, _ = self._known.popitem(last=False)
            for chunk in [chunk for chunk in self._rows if chunk >> 20 == gone]:
                del self._rows[chunk]
                self._rows_read.pop(chunk, None)

    def _row(self, run: OpenRun, job: int) -> bytes:
        """What was submitted of a job, as its worker reads it; of a stamped one, what the body says."""
        chunk = chunk_row(run.number, job >> _SHIFT)
        rows = self._rows.get(chunk)
        if rows is None:
            (packed,) = self.database.one("plan_rows", chunk)
            rows = self._rows[chunk] = packed.split(b"\n")
        return rows[job & _MASK]

    def _row_known(self, run: OpenRun, job: int) -> bool:
        """Whether what was submitted of a job is known without reading."""
        return chunk_row(run.number, job >> _SHIFT) in self._rows

    def _rows_read_of(self, run: OpenRun, jobs: Iterable[int]) -> list[Any]:
        """The same for briefs: of a job that is asked for the first time read already, together with its neighbours.

        Where it holds data it is not, nor for another attempt: handlers may change what they are given.
        """
        found: list[Any] = []
        near, rows = -1, []
        for job in jobs:
            if job >> _SHIFT != near:
                near, rows = job >> _SHIFT, self._rows_near(run, job)
            found.append(rows[job & _MASK])
            rows[job & _MASK] = None  # thousands of lists that nobody needs again cost the collector of garbage time
        return [self._row(run, job) if row is None else row for job, row in zip(jobs, found, strict=True)]

    def _row_read_of(self, run: OpenRun, job: int) -> Any:
        """The same for one of them."""
        rows = self._rows_near(run, job)
        place = job & _MASK
        row, rows[place] = rows[place], None
        return self._row(run, job) if row is None else row

    def _rows_near(self, run: OpenRun, job: int) -> list[Any]:
        chunk = chunk_row(run.number, job >> _SHIFT)
        rows = self._rows_read.get(chunk)
        if rows is None:
            self._row(run, job)
            written = self._rows[chunk]
            plain = [row for row in written if b"{" not in row]
            read = iter(rows_from(plain))
            rows = self._rows_read[chunk] = [row if b"{" in row else next(read) for row in written]
        return rows

    def _payloads_of(self, run: OpenRun, jobs: Iterable[int]) -> dict[int, bytes | None]:
        """What stands in the results of jobs that have ended."""
        first, known = row_of(run.number, 0), self._payloads.known
        found: dict[int, bytes | None] = {}
        missing = []
        for job in jobs:
            payload = known(first + job)
            if payload is None:
                missing.append(job)
            else:
                found[job] = payload
        if missing:
            if run.results:
                self.database.do_all("result_put", run.results)
                run.results = []
            rows = json.dumps([first + job for job in missing])
            for row, payload in self.database.all("result_payloads", rows):
                found[row - first] = payload
        return found

    def micros(self, seconds: float) -> int:
        """An instant of the clock as the file has it: microseconds since 1970."""
        return round((seconds + self.database.epoch) * MICROS)

    def seconds(self, micros: float) -> float:
        """An instant of the file by the clock."""
        return micros / MICROS - self.database.epoch
