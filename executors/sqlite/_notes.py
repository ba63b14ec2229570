"""What handlers say of themselves while they run: progress and lines of log, a few of them to a transaction."""

from __future__ import annotations

import threading
import time
from typing import Final

from executors.sqlite._claims import Held
from executors.sqlite._keys import row_of
from executors.sqlite._reopen import Reopening
from flows._state import ACTIVE
from flows.errors import ExecutorError

NOTE_SECONDS: Final = 0.05
"""Progress is written at once, unless some was written so shortly before; then with the next step, or after as long."""


class Notes(Reopening):
    """Progress and logs."""

    def __init__(self, *given: object) -> None:
        self._notes: list[tuple[Sink, str, str]] = []
        self._notes_lock = threading.Lock()
        self._noted_at = 0.0
        self._later: threading.Timer | None = None
        super().__init__(*given)  # type: ignore[arg-type]

    def note(self, grant: Sink, kind: str, text: str) -> None:
        """A handler says how far it is (``progress``, as JSON), or adds a line to its log (``log``)."""
        with self._notes_lock:
            self._notes.append((grant, kind, text))
            if time.monotonic() - self._noted_at <= NOTE_SECONDS:
                if self._later is None:
                    self._later = threading.Timer(NOTE_SECONDS, self._write_late)
                    self._later.daemon = True
                    self._later.start()
                return
        with self.transaction() as now:
            self._write_notes(now)

    def _write_late(self) -> None:
        """Write what no step has taken along meanwhile."""
        with self._notes_lock:
            self._later = None
        if self._notes:
            try:
                with self.transaction() as now:
                    self._write_notes(now)
            except ExecutorError:
                pass  # the file is away, or was closed: the attempt's own end will say so

    def _write_notes(self, now: int) -> None:
        """Write what has been said since the last time. Within a step."""
        if not self._notes:
            return
        self._noted_at = time.monotonic()
        with self._notes_lock:
            notes, self._notes = self._notes, []
        for grant, kind, text in notes:
            run = self._run(grant.number)
            if run is None:
                continue
            place = row_of(grant.number, grant.job)
            if kind == "log":
                self.database.do("log_add", place, self.database.draw(), text)
            elif run.columns.fence[grant.job] == grant.fence and run.state.state[grant.job] == ACTIVE:
                self.database.do("progress_put", place, text)
                run.note(now, "progress", [[grant.job, grant.attempt, text]])


class Sink:
    """Where what the handler of one grant says goes.

    It does not hold the grant, whose brief holds it: a circle for each job is what the collector of garbage would spend
    a tenth of a run's time on.
    """

    __slots__ = ("_store", "attempt", "fence", "job", "number")

    def __init__(self, store: Notes, grant: Held) -> None:
        self._store = store
        self.number, self.job, self.attempt, self.fence = grant.number, grant.job, grant.attempt, grant.fence

    def report(self, job: int, progress: bytes) -> None:
        """How far it is, as JSON."""
        self._store.note(self, "progress", progress.decode())

    def record(self, job: int, line: str) -> None:
        """A line for the job's log."""
        self._store.note(self, "log", line)

    def placed(self, job: int, worker: str) -> None:
        """Who runs it: whoever has claimed it."""


class DistantSink(Sink):
    """The same where others than who has claimed a job run it, as processes do."""

    __slots__ = ("_grant",)

    def __init__(self, store: Notes, grant: Held) -> None:
        super().__init__(store, grant)
        self._grant = grant

    def placed(self, job: int, worker: str) -> None:
        """Who runs it."""
        self._grant.worker = worker
