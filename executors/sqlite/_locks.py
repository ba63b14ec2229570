"""Who is alive: each process holds a lock on one byte of a file beside the database, for as long as it lives.

The system frees such a lock when its process ends, in whatever way, so that others learn of it at once and without a
clock. Locks of this kind belong to a process: they must be asked for through one descriptor, which is never closed,
since closing any would free them all.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

from flows.errors import UnavailableError

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int, byte: int) -> None:
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

    def _unlock(descriptor: int, byte: int) -> None:
        os.lseek(descriptor, byte, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int, byte: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)

    def _unlock(descriptor: int, byte: int) -> None:
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, byte)


class Locks:
    """The locks of all sessions on one database file. Thread-safe; one object a file and process, by `locks_of`."""

    def __init__(self, path: Path) -> None:
        self._guard = threading.Lock()
        self._held: set[int] = set()
        try:
            self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR)
        except OSError as error:
            raise UnavailableError(f"{path} cannot be opened: {error.strerror}") from None

    def hold(self, session: int) -> None:
        """Take the lock of a session of this process."""
        with self._guard:
            _lock(self._descriptor, session)
            self._held.add(session)

    def free(self, session: int) -> None:
        """Let go of the lock of a session of this process."""
        with self._guard:
            if session in self._held:
                self._held.remove(session)
                _unlock(self._descriptor, session)

    def lives(self, session: int) -> bool:
        """Whether the process of a session is alive."""
        with self._guard:
            if session in self._held:
                return True
            try:
                _lock(self._descriptor, session)
            except OSError:
                return True
            _unlock(self._descriptor, session)
            return False


_known: dict[tuple[int, int], Locks] = {}
_guard = threading.Lock()


def locks_of(database: Path) -> Locks:
    """The locks beside a database file."""
    path = database.with_name(database.name + "-workers")
    with _guard:
        try:
            found = path.stat()
        except FileNotFoundError:
            locks = Locks(path)
            found = path.stat()
            return _known.setdefault((found.st_dev, found.st_ino), locks)
        place = (found.st_dev, found.st_ino)
        if place not in _known:
            _known[place] = Locks(path)
        return _known[place]


def _after_fork() -> None:
    global _guard
    _known.clear()  # the locks are the parent's: a child has sessions of its own
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
