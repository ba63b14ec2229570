"""Telling: loggers and meters hear of the runs that this process works off, from a thread that no run waits for.

The thread reads the journal in the file, as any watcher does: a listener may be slow, raise or block. Where several
processes work one run off, each tells all of it.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

from executors._leasing._audience import OFTEN, PATIENCE_SECONDS
from executors._stored import StoredEvent, StoredRecord, read_failed
from flows._told import Listener, Told

if TYPE_CHECKING:
    from executors.sqlite._reader import FileReader
    from executors.sqlite._store import SqliteStore
    from flows.errors import Failed

LOOK_SECONDS: Final = 0.5
"""How often the journal is looked at for those who want to hear of failures only."""

_WITH_FAILURE: Final = frozenset(("failed", "retrying", "skipped", "cancelled"))


class Depths:
    """The queues of a file, for meters."""

    def __init__(self, store: SqliteStore, reader: FileReader) -> None:
        self._store = store
        self._reader = reader

    def depths(self) -> Mapping[tuple[str, str], int]:
        """How many jobs have not ended, by queue and state."""
        found: Counter[tuple[str, str]] = Counter()
        states = ("waiting", "delayed", "active", "waiting_children")
        for state, counts in zip(states, (*self._store.counts(), self._reader.waiting_children()), strict=True):
            found.update({(queue, state): count for queue, count in counts.items()})
        return found


class Telling:
    """Tells of one run, until it has ended here.

    Args:
        record: The run.
        reader: Reads its journal.
        those: Who is told.
        position: From which event on.
    """

    def __init__(self, record: StoredRecord, reader: FileReader, those: Sequence[Listener], position: int) -> None:
        self._record = record
        self._reader = reader
        self._listeners = those
        self._kinds = frozenset[str]().union(*(one.kinds for one in those))
        self._position = position
        self._changed = threading.Event()
        self._over = False
        all_along = bool(self._kinds & OFTEN)
        self._pause = None if all_along else LOOK_SECONDS
        self._unwatch = record.watch(self._changed.set) if all_along else _nothing
        self._thread = threading.Thread(target=self._run, name=f"flows-telling-{record.id[:8]}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Nothing more is done here; what has been done is told."""
        self._over = True
        self._changed.set()

    def catch_up(self) -> None:
        """Return when all has been told, or when that takes too long."""
        self.end()
        if threading.current_thread() is not self._thread:
            self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            over = False
            while not over:
                self._changed.wait(self._pause)
                self._changed.clear()
                over = self._over
                self._tell()
        except Exception:  # the file is out of reach, or was closed: whoever works the run off is told so
            return
        finally:
            self._unwatch()

    def _tell(self) -> None:
        events, self._position = self._reader.events(self._record.run, self._position, self._kinds)
        self._record.refresh()  # or its plan might not have the items yet that these events are of
        happened = list(self._told(events))
        run: Any = _Listened(self._record)
        for listener in self._listeners if happened else ():
            with contextlib.suppress(Exception):  # whoever is to be told is who failed
                listener.tell(run, [one for one in happened if one.kind in listener.kinds])

    def _told(self, events: Iterable[StoredEvent]) -> Iterator[Told]:
        for one in events:
            at = datetime.fromtimestamp(one.at, UTC)
            job = -1 if one.job is None else one.job
            yield Told(one.kind, at, job, one.attempt, self._failed(one), one.after)

    def _failed(self, event: StoredEvent) -> Failed | None:
        if event.kind not in _WITH_FAILURE or event.job is None:
            return None
        return self._record.failed(event.job) if event.detail is None else read_failed(event.detail)


def _nothing() -> None:
    """Nobody was watching."""


class _Listened:
    """A run, as listeners ask about it."""

    def __init__(self, record: StoredRecord) -> None:
        self._record = record
        self.id, self.trace_id = record.id, record.trace_id
        self.plan = record.plan
        self.attempts_of = record.attempts_of

    @property
    def state(self) -> Any:
        """Of the columns only the edges are asked for."""
        edges: dict[int, list[int]] = {job: [] for job in range(len(self.plan))}
        for child, dependent, _ in self.plan.edges():
            edges[child].append(dependent)
        return SimpleNamespace(edges=edges)
