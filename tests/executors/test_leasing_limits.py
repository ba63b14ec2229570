"""Limits of queues with real threads and the loop: waiting, waking, and handlers that wait for other runs."""

import asyncio
import threading
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor, MemoryRun
from flows import Queue
from tests.executors.latch import PATIENCE, Latch, gather, in_threads, private

LIMITED = "limited-outer"


def record_of(executor: MemoryExecutor, run: flows.Run[Any]) -> MemoryRun:
    record = executor.find(run_id=run.id)
    assert record is not None
    return record


@pytest.mark.parametrize(
    "slots", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(32, marks=pytest.mark.slow)]
)
def test_runs_hand_places_of_a_queue_to_each_other_until_all_have_ended(slots: int) -> None:
    executor = MemoryExecutor(f"memory://?private=1&concurrency={slots}")
    lock, inside, most = threading.Lock(), 0, 0

    def enter(change: int) -> None:
        nonlocal inside, most
        with lock:
            inside += change
            most = max(most, inside)

    @flows.task(name="limited-sync", queue=Queue(LIMITED, concurrency=3))
    def in_thread(_: int) -> None:
        enter(+1)
        enter(-1)

    @flows.task(name="limited-async", queue=Queue(LIMITED, concurrency=3))
    async def on_loop(_: int) -> None:
        enter(+1)
        await asyncio.sleep(0)
        enter(-1)

    def execute(task: flows.Task[..., Any]) -> None:
        assert (
            flows.execute(gather(*[task(number).out for number in range(200)]), executor=executor).state == "completed"
        )

    in_threads([lambda task=task: execute(task) for task in (in_thread, on_loop) * 4])  # type: ignore[misc]
    assert most <= 3
    seen = executor.store.limit_of(LIMITED)
    assert seen is not None
    assert (seen.active, seen.runs_waiting) == (0, 0)


def test_a_run_that_waits_for_a_place_is_woken_when_the_holder_is_done_or_gone() -> None:
    executor, held, free = private(), Latch(), Latch()

    @flows.task(name="holder", queue=Queue(LIMITED, concurrency=1))
    def hold() -> None:
        held.open()
        free.wait()

    holder = flows.submit(hold(), executor=executor)
    held.wait()
    waiting = flows.submit(gather.using(queue=LIMITED)(1), executor=executor)
    record = record_of(executor, waiting)
    assert record.held_back(0) == f"waits for a free place on queue {LIMITED} (1 of 1 active)"
    free.open()
    assert waiting.wait(PATIENCE).value == [1]
    assert holder.wait(PATIENCE).state == "completed"


def test_cancelling_the_holder_lets_the_next_run_go_on() -> None:
    executor, held = private(), Latch()

    @flows.task(name="holder", queue=Queue(LIMITED, concurrency=1))
    async def hold() -> None:
        held.open()
        await asyncio.Event().wait()

    holder = flows.submit(hold(), executor=executor)
    held.wait()
    waiting = flows.submit(gather.using(queue=LIMITED)(1), executor=executor)
    holder.cancel()
    assert waiting.wait(PATIENCE).value == [1]


def test_an_interrupted_run_leaves_its_places_to_others() -> None:
    executor = private()

    @flows.task(name="interrupting", queue=Queue(LIMITED, concurrency=1))
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flows.execute(interrupt(), executor=executor)
    assert flows.submit(gather.using(queue=LIMITED)(1), executor=executor).wait(PATIENCE).value == [1]


def test_a_job_that_timed_out_in_its_thread_gives_its_place_back() -> None:
    executor, free = private(), Latch()
    stuck = flows.task(free.wait, name="stuck", queue=Queue(LIMITED, concurrency=1), timeout="20ms")
    run = flows.execute(gather.using(queue=LIMITED)(flows.optional(stuck().out)), executor=executor)
    free.open()
    assert run.value[0].type == "JobTimeoutError"


# Handlers that wait for other runs


def test_waiting_for_a_run_that_needs_the_place_one_holds_is_refused() -> None:
    executor = private()
    inner = gather.using(queue=LIMITED)

    @flows.task(name="outer", queue=Queue(LIMITED, concurrency=1))
    def outer() -> Any:
        return flows.execute(inner(1), executor=executor).value

    @flows.task(name="async-outer", queue=Queue(LIMITED, concurrency=1))
    async def async_outer() -> Any:
        return (await flows.aexecute(inner(1), executor=executor)).value

    for job in (outer(), async_outer()):
        with pytest.raises(flows.FlowFailedError, match="needs a place on queue 'limited-outer'") as caught:
            flows.execute(job, executor=executor)
        assert isinstance(caught.value.__cause__, flows.RunError)
    assert flows.execute(inner(2), executor=executor).value == [2], "and the place is free again"


def test_two_handlers_deep_that_hold_all_places_are_refused_and_one_more_place_is_enough() -> None:
    executor = private()

    def nested(places: int) -> flows.Run[Any]:
        @flows.task(name="innermost", queue=Queue(LIMITED, concurrency=places))
        def innermost() -> str:
            return "reached"

        @flows.task(name="middle", queue=Queue(LIMITED, concurrency=places))
        def middle() -> Any:
            return flows.execute(innermost(), executor=executor).value

        @flows.task(name="outer", queue=Queue(LIMITED, concurrency=places))
        def outer() -> Any:
            return flows.execute(middle(), executor=executor).value

        return flows.execute(outer(), executor=executor, check=False)

    assert nested(2).state == "failed"
    assert nested(3).value == "reached"


def test_a_handler_may_wait_with_a_limit_and_for_runs_of_other_queues() -> None:
    executor = private()

    @flows.task(name="patient", queue=Queue(LIMITED, concurrency=1))
    def patient() -> Any:
        blocked = flows.submit(gather.using(queue=LIMITED)(1), executor=executor)
        with pytest.raises(flows.WaitTimeoutError):
            blocked.wait("5ms")
        return flows.execute(gather(blocked.state), executor=executor).value, blocked

    (states, blocked) = flows.execute(patient(), executor=executor).value
    assert states == ["running"]
    assert blocked.wait(PATIENCE).value == [1], "the place is free now"
