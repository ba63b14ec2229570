"""Room in the write-ahead log, laid out before it is needed.

A commit that makes the log longer waits until the file system has noted the new length too, which takes longer than the
page itself; one that overwrites what is there does not. Once the log is full SQLite begins it anew, keeping its length.
So the first time through is made like all others: pages are written in a step that is undone, before commits need them.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from executors.sqlite._file import PAGES_IN_LOG
from executors.sqlite._queries import query

EACH: Final = 8
"""Commits from one look at the log to the next."""

LOOKS: Final = 4
"""Looks at which the log had grown before it is helped: that costs as much as so many commits."""

FRAME_BYTES: Final = 4096 + 24

SMALL_BYTES: Final = EACH * 8 * FRAME_BYTES
"""What commits between two looks write at most to be worth it: of larger ones the length is a lesser part."""

LEAST_BYTES: Final = 512 * 1024
MOST_BYTES: Final = 2 * 1024 * 1024
"""How much is laid out at once: as much as there is, within these bounds. It takes some 2 ms a MiB."""

FULL_BYTES: Final = PAGES_IN_LOG * FRAME_BYTES
"""At this length the log is begun anew."""


class LogRoom:
    """Sees to it that small commits find room in the log of a file.

    Args:
        path: The file, which is open.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = f"{path}-wal"
        self._left = EACH
        self._looks = LOOKS
        self._size = self._bytes()

    def committed(self) -> None:
        """A step was committed; called within none, and by one thread at a time."""
        self._left -= 1
        if not self._left:
            self._left = EACH
            self._look()

    def _look(self) -> None:
        size = self._bytes()
        grown, self._size = size - self._size, size
        if 0 < grown <= SMALL_BYTES and size < FULL_BYTES:
            self._looks -= 1
            if self._looks <= 0:
                self._lay_out(min(max(size, LEAST_BYTES), MOST_BYTES))
                self._size = self._bytes()

    def _bytes(self) -> int:
        try:
            return os.stat(self._log).st_size
        except OSError:
            return 0

    def _lay_out(self, count: int) -> None:
        """Write so many bytes into the log and undo it; where that cannot be, commits take the time that they take."""
        with contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(self._path, timeout=0.0, isolation_level=None)
            with contextlib.closing(connection):
                connection.execute("PRAGMA cache_size = 10")  # so that pages are written before there is a commit
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(query("log_room"), (count,))
                connection.execute("ROLLBACK")
