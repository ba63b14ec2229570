"""Workers and servers that are killed while flows run: nothing is lost, and nothing is done twice without cause."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from executors.redis._keys import Keys
from tests.executors.redis import killed
from tests.executors.redis.proxies import CUT_REQUEST, DROP_REPLY, PASS, Proxy
from tests.executors.redis.servers import Server, server

ROOT = Path(__file__).parents[3]
LEASE = 1.5
ROUNDS = int(os.environ.get("FLOWS_SOAK_ROUNDS", "2"))
"""Each round kills two workers; ``make soak`` asks for more of them."""

WIDTH = 30
SOON = 120.0


class Fleet:
    """Worker processes, started again when they die."""

    def __init__(self, url: str, ledger: Path, concurrency: int, size: int) -> None:
        self.ledger = ledger
        self.deaths = 0
        self._command = [url, str(ledger), str(concurrency), str(LEASE)]
        self.workers = [self._started() for _ in range(size)]

    def _started(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.executors.redis.killed", *self._command]
        return subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL
        )

    def kill(self, number: int) -> None:
        """SIGKILL one, and start another in its place."""
        self.workers[number].kill()
        self.workers[number].wait()
        self.look_after()

    def look_after(self) -> None:
        for number, worker in enumerate(self.workers):
            if worker.poll() is not None:
                self.deaths += 1
                self.workers[number] = self._started()

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()

    def reach(self, effects: int) -> None:
        """Wait until so many effects have been made."""
        until(lambda: sum(self.done().values()) >= effects)

    def done(self) -> Counter[str]:
        return Counter(self.ledger.read_text().split()) if self.ledger.exists() else Counter()


@contextmanager
def fleet(url: str, ledger: Path, *, concurrency: int = 4, size: int = 2) -> Iterator[Fleet]:
    one = Fleet(url, ledger, concurrency, size)
    try:
        yield one
    finally:
        one.close()


def until(holds: Callable[[], bool], seconds: float = SOON) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def now_of(one: Server) -> float:
    seconds, micros = one.ask("TIME")
    return int(seconds) + int(micros) / 1e6


def held_after(one: Server, killed_at: float, workers: Fleet) -> float:
    """How long, at least, a lease of a worker that was killed then went on to hold a job, by the server's clock.

    It counts from when another worker was there to take it back: processes may take long to start. Leases of others are
    extended beyond it. What this process is late counts for the workers.
    """
    last, keys = killed_at, Keys("flows")
    since: float | None = None
    while True:
        now = now_of(one)
        if not one.ask("ZCOUNT", keys.queue(killed.QUEUE, "leases"), "-inf", int((killed_at + LEASE) * 1e6)):
            return last - max(killed_at, killed_at if since is None else since)
        names = [name.decode() for name in one.ask("ZRANGE", keys.of("workers"), 0, -1)]
        if since is None and any(f"-{worker.pid}-" in name for worker in workers.workers for name in names):
            since = now
        last = now
        threading.Event().wait(0.02)


def check(run: flows.Run[Any], width: int, done: Counter[str]) -> None:
    """All has come to its end. Every effect was made, and twice only where the worker died that had made it."""
    assert run.value == killed.value_of(width)
    jobs_of = defaultdict(list)
    for job in run.jobs.values():
        assert job.state == {"closed": "skipped", "broken": "failed"}.get(job.id, "completed"), job
        jobs_of[job.idempotency_key].append(job)
    for key, jobs in jobs_of.items():
        attempts = [attempt for job in jobs for attempt in job.attempts]
        sure = len(attempts) - sum(attempt.outcome in ("lost", "released") for attempt in attempts)
        shared = key.startswith("twin:")  # the second one took what the first one filed
        assert (1 if shared else sure) <= done[key] <= len(attempts), jobs


@pytest.mark.slow
@pytest.mark.timeout(max(600, 60 * ROUNDS))
def test_workers_are_killed_at_random_and_no_effect_is_lost(valkey: Server, tmp_path: Path) -> None:
    rng, executor = random.Random(11), RedisExecutor(valkey.url)
    ledger, keys = tmp_path / "ledger", set()
    with fleet(valkey.url, ledger) as workers:
        for round_ in range(ROUNDS):
            runs = [
                flows.submit(killed.shapes(WIDTH, key), executor=executor, key=key)
                for key in [f"{round_}-{number}" for number in range(12)]
            ]
            begun = sum(workers.done().values())
            struck = []
            for number in (0, 1):  # a job that loses its worker a third time fails
                workers.reach(begun + rng.randint(5, 60))
                workers.kill(number)
                struck.append(now_of(valkey))
            assert max(held_after(valkey, killed_at, workers) for killed_at in struck) <= LEASE + 10.0
            for run in runs:
                run.wait(SOON)
            done = workers.done()
            for run in runs:
                check(run, WIDTH, done)
                keys |= {job.idempotency_key for job in run.jobs.values() if job.attempts}
            assert set(done) == keys  # which is all that is seen by a world that does the same thing once
        assert workers.deaths == 2 * ROUNDS
    executor.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("concurrency", [1, 50])
def test_a_job_that_kills_its_worker_fails_alone(valkey: Server, tmp_path: Path, concurrency: int) -> None:
    executor = RedisExecutor(valkey.url)
    with fleet(valkey.url, tmp_path / "ledger", concurrency=concurrency) as workers:
        run = flows.submit(killed.healthy_and_one(1000), executor=executor)

        def over() -> bool:
            workers.look_after()
            return run.state != "running"

        until(over, 200.0)
        run.wait(SOON)
        assert run.jobs["deadly"].error is not None
        assert run.jobs["deadly"].error.type == "LeaseLostError"
        assert workers.deaths == 3
        assert [job.id for job in run.jobs.values() if job.state != "completed"] == ["deadly"]
        assert run.value == sum(range(1000))
    executor.close()


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_finishes_what_it_runs(valkey: Server, tmp_path: Path) -> None:
    executor = RedisExecutor(valkey.url)
    with fleet(valkey.url, tmp_path / "ledger", concurrency=3, size=1) as workers:
        run = flows.submit(killed.slow(9), executor=executor)
        until(lambda: len(workers.done()) >= 3)
        first = workers.workers[0]
        first.send_signal(signal.SIGTERM)
        assert first.wait(SOON) == 0
        begun = workers.done()
        assert all(job.state in ("completed", "waiting", "waiting_children") for job in run.jobs.values())
        assert sum(job.state == "completed" for job in run.jobs.values()) == len(begun)
        workers.look_after()
        run.wait(SOON)
        assert set(workers.done().values()) == {1}
        assert {len(job.attempts) for job in run.jobs.values()} == {1}
    executor.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_server_that_is_killed_loses_no_run_that_it_has_accepted(tmp_path: Path) -> None:
    with server(appendonly="yes", appendfsync="always") as one, fleet(one.url, tmp_path / "ledger") as workers:
        executor = RedisExecutor(one.url)
        runs = [flows.submit(killed.shapes(10, key), executor=executor, key=key) for key in map(str, range(10))]
        until(lambda: sum(workers.done().values()) > 20)
        one.kill()
        with pytest.raises(flows.UnavailableError):
            flows.submit(killed.shapes(1, "late"), executor=executor)
        one.start()
        for run in runs:
            run.wait(SOON)
            check(run, 10, workers.done())
        assert workers.deaths == 0
        executor.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_reply_that_is_lost_does_nothing_twice(valkey: Server, tmp_path: Path) -> None:
    rng = random.Random(5)
    proxy = Proxy(valkey.path)
    executor = RedisExecutor(valkey.url)
    with fleet(f"redis://127.0.0.1:{proxy.port}", tmp_path / "ledger", size=1) as workers:
        runs = [flows.submit(killed.shapes(20, str(number)), executor=executor) for number in range(10)]
        until(lambda: sum(workers.done().values()) > 10)
        for _ in range(8):
            proxy.strike(rng.choice((DROP_REPLY, CUT_REQUEST)))
            threading.Event().wait(0.05)
            proxy.strike(PASS)
            threading.Event().wait(rng.uniform(0.05, 0.2))
        for run in runs:
            run.wait(SOON)
            check(run, 20, workers.done())
            lost = [attempt for job in run.jobs.values() for attempt in job.attempts if attempt.outcome == "lost"]
            assert lost == []
    executor.close()
    proxy.close()
