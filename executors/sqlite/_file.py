"""The file: opened with care, so that each thing that can be wrong with it is said in words.

A file of ours bears our application id and the version of its schema; older ones are migrated, a step a version,
newer ones and those of other programs are left alone.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from executors.sqlite._queries import schema
from flows.errors import ExecutorError, UnavailableError, UnsupportedError

APPLICATION_ID: Final = 0x666C6F77
VERSION: Final = 2

MIGRATIONS: Final[dict[int, str]] = {
    1: """
CREATE TABLE ahead (
    fence INTEGER PRIMARY KEY, session INTEGER NOT NULL, job INTEGER NOT NULL, follower INTEGER NOT NULL,
    claim INTEGER NOT NULL, payload BLOB NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL,
    worker TEXT, at INTEGER NOT NULL, until INTEGER
);
""",
}
"""Version -> the statements that lead from it to the next."""

BUSY_SECONDS: Final = 5.0
"""How long to wait for another process to finish its step."""

_chance: Final = random.SystemRandom()
"""Not the shared one: what somebody has seeded, for a test or a model, goes on as if we were not there."""

PAGES_IN_LOG: Final = 4000
"""Pages (of 4 KiB) after which the log is written back into the file: a few large steps cost less than many small."""


def connect(path: Path, synchronous: str) -> sqlite3.Connection:
    """A connection to a file of ours, which is made if there is none.

    Args:
        synchronous: ``full``: what was committed survives a loss of power; ``normal``: a crash of the process.

    Raises:
        ExecutorError: The path is a directory, or the file another program's or of a newer release.
        UnavailableError: It cannot be read, written or made, or another process holds it for too long.
    """
    if sys.byteorder != "little":
        raise UnsupportedError("files of flows hold numbers in little-endian order, and this machine does not")
    _check_path(path)
    with translated(path):
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        try:
            _prepare(connection, path, synchronous)
        except BaseException:
            connection.close()
            raise
    return connection


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise ExecutorError(f"{path} is a directory; name a file in it, such as {path / 'flows.db'}")
    if path.exists():
        if not os.access(path, os.R_OK | os.W_OK):
            raise UnavailableError(f"{path} cannot be written: it is read-only for this user")
    elif not path.parent.is_dir():
        raise UnavailableError(f"{path} cannot be made: there is no directory {path.parent}")
    else:
        _make(path)
    if not os.access(path.parent, os.W_OK):
        raise UnavailableError(f"{path} cannot be used: its directory is read-only, and SQLite keeps a log beside it")


def _make(path: Path) -> None:
    """An empty file that only its owner may read: results may be secrets. SQLite gives its log the same mode."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, stat.S_IRUSR | stat.S_IWUSR))
    except FileExistsError:
        pass  # another process was quicker
    except OSError as error:
        raise UnavailableError(f"{path} cannot be made: {error.strerror}") from None


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    application, version, tables = _identity(connection)
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table; the file can shrink then
    elif application != APPLICATION_ID:
        raise ExecutorError(f"{path} belongs to another program (application id {application:#x}); name another file")
    if version > VERSION:
        raise ExecutorError(
            f"{path} was written by a newer release (schema {version}, this one knows {VERSION}); upgrade flowproducer"
        )
    mode = _journal_mode(connection)
    if mode != "wal":
        raise UnavailableError(f"{path} cannot have a write-ahead log (journal mode {mode}); is it on a network drive?")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {PAGES_IN_LOG}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -65536")
    if not tables or version < VERSION:
        _migrate(connection)


def _journal_mode(connection: sqlite3.Connection) -> str:
    """Ask for a write-ahead log. Of several that ask at once, SQLite refuses some without waiting: those ask again."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_chance.uniform(0.001, 0.01))  # nothing tells when the other has done
        else:
            return str(mode)


def _identity(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, schema version and number of tables of the file."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return application, version, tables


def _migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the schema of this release, in one step; another process may have done so meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        _, version, tables = _identity(connection)
        if not tables:
            _run(connection, schema())
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            version = VERSION
        while version < VERSION:
            _run(connection, MIGRATIONS[version])
            version += 1
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _run(connection: sqlite3.Connection, script: str) -> None:
    """The statements of a script, within the transaction; `executescript` would commit it."""
    text = "\n".join(line for line in script.splitlines() if not line.lstrip().startswith("--"))
    for statement in text.split(";"):
        if statement.strip():
            connection.execute(statement)


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors in our words.

    Raises:
        UnavailableError: The file is locked, full, read-only or out of reach.
        ExecutorError: It is no database, or damaged.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise said(path, error) from error


_REASONS: Final = {
    "SQLITE_BUSY": f"another process has held it for more than {BUSY_SECONDS:g} s",
    "SQLITE_FULL": "the disk is full; what was under way has been undone",
    "SQLITE_READONLY": "it is read-only",
    "SQLITE_CANTOPEN": "it cannot be opened",
    "SQLITE_IOERR": "reading or writing it failed; what was under way has been undone",
}


def said(path: Path, error: sqlite3.Error) -> ExecutorError:
    """What went wrong with the file, in words."""
    name = getattr(error, "sqlite_errorname", "") or ""
    for code, reason in _REASONS.items():
        if name.startswith(code):
            return UnavailableError(f"{path}: {reason} ({error})")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return ExecutorError(f"{path} is no database, or damaged: {error}")
    return ExecutorError(f"{path}: {error}")
