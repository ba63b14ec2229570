"""One database file as this process uses it: a connection for steps, another for reading, and the store's clock.

A step is a transaction that nobody can come in between: it takes the file's write lock first. What was learnt in
earlier steps stays true as long as no other process has written meanwhile, which SQLite tells by one number.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from executors.sqlite._file import connect, said, translated
from executors.sqlite._log_room import LogRoom
from executors.sqlite._queries import query
from flows.errors import UnavailableError

MICROS: Final = 1_000_000


Row = TypeVar("Row", bound=tuple[Any, ...])


class Queries(Protocol):
    """Whoever can be asked: a step, or a snapshot."""

    def one(self, name: str, *values: Any) -> Any:
        """The first row that a query finds, if any."""
        ...

    def all(self, name: str, *values: Any) -> list[Any]:
        """All rows that a query finds."""
        ...


class Snapshot:
    """The file at one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def one(self, name: str, *values: Any) -> Any:
        """The first row that a query finds, if any."""
        return self._connection.execute(query(name), values).fetchone()

    def all(self, name: str, *values: Any) -> list[Any]:
        """All rows that a query finds."""
        return self._connection.execute(query(name), values).fetchall()


class Database:
    """A file, opened.

    Args:
        path: The file.
        synchronous: ``full`` or ``normal``.
        clock: For tests: seconds since 1970, never going back.

    Attributes:
        clock: Seconds, never going back; a step's instant and all that is stored are by it, plus `epoch`.
        epoch: What to add to the clock to have seconds since 1970. It grows when the machine's clock is set forward,
            or the file has seen a later time, and never shrinks: time does not go back, nor stand still.
        mark: The newest fence given and time seen, in microseconds.
        rows: How many rows this process has read and written in steps; for tests.
        lock: Held during each step of this process.
        carry_over: Makes the tables say what some steps have left to be said.
    """

    carry_over: Callable[[], None] | None = None

    def __init__(self, path: Path, synchronous: str = "full", clock: Callable[[], float] | None = None) -> None:
        self.path = path.absolute()
        self.clock: Callable[[], float] = clock or time.monotonic
        self.epoch = 0.0 if clock is not None else time.time() - time.monotonic()
        self._follows = clock is None
        self.lock = threading.RLock()
        self._reading = threading.RLock()
        self._steps = connect(self.path, synchronous)
        self._reads = connect(self.path, synchronous)
        self._room = LogRoom(self.path) if synchronous == "full" else None
        self._version = -1
        self._marked = 0
        self.mark = 0
        self.now = 0
        self.rows = 0
        self.pid = os.getpid()

    @contextlib.contextmanager
    def step(self, forget: Callable[[], None], flush: Callable[[], None]) -> Iterator[int]:
        """All that is done within is one transaction; gives the instant of the step in microseconds.

        Args:
            forget: What was learnt in earlier steps is not true any more.
            flush: Write what is left to write.

        Raises:
            UnavailableError: The file could not be written; nothing has changed.
        """
        with self.lock:
            steps = self._steps
            try:
                steps.execute("BEGIN IMMEDIATE")
                try:
                    self._look(forget)
                    yield self.now
                    flush()
                    if self.mark != self._marked:
                        steps.execute(query("mark_set"), (self.mark,))
                    steps.execute("COMMIT")
                    self._marked = self.mark
                    if self._room is not None:
                        self._room.committed()
                except BaseException:
                    self._version = -1
                    if steps.in_transaction:
                        steps.execute("ROLLBACK")
                    forget()
                    raise
            except sqlite3.Error as error:
                raise said(self.path, error) from error

    def add(self, name: str, row: Callable[..., Row], given: tuple[Any, ...], forget: Callable[[], None]) -> Row | None:
        """A step that writes one row, if no other process has written since the last step of this one.

        Args:
            name: The statement.
            row: Gives its values, when asked with the instant of the step and *given*.
            forget: What was learnt in earlier steps is not true any more.

        Returns:
            The row that was written; None where nothing has changed.
        """
        with self.lock:
            steps = self._steps
            try:
                steps.execute("BEGIN IMMEDIATE")
                if steps.execute("PRAGMA data_version").fetchone()[0] != self._version:
                    steps.execute("ROLLBACK")
                    return None
                self._tell_time()
                values = row(self.now, *given)
                steps.execute(query(name), values)
                steps.execute("COMMIT")
                if self._room is not None:
                    self._room.committed()
            except BaseException as error:
                self._version = -1
                if steps.in_transaction:
                    steps.execute("ROLLBACK")
                forget()
                if isinstance(error, sqlite3.Error):
                    return None
                raise
            return values

    def _look(self, forget: Callable[[], None]) -> None:
        (version,) = self._steps.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self._version = version
            forget()
            (self.mark,) = self._steps.execute(query("mark")).fetchone()
            self._marked = self.mark
        self._tell_time()

    def _tell_time(self) -> None:
        now = self.clock() + self.epoch
        if self._follows:
            seen, latest = self.mark / MICROS, time.time()
            if latest < seen:
                latest = seen
            if latest > now:
                self.epoch += latest - now
                now = latest
        micros = self.now = round(now * MICROS)
        if micros > self.mark:
            self.mark = micros

    def draw(self, count: int = 1) -> int:
        """The first of *count* numbers that nobody has had and that are larger than all before; within a step."""
        first = self.mark + 1
        self.mark += count
        return first

    def do(self, name: str, *values: Any) -> sqlite3.Cursor:
        """Run a statement within the step."""
        self.rows += 1
        return self._steps.execute(query(name), values)

    def do_all(self, name: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement for each of *rows*, within the step."""
        self.rows += self._steps.executemany(query(name), rows).rowcount

    def one(self, name: str, *values: Any) -> Any:
        """The first row that a query finds within the step, if any."""
        self.rows += 1
        return self._steps.execute(query(name), values).fetchone()

    def all(self, name: str, *values: Any) -> list[Any]:
        """All rows that a query finds within the step."""
        found = self._steps.execute(query(name), values).fetchall()
        self.rows += len(found)
        return found

    def read(self, name: str, *values: Any) -> list[Any]:
        """All rows that a query finds, as of the last step of anybody; not within a step."""
        with self._reading, translated(self.path):
            return self._reads.execute(query(name), values).fetchall()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """What several queries find is of one moment: that of the last step of anybody when the first is asked."""
        if self.carry_over is not None and self.read("ahead_any"):
            with contextlib.suppress(UnavailableError):  # held by somebody, or full: what the tables say was true, too
                self.carry_over()
        with self._reading, translated(self.path):
            self._reads.execute("BEGIN")
            try:
                yield Snapshot(self._reads)
            finally:
                self._reads.execute("ROLLBACK")

    def instant(self) -> float:
        """Seconds since 1970."""
        return self.clock() + self.epoch

    def version(self) -> int:
        """A number that changes when anybody, this process included, has changed the file."""
        with self._reading, translated(self.path):
            (version,) = self._reads.execute("PRAGMA data_version").fetchone()
        return int(version)

    def pragmas(self, *names: str) -> dict[str, list[Any]]:
        """What SQLite says of the file and of how it is used here; not within a step."""
        with self._reading, translated(self.path):
            return {name: self._reads.execute(f"PRAGMA {name}").fetchall() for name in names}

    def tidy(self, pages: int) -> None:
        """Give back up to *pages* free pages to the system; within no step."""
        with self.lock, translated(self.path):
            self._steps.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()

    def close(self) -> None:
        """Let go of the file."""
        with self.lock, self._reading:
            self._steps.close()
            self._reads.close()
