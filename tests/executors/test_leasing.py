"""Crews: what threads, an event loop and a monitor make of one run's handlers. They meet at latches, never by luck."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from flows import Job
from tests.executors.latch import PATIENCE, Latch, agather, gather, private


@pytest.fixture(autouse=True)
def own_store_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._registry._tasks", {})
    monkeypatch.setenv("FLOWS_EXECUTOR", "memory://?private=1")


def started_async(started: Latch) -> Job[Any]:
    """An async job that opens *started* and then waits for ever."""

    @flows.task(name="endless")
    async def endless() -> None:
        started.open()
        await asyncio.Event().wait()

    return endless()


# Cancelling


def test_cancelling_before_an_async_handler_has_begun_ends_the_run() -> None:
    for _ in range(50):
        run = flows.submit(started_async(Latch()))
        run.cancel("changed my mind")
        assert run.wait(PATIENCE).state == "cancelled"


def test_cancelling_interrupts_running_async_handlers_and_starts_no_more() -> None:
    begun: list[int] = []
    enough = Latch()

    @flows.task
    async def endless(number: int) -> None:
        begun.append(number)
        if len(begun) == 4:
            enough.open()
        await asyncio.Event().wait()

    run = flows.submit(
        gather(*[endless(number).out for number in range(40)]), executor="memory://?private=1&concurrency=4"
    )
    enough.wait()
    run.cancel("that will do")
    assert run.wait(PATIENCE).state == "cancelled"
    assert sorted(begun) == [0, 1, 2, 3]
    assert {job.state for job in run.jobs.values()} == {"cancelled"}
    assert run.jobs["endless"].error is not None
    with pytest.raises(flows.RunCancelledError, match="that will do"):
        run.check()


def test_a_sync_handler_learns_of_the_cancel_from_its_context() -> None:
    started, cancelled = Latch(), Latch()

    @flows.task
    def long() -> str:
        started.open()
        cancelled.wait()
        assert flows.current().cancelled
        flows.current().check()
        return "not reached"

    run = flows.submit(gather(long().out))
    started.wait()
    run.cancel()
    assert run.state == "running", "it ends when its handlers have"
    cancelled.open()
    assert run.wait(PATIENCE).state == "cancelled"
    assert [job.state for job in run.jobs.values()] == ["cancelled", "cancelled"]
    assert run.jobs["long"].error is not None
    assert run.jobs["long"].error.state == "cancelled"


def test_a_handler_that_completes_all_the_same_has_completed() -> None:
    started, cancelled = Latch(), Latch()

    @flows.task
    def deaf() -> int:
        started.open()
        cancelled.wait()
        return 7

    run = flows.submit(gather(deaf().out))
    started.wait()
    run.cancel()
    cancelled.open()
    run.wait(PATIENCE)
    assert (run.jobs["deaf"].state, run.jobs["deaf"].value, run.state) == ("completed", 7, "cancelled")


def test_a_failure_that_a_cancel_overtakes_is_recorded_as_cancelled() -> None:
    executor = private()
    store = executor.store
    submitted, exchange = Latch(), store.exchange

    @flows.task(attempts=5)
    def flaky() -> None:
        submitted.wait()
        raise ValueError("once more")

    def held_up(loop: str, seq: int, settles: Any, *rest: Any) -> Any:
        if settles:
            run.cancel("too late")
        return exchange(loop, seq, settles, *rest)

    store.exchange = held_up
    run: flows.Run[Any] = flows.submit(gather(flaky().out), executor=executor)
    submitted.open()
    run.wait(PATIENCE)
    job = run.jobs["flaky"]
    assert (job.state, run.state) == ("cancelled", "cancelled")
    assert job.error is not None
    assert job.error.state == "cancelled"
    (attempt,) = job.attempts
    assert (attempt.outcome, str(attempt.error)) == ("cancelled", "ValueError: flaky: once more")
    assert attempt.error is not None
    assert attempt.error.state == "cancelled"


def test_an_async_handler_that_swallows_its_cancellation_completes() -> None:
    started = Latch()

    @flows.task
    async def stubborn() -> str:
        started.open()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done my way"

    run = flows.submit(agather(stubborn().out))
    started.wait()
    run.cancel()
    run.wait(PATIENCE)
    assert (run.jobs["stubborn"].state, run.jobs["latch-agather"].state) == ("completed", "cancelled")


def test_a_handler_that_cancels_itself_has_failed() -> None:
    @flows.task
    async def odd() -> None:
        raise asyncio.CancelledError

    run = flows.execute(agather(odd().out), check=False)
    assert run.state == "failed"
    assert run.jobs["odd"].error is not None
    assert "cancelled, and not by the run" in run.jobs["odd"].error.message


# Timeouts


@pytest.fixture
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._leasing._loop.GRACE_SECONDS", 0.02)


def deaf_for_ever(swallowed: Latch, timeout: float) -> Job[Any]:
    async def deaf() -> None:
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.open()

    return flows.task(name="deaf", timeout=timeout)(deaf)()


@pytest.mark.usefixtures("short_grace")
def test_a_timed_out_handler_that_swallows_its_cancellation_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "flows"):
        run = flows.execute(deaf_for_ever(Latch(), 0.01), check=False)
    assert run.state == "failed"
    assert run.jobs["deaf"].error is not None
    assert str(run.jobs["deaf"].error) == "JobTimeoutError: deaf: timeout of 0.01 s passed"
    assert "'deaf' does not end though it was cancelled" in caplog.text


@pytest.mark.usefixtures("short_grace")
def test_collecting_a_handler_that_was_given_up_disturbs_nobody() -> None:
    gate = Latch()

    @flows.task
    def gated() -> int:
        gate.wait()
        return 1

    deaf = deaf_for_ever(Latch(), 0.01).on_failure("ignore")
    run = flows.submit(gather(gated().out).after(deaf))
    for event in run.events():
        if event.kind == "failed":
            gc.collect()
            gate.open()
    assert run.wait(PATIENCE).value == [1]


def test_cancelling_while_a_timed_out_handler_has_its_grace_ends_the_run() -> None:
    swallowed = Latch()
    run = flows.submit(deaf_for_ever(swallowed, 0.01))
    swallowed.wait()
    run.cancel()
    assert run.wait(PATIENCE).state == "cancelled"


def test_the_result_of_a_handler_that_swallows_its_timeout_is_dropped() -> None:
    @flows.task(timeout=0.01)
    async def late() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "too late"

    run = flows.execute(late(), check=False)
    assert str(run.jobs["late"].error) == "JobTimeoutError: late: timeout of 0.01 s passed"


class Heard(logging.Handler):
    """Opens its latch when *text* is logged."""

    def __init__(self, text: str) -> None:
        super().__init__(logging.INFO)
        self.text = text
        self.latch = Latch()

    def emit(self, record: logging.LogRecord) -> None:
        if self.text in record.getMessage():
            self.latch.open()


@pytest.fixture
def dropped() -> Iterator[Latch]:
    """Opens when a late result has been dropped."""
    log, heard = logging.getLogger("flows"), Heard("late result")
    level = log.level
    log.addHandler(heard)
    log.setLevel(logging.INFO)
    yield heard.latch
    log.setLevel(level)
    log.removeHandler(heard)


def test_the_late_result_of_a_timed_out_thread_is_dropped_and_does_not_disturb_the_retry(dropped: Latch) -> None:
    retried, left = Latch(), Latch()

    @flows.task(timeout=0.05, attempts=50)
    def slow() -> str:
        if flows.current().attempt > 1:
            retried.open()
            left.wait()
            return "retry"
        retried.wait()
        assert flows.current().cancelled, "it can know that it was given up"
        left.open()
        return "late"

    run = flows.submit(gather(slow().out))
    assert run.wait(PATIENCE).value == ["retry"]
    dropped.wait()
    assert run.jobs["slow"].value == "retry"
    attempts = [(one.number, one.outcome) for one in run.jobs["slow"].attempts]
    assert (attempts[0], attempts[-1]) == ((1, "failed"), (len(attempts), "completed"))


def test_a_timed_out_thread_that_raises_late_changes_nothing(dropped: Latch) -> None:
    gate = Latch()

    @flows.task(timeout=0.02)
    def slow() -> None:
        gate.wait()
        raise ValueError("late")

    run = flows.execute(slow(), check=False)
    gate.open()
    dropped.wait()
    assert str(run.jobs["slow"].error) == "JobTimeoutError: slow: timeout of 0.02 s passed"


def test_wait_limits_only_the_waiting() -> None:
    gate = Latch()

    @flows.task
    def gated() -> int:
        gate.wait()
        return 5

    run = flows.submit(gather(gated().out))
    with pytest.raises(flows.WaitTimeoutError):
        run.wait(0.01)
    with pytest.raises(TimeoutError):
        run.wait("1ms")
    assert run.state == "running"
    gate.open()
    assert run.wait(PATIENCE).value == [5]
