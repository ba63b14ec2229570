"""Processes that are killed at any moment: nothing is lost, nothing torn, nothing that had completed is done again."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor
from flows._state import LOST_LIMIT
from tests.executors import sqlite_killed

pytestmark = pytest.mark.slow

KILLS = 40
SLOTS = 4
KINDS = ("work", "work", "commit", "commit", "start")


def begun(*given: object) -> subprocess.Popen[bytes]:
    here = Path(__file__).parents[2]
    command = [sys.executable, "-m", "tests.executors.sqlite_killed", *map(str, given)]
    return subprocess.Popen(command, cwd=here, env={**os.environ, "PYTHONPATH": str(here)}, stderr=subprocess.PIPE)


@pytest.mark.timeout(600)
def test_a_run_whose_process_is_killed_again_and_again_completes_and_repeats_no_completed_job(tmp_path: Path) -> None:
    """At moments that are drawn: while it starts, as it has begun to work, within a commit, the first one included."""
    rng, kills, runs = random.Random(7), 0, 0
    landed: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    database, ledger, trace = tmp_path / "runs.db", tmp_path / "ledger", tmp_path / "trace"
    while kills < KILLS:
        runs += 1
        ledger.write_bytes(b"")
        what = ("order", "chain")[runs % 2]
        key, here = f"{what}:{runs}", 0
        _, total, effects = sqlite_killed.FLOWS[what]
        while True:
            kind = rng.choice(KINDS) if here < LOST_LIMIT - 1 else "none"  # a job that is lost more often fails
            which, micros = rng.choice((1, 2, rng.randrange(1, 40))), rng.randrange(1, 400)
            commit = (which, micros, trace) if kind == "commit" else ()
            before = len(ledger.read_bytes())
            process = begun(database, ledger, key, *commit)
            if kind != "none" and struck(process, kind, ledger, rng):
                kills += 1
                here += 1
                kinds[what] += 1
                landed["before any effect" if len(ledger.read_bytes()) == before else "after an effect"] += 1
                landed["within a commit"] += kind == "commit" and trace.read_bytes().endswith(b"(")
            assert process.stderr is not None
            said = process.stderr.read()
            process.stderr.close()
            if process.wait() not in (-signal.SIGKILL, -signal.SIGALRM):
                assert process.returncode == 0, said
                break
            check_file(database)
        executor = SqliteExecutor(f"sqlite:///{database}")
        run = flows.get(key=key, executor=executor)
        assert (run.state, run.value) == ("completed", total)
        lines = Counter(ledger.read_text().splitlines())
        assert len(lines) == effects
        again = sum(lines.values()) - len(lines)
        assert again <= here * (SLOTS if what == "order" else 1), (
            "only what was under way when the process was killed is done again"
        )
        assert all(job.state == "completed" for job in run.jobs.values())
        executor.close()

    assert min(landed[one] for one in ("before any effect", "after an effect", "within a commit")) >= 3, landed
    assert min(kinds[one] for one in sqlite_killed.FLOWS) >= 10, kinds


def struck(process: subprocess.Popen[bytes], kind: str, ledger: Path, rng: random.Random) -> bool:
    """Kill the process, or wait until it has killed itself; says whether it was alive then."""
    if kind == "commit":
        process.wait()
        return process.returncode == -signal.SIGALRM
    if kind == "start":
        lives(process, rng.uniform(0.0, 1.0))
        process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL
    size = ledger.stat().st_size
    lines, moment = rng.choice((0, 0, 1, 5, 15)), rng.choice((0.0, 0.001, 0.004, 0.01))
    until = size + 40 * lines
    while lives(process, 0.0005) and ledger.stat().st_size <= until:
        pass
    if moment:
        lives(process, moment)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def lives(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process is still alive after so long."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def check_file(database: Path) -> None:
    if database.exists():
        connection = sqlite3.connect(database)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_what_a_killed_process_held_is_free_at_once(tmp_path: Path) -> None:
    database, ledger = tmp_path / "runs.db", tmp_path / "ledger"
    process = begun(database, ledger, "order:1")
    while not ledger.exists() or len(ledger.read_bytes().splitlines()) < 20:
        assert lives(process, 0.001)
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()
    done = Counter(ledger.read_text().splitlines())
    sqlite_killed.LEDGER = os.open(ledger, os.O_WRONLY | os.O_APPEND)
    executor = SqliteExecutor(f"sqlite:///{database}?concurrency=4")
    try:
        started = time.monotonic()
        with pytest.raises(flows.UnknownRunError):
            flows.resume("no such run", executor=executor)
        run = flows.resume("order:1", executor=executor)
        assert run.value == sqlite_killed.TOTAL
        assert time.monotonic() - started < 10, "no lease had to run out"
        lines = Counter(ledger.read_text().splitlines())
        assert len(lines) == sqlite_killed.EFFECTS
        assert sum(lines.values()) - len(lines) <= SLOTS
        assert set(done) <= set(lines)
        assert flows.resume(run.id, executor=executor).id == run.id
    finally:
        os.close(sqlite_killed.LEDGER)
        executor.close()


def test_processes_that_execute_one_key_together_do_each_job_once(tmp_path: Path) -> None:
    database, ledger = tmp_path / "runs.db", tmp_path / "ledger"
    processes = [begun(database, ledger, "order:1") for _ in range(3)]
    for process in processes:
        assert process.stderr is not None
        said = process.stderr.read()
        process.stderr.close()
        assert process.wait() == 0, said
    lines = Counter(ledger.read_text().splitlines())
    assert (len(lines), sum(lines.values())) == (sqlite_killed.EFFECTS, sqlite_killed.EFFECTS)
