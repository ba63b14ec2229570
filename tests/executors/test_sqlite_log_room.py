"""Room in the write-ahead log: small commits find some, and nothing of it is ever taken for what was committed."""

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from executors.sqlite import _log_room
from executors.sqlite._database import Database

MANY = (_log_room.LOOKS + 1) * _log_room.EACH


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@contextlib.contextmanager
def opened(path: Path, synchronous: str = "full") -> Iterator[Database]:
    database = Database(path, synchronous)
    try:
        yield database
    finally:
        database.close()


def commit(database: Database, count: int, size: int = 10) -> None:
    for _ in range(count):
        with database.step(lambda: None, lambda: None):
            database.do("journal_add", database.draw(), "x" * size)


def length(path: Path) -> int:
    return os.stat(f"{path}-wal").st_size


def test_small_commits_find_room_that_a_reader_never_sees(path: Path, tmp_path: Path) -> None:
    with opened(path) as database:
        commit(database, MANY)
        there = length(path)
        assert there > _log_room.LEAST_BYTES
        commit(database, MANY)
        assert length(path) == there, "they overwrite what was laid out"
        for end in ("", "-wal"):  # as a process that was killed leaves them
            shutil.copy(f"{path}{end}", f"{tmp_path}/killed.db{end}")
        with opened(tmp_path / "killed.db") as found:
            rows = found.read("journal_from", 0, 0, 0, 1 << 62)
            assert len(rows) == 2 * MANY
            assert found.pragmas("integrity_check") == {"integrity_check": [("ok",)]}
            assert found.pragmas("freelist_count") == database.pragmas("freelist_count")


def test_nobody_takes_it_for_a_change(path: Path) -> None:
    with opened(path) as database, opened(path) as other:
        commit(database, MANY - _log_room.EACH - 1)
        before = other.version(), length(path)
        room = database._room
        assert room is not None
        room._lay_out(_log_room.LEAST_BYTES)
        assert length(path) > before[1] + _log_room.LEAST_BYTES // 2
        assert other.version() == before[0]


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_what_waits_for_more_than_the_length_gets_none(path: Path, synchronous: str) -> None:
    with opened(path, synchronous) as database:
        commit(database, MANY, 9 * 4096 if synchronous == "full" else 10)
        used = length(path)
        commit(database, 1)
        assert length(path) > used, "no room beyond what was used"


def test_where_somebody_else_writes_there_is_none(path: Path) -> None:
    with opened(path) as database, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        commit(database, 1)
        before = length(path)
        other.execute("BEGIN IMMEDIATE")
        room = database._room
        assert room is not None
        room._lay_out(_log_room.LEAST_BYTES)
        other.execute("ROLLBACK")
        assert length(path) == before
