"""What may be wrong with a file or its URL: each is said by name, and nothing is stored by halves."""

import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor, _file
from executors.sqlite._database import Database
from executors.sqlite._queries import query
from flows.errors import ExecutorError, UnavailableError, UnknownExecutorError


@flows.task(name="sqlite-filed")
def filed(value: Any) -> Any:
    return value


def executed(path: Path, value: Any = 1, **options: Any) -> flows.Run[Any]:
    executor = SqliteExecutor(f"sqlite:///{path}")
    try:
        run = flows.execute(filed(value), executor=executor, **options)
        assert run.value == value
        return run
    finally:
        executor.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://shop.db", "names no file"),
        ("sqlite:///shop.db?synchronous=off", "full .* or normal"),
        ("sqlite:///shop.db?concurency=3", "did you mean concurrency"),
        ("sqlite:///shop.db?concurrency=0", "from 1 to"),
        ("sqlite:///shop.db?processes=many", "from 1 to"),
        ("sqlite:///shop.db?max_jobs=-1", "from 1 to"),
        ("sqlite:///shop.db#part", "names no file"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownExecutorError, match=said):
        flows.execute(filed(1), executor=url)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match="is a directory"):
        SqliteExecutor(f"sqlite:///{tmp_path}")


def test_a_file_in_no_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="there is no directory"):
        SqliteExecutor(f"sqlite:///{tmp_path}/none/runs.db")


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executed(tmp_path / "runs.db")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)  # whoever runs the tests may be root
    with pytest.raises(UnavailableError, match="read-only for this user"):
        SqliteExecutor(f"sqlite:///{tmp_path}/runs.db")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UnavailableError, match="its directory is read-only"):
        SqliteExecutor(f"sqlite:///{tmp_path}/runs.db")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (one)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ExecutorError, match="belongs to another program"):
        SqliteExecutor(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_what_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("something else entirely, and long enough to be looked at\n" * 100)
    before = path.read_bytes()
    with pytest.raises(ExecutorError, match="no database"):
        SqliteExecutor(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_file_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    executed(path)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {_file.VERSION + 1}")
    connection.close()
    with pytest.raises(ExecutorError, match="newer release"):
        SqliteExecutor(f"sqlite:///{path}")


def test_files_of_older_releases_are_migrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "runs.db"
    executed(path)
    monkeypatch.setattr(_file, "VERSION", _file.VERSION + 1)
    monkeypatch.setitem(_file.MIGRATIONS, _file.VERSION - 1, "CREATE TABLE added (one);\n-- done\n")
    executed(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (_file.VERSION,)
    assert connection.execute("SELECT count(*) FROM added").fetchone() == (0,)
    connection.close()


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db")
    flows.execute(filed(1), executor=executor)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    executor.close()
    assert modes.keys() >= {"runs.db", "runs.db-wal", "runs.db-workers"}
    assert set(modes.values()) == {0o600}


def test_a_file_that_another_process_holds_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_file, "BUSY_SECONDS", 0.05)
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db")
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UnavailableError, match="another process has held it"):
        flows.execute(filed(1), executor=executor)
    other.execute("ROLLBACK")
    other.close()
    assert flows.execute(filed(1), executor=executor).value == 1
    executor.close()


def test_a_full_disk_undoes_what_was_under_way(tmp_path: Path) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db")
    flows.execute(filed(1), executor=executor, key="small")
    database: Database = executor.store.database
    (pages,) = database._steps.execute("PRAGMA page_count").fetchone()
    database._steps.execute(f"PRAGMA max_page_count = {pages + 5}")
    with pytest.raises(UnavailableError, match="the disk is full"):
        flows.submit(filed("x" * 100_000), executor=executor, key="large")
    with pytest.raises(flows.UnknownRunError):
        flows.get(key="large", executor=executor)
    database._steps.execute("PRAGMA max_page_count = 1000000")
    assert flows.execute(filed("x" * 100_000), executor=executor, key="large").state == "completed"
    assert database._steps.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    executor.close()


def test_two_that_make_a_file_at_once_both_use_it(tmp_path: Path) -> None:
    made: list[SqliteExecutor] = []
    ready = threading.Barrier(4)

    def make() -> None:
        ready.wait()
        made.append(SqliteExecutor(f"sqlite:///{tmp_path}/runs.db"))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    runs = [flows.submit(filed(number), executor=executor) for number, executor in enumerate(made)]
    for run in runs:
        assert flows.get(run.id, executor=made[0]).wait().value == run.value
    assert len(made) == 4
    for executor in made:
        executor.close()


def test_time_never_runs_backwards(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    executed(path)
    connection = sqlite3.connect(path)
    (mark,) = connection.execute(query("mark")).fetchone()
    later = mark + 3_600_000_000
    with connection:
        connection.execute(query("mark_set"), (later,))
    connection.close()
    run = executed(path, 2)
    executor = SqliteExecutor(f"sqlite:///{path}")
    again = flows.get(run.id, executor=executor)
    started = again._record.submitted_at.timestamp()
    executor.close()
    assert started >= later / 1e6


@pytest.mark.parametrize(("said", "level"), [("", 2), ("?synchronous=full", 2), ("?synchronous=normal", 1)])
def test_commits_wait_for_the_disk_unless_the_url_says_otherwise(tmp_path: Path, said: str, level: int) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db{said}")
    found = executor.store.database.pragmas("synchronous", "journal_mode", "auto_vacuum")
    steps = executor.store.database._steps
    assert steps.execute("PRAGMA synchronous").fetchone() == (level,)
    assert found == {"synchronous": [(level,)], "journal_mode": [("wal",)], "auto_vacuum": [(2,)]}
    executor.close()
