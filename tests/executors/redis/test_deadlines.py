"""Deadlines of runs: noticed when they come, whoever works on the run or does not, without anybody asking for them."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

import flows
from executors.redis import RedisExecutor, _waiting
from tests.executors.redis.groups import until
from tests.executors.redis.servers import Server

QUEUE = "punctual"
HOUR = 3600.0
SOON = 20.0

let_go = threading.Event()


@flows.task(name="punctual-thread", queue=QUEUE)
def in_a_thread() -> bool:
    return let_go.wait(4 * SOON)


@flows.task(name="punctual-loop", queue=QUEUE)
async def on_the_loop() -> None:
    await asyncio.Event().wait()


@flows.task(name="punctual-nobody", queue="punctual-nobody")
def for_nobody() -> None: ...


@pytest.fixture
def executor(valkey: Server) -> Iterator[RedisExecutor]:
    """One whose workers look after leases so rarely that it is of no help here."""
    one = RedisExecutor(valkey.url)
    one.lease_seconds = HOUR
    let_go.clear()
    yield one
    let_go.set()
    one.close()


def started(executor: RedisExecutor, concurrency: int = 8) -> flows.Worker:
    worker = flows.Worker(executor, queues=[QUEUE], concurrency=concurrency, grace=0.1)
    worker.start()
    return worker


def ended_in_time(executor: RedisExecutor, run: flows.Run[object], timeout: float) -> None:
    run.wait(SOON)
    facts = executor.reader.facts(run.id)
    assert (run.state, facts.reason) == ("cancelled", "timeout")
    assert facts.ended_at is not None
    assert facts.ended_at - facts.submitted_at >= timeout, "not before it"


def test_a_run_ends_at_its_deadline_wherever_its_jobs_are(executor: RedisExecutor) -> None:
    worker = started(executor)
    jobs = (on_the_loop(), in_a_thread(), for_nobody(), on_the_loop.using(delay="1h")())
    for timeout, job in enumerate(jobs, 1):  # one after the other: who has looked is told when to look again
        ended_in_time(executor, flows.submit(job, executor=executor, timeout=0.05 * timeout), 0.05 * timeout)
    let_go.set()
    worker.stop()


def test_a_worker_that_is_full_looks_after_the_deadlines_of_others(executor: RedisExecutor) -> None:
    worker = started(executor, concurrency=1)
    held = flows.submit(on_the_loop.using(id="held")(), executor=executor)
    until(lambda: held.jobs["held"].state == "active", "it runs")
    later = flows.submit(in_a_thread(), executor=executor, timeout=0.3)
    sooner = flows.submit(in_a_thread(), executor=executor, timeout=0.1)
    ended_in_time(executor, sooner, 0.1)
    ended_in_time(executor, later, 0.3)
    assert held.state == "running"
    held.cancel("enough")
    held.wait(SOON)
    worker.stop()


def test_who_waits_sees_to_a_deadline_where_there_is_no_worker(
    executor: RedisExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_waiting, "LOOK_SECONDS", 0.02)
    with pytest.raises(flows.RunCancelledError, match="timeout"):
        flows.execute(for_nobody(), executor=executor, timeout=0.05)


def test_a_worker_that_comes_later_finds_what_is_overdue(executor: RedisExecutor) -> None:
    run = flows.submit(for_nobody(), executor=executor, timeout=0.01)
    worker = started(executor)
    ended_in_time(executor, run, 0.01)
    run.retry()  # with a deadline of its own
    ended_in_time(executor, run, 0.01)
    worker.stop()
