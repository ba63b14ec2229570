"""Handlers that wait for runs: what would never end is refused, whoever of the circle comes last."""

import threading
from typing import Any

import pytest

import flows
from flows._waits import DEPTH_LIMIT, _depths, _waits
from tests.executors.latch import PATIENCE, Latch, private


@flows.task(name="waits-leaf")
def leaf(value: int = 0) -> int:
    return value


@flows.task(name="waits-async-leaf")
async def async_leaf(value: int = 0) -> int:
    return value


@pytest.fixture(autouse=True)
def _nobody_waits_any_more() -> Any:
    yield
    assert (_waits, _depths) == ({}, {})


def error_of(run: flows.Run[Any], job: str) -> str:
    run = run.wait(PATIENCE)
    assert run.state == "failed"
    return str(run.jobs[job].error)


def test_a_handler_that_waits_for_its_own_run_fails() -> None:
    executor = private()

    @flows.task(name="waits-self")
    def wait() -> None:
        flows.get(flows.current().run_id, executor=executor).wait()

    assert "would wait for ever" in error_of(flows.submit(wait(), executor=executor), "waits-self")


def test_an_async_handler_that_awaits_its_own_run_fails() -> None:
    executor = private()

    @flows.task(name="waits-self")
    async def wait() -> None:
        await flows.get(flows.current().run_id, executor=executor)

    assert "would wait for ever" in error_of(flows.submit(wait(), executor=executor), "waits-self")


def test_a_handler_that_executes_its_own_key_fails() -> None:
    executor = private()

    @flows.task(name="waits-key")
    def again() -> None:
        flows.execute(again(), executor=executor, key="k")

    run = flows.submit(again(), executor=executor, key="k")
    assert "would wait for ever" in error_of(run, "waits-key")


def test_two_runs_that_wait_for_each_other_fail() -> None:
    executor = private()
    both = threading.Barrier(2)

    @flows.task(name="waits-other")
    def wait(other: str) -> None:
        both.wait(PATIENCE)
        flows.get(key=other, executor=executor).wait()

    runs = [flows.submit(wait(other), executor=executor, key=key) for key, other in (("a", "b"), ("b", "a"))]
    states = [run.wait(PATIENCE).state for run in runs]
    assert "failed" in states  # the last of them, or both; to wait for a run that has failed is no failure
    errors = [str(run.jobs["waits-other"].error) for run in runs if run.state == "failed"]
    assert all("would wait for ever" in error for error in errors)


def test_a_wait_with_a_limit_is_no_circle() -> None:
    executor = private()

    @flows.task(name="waits-self")
    def wait() -> str:
        with pytest.raises(flows.WaitTimeoutError):
            flows.get(flows.current().run_id, executor=executor).wait("1ms")
        return "went on"

    assert flows.execute(wait(), executor=executor).value == "went on"


@pytest.mark.slow
def test_handlers_may_wait_for_other_runs_at_some_depth() -> None:
    executor = private()

    @flows.task(name="waits-down")
    def down(depth: int) -> int:
        return depth and flows.execute(down(depth - 1), executor=executor).value + 1

    @flows.task(name="waits-async-down")
    async def async_down(depth: int) -> int:
        return depth and (await flows.aexecute(async_down(depth - 1), executor=executor)).value + 1

    assert flows.execute(down(20), executor=executor).value == 20
    assert flows.execute(async_down(DEPTH_LIMIT), executor=executor).value == DEPTH_LIMIT


def test_a_recursion_without_end_fails() -> None:
    executor = private()
    deepest = 0

    @flows.task(name="waits-endless")
    async def endless(depth: int) -> None:
        nonlocal deepest
        deepest = max(deepest, depth)
        await flows.aexecute(endless(depth + 1), executor=executor)

    error_of(flows.submit(endless(0), executor=executor), "waits-endless")
    assert deepest == DEPTH_LIMIT


def test_an_async_handler_that_holds_up_the_loop_others_need_fails() -> None:
    """The async handler blocks the loop for a sync run, in which a handler waits for an async one."""
    executor = private()

    @flows.task(name="waits-middle")
    def middle() -> int:
        return flows.execute(async_leaf(4), executor=executor).value

    @flows.task(name="waits-blocks")
    async def blocks() -> int:
        return flows.execute(middle(), executor=executor).value

    assert "block the event loop" in error_of(flows.submit(blocks(), executor=executor), "waits-blocks")
    assert flows.execute(async_leaf(3), executor=executor).value == 3


def test_an_async_handler_that_would_hold_up_the_loop_fails() -> None:
    """As before, but the async run is being waited for already when the loop would be blocked."""
    executor = private()
    begun, go_on = Latch(), Latch()
    middles: list[flows.Run[int]] = []

    @flows.task(name="waits-late")
    async def late() -> int:
        begun.open()
        await go_on.passed()
        return 1

    @flows.task(name="waits-middle")
    def middle() -> int:
        return flows.execute(late(), executor=executor).value

    @flows.task(name="waits-blocks")
    async def blocks() -> int:
        middles.append(flows.submit(middle(), executor=executor))
        await begun.passed()
        try:
            return middles[0].wait().value
        finally:
            go_on.open()

    assert "block the event loop" in error_of(flows.submit(blocks(), executor=executor), "waits-blocks")
    assert middles[0].wait(PATIENCE).value == 1


def test_an_async_handler_may_wait_for_a_sync_run() -> None:
    executor = private()

    @flows.task(name="waits-blocks")
    async def blocks() -> int:
        return flows.execute(leaf(2), executor=executor).value + flows.submit(leaf(3), executor=executor).wait().value

    assert flows.execute(blocks(), executor=executor).value == 5
