"""A disk that is full, or a file that is held for too long, in the middle of a run: it raises, and is resumed."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor
from flows.errors import UnavailableError

pytestmark = pytest.mark.slow

done: list[str] = []
begun = threading.Event()
held = threading.Event()


@flows.task
def full_first() -> str:
    done.append("first")
    return "a"


@flows.task
def full_blocked(value: str) -> str:
    begun.set()
    assert held.wait(60)
    done.append("blocked")
    return value + "b" * 200_001


@flows.task
async def full_async(value: str) -> str:
    begun.set()
    assert await asyncio.to_thread(held.wait, 60)
    done.append("async")
    return value + "b" * 200_000


@flows.task
def full_last(value: str) -> int:
    done.append("last")
    return len(value)


@flows.flow
def full_flow(task: Any) -> flows.Job[int]:
    return full_last(task(full_first().out).out)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[SqliteExecutor]:
    done.clear()
    begun.clear()
    held.clear()
    made = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    yield made
    held.set()
    made.close()


def fill(executor: SqliteExecutor, room: int = 0) -> None:
    """From now on the file may grow by so many pages only; waits until a handler runs."""
    assert begun.wait(60)
    steps = executor.store.database._steps
    with executor.store.database.lock:
        (pages,) = steps.execute("PRAGMA page_count").fetchone()
        steps.execute(f"PRAGMA max_page_count = {pages + room}")
    held.set()


def room(executor: SqliteExecutor) -> None:
    with executor.store.database.lock:
        executor.store.database._steps.execute("PRAGMA max_page_count = 1000000")


def raised(execute: Any) -> tuple[threading.Thread, list[BaseException]]:
    """Call *execute* in a thread; what it raises."""
    found: list[BaseException] = []

    def call() -> None:
        try:
            execute()
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread, found


@pytest.mark.parametrize("how", ["lent", "with a timeout", "async handler", "async caller", "events"])
def test_a_full_disk_ends_whoever_waits_and_the_run_is_resumed_when_there_is_room(
    executor: SqliteExecutor, how: str
) -> None:
    flow = full_flow(full_async if how == "async handler" else full_blocked)

    def execute() -> None:
        if how == "with a timeout":
            flows.execute(flow, executor=executor, key="k", timeout="60s")
        elif how == "async caller":
            asyncio.run(flows.aexecute(flow, executor=executor, key="k"))
        elif how == "events":
            for _ in flows.submit(flow, executor=executor, key="k").events():
                pass
        else:
            flows.execute(flow, executor=executor, key="k")

    thread, found = raised(execute)
    fill(executor)
    thread.join(60)
    assert not thread.is_alive(), "it waits for ever"
    (error,) = found
    assert isinstance(error, UnavailableError)
    assert "the disk is full" in str(error)
    run = flows.get(key="k", executor=executor)
    assert run.state == "running"
    with pytest.raises(UnavailableError, match="the disk is full"):
        flows.resume("k", executor=executor)  # still
    room(executor)
    assert flows.resume("k", executor=executor).value > 200_000
    assert done[0] == "first"
    assert done.count("first") == done.count("last") == 1
    assert run.jobs["full_first"].state == "completed"


def test_a_file_that_is_held_for_too_long_raises_and_is_gone_on_with(executor: SqliteExecutor, tmp_path: Path) -> None:
    executor.store.database._steps.execute("PRAGMA busy_timeout = 50")
    thread, found = raised(lambda: flows.execute(full_flow(full_blocked), executor=executor, key="k"))
    assert begun.wait(60)
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    held.set()
    thread.join(60)
    other.execute("ROLLBACK")
    other.close()
    (error,) = found
    assert isinstance(error, UnavailableError)
    assert "another process has held it" in str(error)
    assert any("flows.resume" in note for note in error.__notes__)
    assert flows.resume("k", executor=executor).value > 200_000
    assert done.count("first") == 1
