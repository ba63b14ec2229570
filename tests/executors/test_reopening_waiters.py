"""Those who wait for a run, read it, or work on it while others end it and take it up again."""

import asyncio
import re
import threading
from typing import Any

import pytest

import flows
from flows import Job
from flows._explain import explain_run
from flows._state import WAITING
from flows._verbs import End, Settle, Want
from tests.executors.latch import PATIENCE, Latch, gather, in_threads, private


@flows.task(name="waiters-one")
def one() -> int:
    return 1


def gated() -> tuple[Job[int], Latch]:
    """A job that waits at a latch."""
    latch = Latch()

    @flows.task(name="waiters-gate")
    def gate() -> int:
        latch.wait()
        return 1

    return gate(), latch


@flows.task(name="waiters-numbers")
def numbers(count: int = 40) -> list[int]:
    return list(range(count))


def test_who_reads_events_goes_on_with_a_run_that_was_reopened_before_they_looked() -> None:
    job, latch = gated()
    run = flows.submit(job, executor=private())
    events = run.events()
    kinds: list[str] = [next(events).kind]
    latch.open()
    run.wait(PATIENCE)
    run.rerun("waiters-gate")
    in_threads([lambda: kinds.extend(event.kind for event in events)])
    assert kinds.count("ended") == 2


def test_who_awaits_goes_on_with_a_run_that_was_reopened_before_they_looked() -> None:
    async def main() -> None:
        run = flows.submit(job, executor=private())
        waiter = asyncio.ensure_future(wait(run))
        await asyncio.sleep(0)
        latch.open()
        run.wait(PATIENCE)  # the loop stands still meanwhile
        run.rerun("waiters-gate")
        assert (await asyncio.wait_for(waiter, PATIENCE)).value == 1

    async def wait(run: flows.Run[int]) -> flows.Run[int]:
        return await run

    job, latch = gated()
    asyncio.run(main())


def test_who_reads_events_on_a_loop_goes_on_with_a_run_that_was_reopened_before_they_looked() -> None:
    async def main() -> list[str]:
        run = flows.submit(job, executor=private())
        events = run.aevents()
        kinds: list[str] = [(await anext(events)).kind]
        latch.open()
        run.wait(PATIENCE)
        run.rerun("waiters-gate")
        return kinds + [event.kind async for event in events]

    job, latch = gated()
    kinds = asyncio.run(asyncio.wait_for(main(), PATIENCE))
    assert kinds.count("ended") == 2


@pytest.mark.parametrize("end", ["completed", "cancelled"])
def test_what_the_crew_of_a_runs_first_life_claims_by_mistake_goes_to_that_of_the_second(end: str) -> None:
    executor, looked = private(), threading.Event()
    job, latch = gated()
    run = flows.submit(job, executor=executor)
    record: Any = run._record
    former = record.crew
    latch.open()
    run.wait(PATIENCE).rerun("waiters-gate")
    store, exchange = executor.store, executor.store.exchange
    (grant,) = exchange("late", 1, (), Want(1, run=record)).grants

    def watched(loop: str, *call: Any) -> Any:
        reply = exchange(loop, *call)
        looked.set()
        return reply

    store.exchange = watched
    waiting = threading.Thread(target=run.wait, daemon=True)
    waiting.start()
    assert looked.wait(PATIENCE)  # and found nothing
    if end == "cancelled":
        run.cancel("meanwhile")
    now = store.clock()
    exchange("late", 2, (Settle(grant, End.RELEASED, None, now, now),), Want(0, run=record))
    former.turn()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()
    assert run.state == end


def test_attempts_can_be_read_between_an_attempt_and_its_retry() -> None:
    run = flows.execute(one(), executor=private())
    record: Any = run._record
    record.state.state[0] = WAITING  # waiting again, and the attempt not yet filed with the earlier ones
    assert record.state_of(0) == "waiting"
    assert list(run.jobs["waiters-one"].attempts) == []


class Growing:
    """A record whose run takes up the items of a list just when somebody begins to look at it."""

    def __init__(self, record: Any, before: Any) -> None:
        self._record, self._plans = record, [before]

    @property
    def plan(self) -> Any:
        return self._plans.pop() if self._plans else self._record.plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)


def test_a_run_that_begins_to_grow_while_it_is_read() -> None:
    @flows.task(name="waiters-fail")
    def fail(number: int) -> None:
        raise ValueError(number)

    flow = gather(flows.each(fail, numbers(3).out).out)
    run = flows.execute(flow, executor=private(), check=False)
    record: Any = Growing(run._record, flows.plan(flow))
    assert re.search(r"because waiters-fail\[(\d)\] failed: ValueError: \1", explain_run(record))


def test_items_of_a_limited_list_that_take_long_run_beside_each_other() -> None:
    never, lock = threading.Event(), threading.Lock()
    active = [0, 0]

    @flows.task(name="waiters-long")
    def long(number: int) -> int:
        with lock:
            active[0] += 1
            active[1] = max(active)
        never.wait(0.002)
        with lock:
            active[0] -= 1
        return number

    assert len(flows.execute(flows.each(long, list(range(100)), limit=5), executor=private()).value) == 100
    assert 3 <= active[1] <= 5
