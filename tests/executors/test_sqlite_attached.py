"""A worker process beside `execute` on one file: each job once, and what a killed one held is free at once."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor
from tests.executors import sqlite_worker

ROOT = Path(__file__).parents[2]
SOON = 60.0
WIDTH = 60
LEASE = timedelta(seconds=25)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "ledger"
    path.touch()
    monkeypatch.setenv("LEDGER", str(path))
    return path


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[SqliteExecutor]:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?concurrency=4&synchronous=normal")
    yield executor
    executor.close()


@pytest.fixture
def worker(tmp_path: Path, ledger: Path, executor: SqliteExecutor) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tests.executors.sqlite_worker", f"{tmp_path}/runs.db", str(ledger)]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "WORKER": "1"}
    process = subprocess.Popen(command, cwd=ROOT, env=env)
    yield process
    process.kill()
    process.wait()


def until(true: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until it is true, while the worker lives."""
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        try:
            process.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError("the worker has ended")


@pytest.mark.slow
def test_a_worker_and_execute_do_each_job_once(
    worker: subprocess.Popen[bytes], executor: SqliteExecutor, ledger: Path
) -> None:
    first = flows.submit(sqlite_worker.attached_flow(1), executor=executor)
    until(lambda: first.state == "completed", worker)  # nobody here works on it: the worker does
    run = flows.execute(sqlite_worker.attached_flow(WIDTH), executor=executor)
    assert run.value == sum(range(WIDTH)) + 2 * WIDTH
    assert set(Counter(ledger.read_text().splitlines()).values()) == {1}
    assert {len(job.attempts) for job in run.jobs.values()} == {1}


@pytest.mark.slow
def test_what_a_killed_worker_held_is_free_at_once(
    worker: subprocess.Popen[bytes], executor: SqliteExecutor, ledger: Path
) -> None:
    run = flows.submit(sqlite_worker.attached_stuck(), executor=executor)
    until(lambda: f"stuck in {worker.pid}" in ledger.read_text(), worker)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    resumed = flows.resume(run.id, executor=executor)  # a lease would have lasted longer than the worker's nap
    assert resumed.value == "free"
    [lost, kept] = resumed.jobs["attached_stuck"].attempts
    assert (lost.outcome, kept.outcome, kept.number) == ("lost", "completed", 1)
    assert kept.start - lost.start < LEASE
