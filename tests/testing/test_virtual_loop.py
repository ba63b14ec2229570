"""What async handlers may expect of the event loop: all of asyncio that needs no outside world."""

import asyncio
from typing import Any

import pytest

import flows
from flows.testing import EffectLedger, Fault, check_all, simulate
from tests.testing import shop


def run(handler: Any, *, faults: Any = (), **options: Any) -> Any:
    return simulate(flows.task(handler, name="loop-task", **options)(), faults=faults)


def test_timeouts_and_groups_and_queues_work_by_the_virtual_clock() -> None:
    async def handler() -> list[object]:
        loop, found = asyncio.get_running_loop(), list[object]()
        begun = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await shop.nap.fn(60.0)
        queue: asyncio.Queue[int] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(queue.put(number))
                group.create_task(shop.nap.fn(10.0 * number))
        found.extend([await queue.get() for _ in range(3)])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 5)
        done, _ = await asyncio.wait([asyncio.ensure_future(shop.nap.fn(1.0))])
        return [*found, len(done), loop.time() - begun]

    trace = run(handler)
    assert trace.run.value == [0, 1, 2, 1, 56.0]
    assert trace.seconds == 56.0


def test_blocking_calls_handed_to_threads_run_here() -> None:
    async def handler() -> int:
        return await asyncio.to_thread(lambda: 7)

    assert run(handler).run.value == 7


def test_context_variables_and_the_job_are_those_of_the_handler() -> None:
    async def handler() -> str:
        await shop.nap.fn(1.0)
        return flows.current().job_id

    assert run(handler).run.value == "loop-task"


def test_a_handler_that_swallows_its_cancellation_is_given_up_as_in_production() -> None:
    async def stubborn() -> None:
        while True:
            try:
                await shop.nap.fn(1000.0)
            except asyncio.CancelledError:
                continue

    trace = run(stubborn, timeout="10s", attempts=2)
    assert [attempt.outcome for attempt in trace.attempts] == ["retrying", "failed"]
    assert trace.seconds == 30.0  # 10 s and a grace of 5 s, twice
    check_all(trace)


def test_handlers_that_clean_up_when_cancelled_may_take_their_time() -> None:
    cleaned: list[float] = []

    async def tidy() -> None:
        try:
            await shop.nap.fn(100.0)
        finally:
            cleaned.append(await shop.nap.fn(2.0))

    trace = run(tidy, faults=[Fault.cancel(at=10)])
    assert (trace.run.state, trace.seconds, cleaned) == ("cancelled", 12.0, [2.0])


def test_nothing_that_a_dead_worker_had_begun_goes_on() -> None:
    ledger = EffectLedger()

    async def handler() -> int:
        try:
            ledger.record("begin", key="k")
            await shop.nap.fn(5.0)
            ledger.record("end", key="k")
        finally:
            if not ledger.effects[1:]:
                ledger.record("cleanup of the dead", key="k")
        return 1

    trace = run(handler, faults=[Fault.crash("loop-task", at="after_effect")])
    assert trace.run.value == 1
    assert [effect.name for effect in ledger.effects] == ["begin", "begin", "end"]


def test_tasks_that_a_handler_leaves_behind_end_with_the_simulation() -> None:
    closed: list[str] = []

    async def behind() -> None:
        try:
            await shop.nap.fn(1e6)
        finally:
            closed.append("behind")

    async def handler() -> int:
        handler.kept = asyncio.create_task(behind())  # type: ignore[attr-defined]
        await shop.nap.fn(1.0)
        return 1

    assert run(handler).run.value == 1
    assert closed == ["behind"]
