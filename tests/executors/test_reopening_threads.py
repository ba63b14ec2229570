"""Reopened runs, lists and deadlines among real threads: late results, many callers, cancels at the worst moment."""

import asyncio
import dataclasses
import threading
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from tests.executors.latch import PATIENCE, Latch, gather, in_threads, private
from tests.sizes import size


class Moody:
    """A task that fails until it is told to be good, and counts its calls."""

    def __init__(self, name: str = "moody") -> None:
        self.good = threading.Event()
        self.calls = 0
        self.task = flows.task(self._run, name=name)

    def _run(self, *values: Any) -> int:
        self.calls += 1
        if not self.good.is_set():
            raise ValueError("not yet")
        return self.calls


@pytest.mark.parametrize("background", [True, False])
def test_a_run_is_retried_again_and_again_the_moment_it_ends(background: bool) -> None:
    moody, rounds = Moody(), size(150, 50)
    flow = gather(moody.task().out, moody.task.using(id="other")().out)
    executor = private()
    run = flows.submit(flow, executor=executor) if background else flows.execute(flow, executor=executor, check=False)
    for number in range(rounds):
        run.wait(PATIENCE)
        assert run.state == "failed", number
        run.retry()
    moody.good.set()
    assert run.wait(PATIENCE).state in ("failed", "completed")
    assert run.retry().wait(PATIENCE).state == "completed"
    assert len(run.jobs["moody"].attempts) >= rounds


def test_events_drive_a_reopened_run_and_tell_all_of_it() -> None:
    moody = Moody()
    run = flows.execute(moody.task(), executor=private(), check=False)
    for number in range(100):
        kinds = [event.kind for event in run.retry().events()]
        assert kinds.count("reopened") == number + 1
        assert kinds[-1] == "ended"
        assert kinds.count("ended") == number + 2


def test_awaiting_drives_a_reopened_run() -> None:
    async def main() -> int:
        run = await flows.asubmit(moody.task(), executor=private())
        for _ in range(100):
            await asyncio.wait_for(run, PATIENCE)
            assert run.state == "failed"
            run.retry()
        moody.good.set()
        return (await run).value

    moody = Moody()
    assert asyncio.run(main()) == 101


def test_who_follows_the_events_of_a_run_may_retry_it_at_the_last() -> None:
    moody = Moody()
    run = flows.submit(moody.task(), executor=private())
    for _ in range(100):
        assert list(run.events())[-1].kind == "ended"
        run.retry()
    moody.good.set()
    assert run.wait(PATIENCE).value == moody.calls


def test_one_of_many_reruns_at_once_wins() -> None:
    calls: list[int] = []
    run = flows.execute(flows.task(lambda: calls.append(1), name="count")(), executor=private())
    refused: list[str] = []

    def rerun() -> None:
        try:
            run.rerun("count")
        except flows.errors.RunError as error:
            refused.append(str(error))

    in_threads([rerun] * 8)
    assert run.wait(PATIENCE).state == "completed"
    assert (len(calls), len(refused)) == (2, 7)
    assert all("not ended" in text for text in refused)


def test_many_waiters_work_off_one_reopened_run_together() -> None:
    moody = Moody()
    run = flows.execute(gather(moody.task().out), executor=private(), check=False)
    moody.good.set()
    run.retry()
    in_threads([lambda: run.wait(PATIENCE)] * 6)
    assert (run.value, moody.calls) == ([2], 2)


def lift_deadline(run: flows.Run[Any]) -> None:
    """Let the next go take its time."""
    record: Any = run._record
    record.options = dataclasses.replace(record.options, timeout=None)
    record.deadline_at = None


def test_the_late_result_of_a_thread_of_the_first_go_is_refused() -> None:
    zombie, started, over = Latch(), threading.Event(), threading.Event()
    goes: list[int] = []

    def slow() -> str:
        goes.append(1)
        number = len(goes)
        if number == 1:
            started.set()
            zombie.wait()
            over.set()
        return f"go {number}"

    run = flows.submit(gather(flows.task(slow, name="slow")().out), executor=private(), timeout="1s")
    assert started.wait(PATIENCE)
    run.wait(PATIENCE)
    assert (run.state, run.jobs["slow"].state) == ("cancelled", "cancelled")
    lift_deadline(run)
    assert run.retry().wait(PATIENCE).value == ["go 2"]
    zombie.open()
    assert over.wait(PATIENCE)
    assert run.rerun("slow").wait(PATIENCE).value == ["go 3"]
    assert [attempt.outcome for attempt in run.jobs["slow"].attempts] == ["cancelled", "completed", "completed"]


def test_the_late_result_does_not_end_the_attempt_that_runs_beside_it() -> None:
    first, second = Latch(), Latch()
    begun = [threading.Event(), threading.Event()]
    goes: list[int] = []

    def slow() -> int:
        number = len(goes)
        goes.append(1)
        begun[number].set()
        (first, second)[number].wait()
        return number

    run = flows.submit(flows.task(slow, name="slow")(), executor=private(), timeout="1s")
    assert begun[0].wait(PATIENCE)
    run.wait(PATIENCE)
    lift_deadline(run)
    run.retry()
    waiter = threading.Thread(target=run.wait, daemon=True)
    waiter.start()
    assert begun[1].wait(PATIENCE)
    first.open()
    assert run.state == "running"
    second.open()
    waiter.join(PATIENCE)
    assert run.wait(PATIENCE).value == 1


@pytest.mark.parametrize("size", [10, 3000])
@pytest.mark.parametrize("limit", [None, 3])
def test_a_list_cancelled_while_it_grows_ends_and_can_be_finished(size: int, limit: int | None) -> None:
    calls: list[int] = []
    lock, submitted = threading.Lock(), Latch()

    def item(number: int) -> int:
        submitted.wait()
        with lock:
            calls.append(number)
        if len(calls) == 5:
            run.cancel("five are enough")
        return number

    source = flows.task(lambda: list(range(size)), name="source")
    listed = flows.each(flows.task(item, name="item"), source().out, limit=limit)
    run = flows.submit(gather(listed.out), executor=private())
    submitted.open()
    run.wait(PATIENCE)
    assert run.state == "cancelled"
    assert run.jobs[listed].state == "cancelled"
    done = {view.id for view in run.jobs.values() if view.state == "completed"}
    before = len(calls)
    assert run.retry().wait(PATIENCE).value == [list(range(size))]
    assert len(calls) - before == size + 1 - len(done)


@pytest.mark.slow
def test_cancelling_from_another_thread_at_any_moment_of_an_expansion_ends_the_run() -> None:
    begun = threading.Event()

    def add_one(number: int) -> int:
        begun.set()
        return number

    add = flows.task(add_one, name="add")
    for _ in range(20):
        begun.clear()
        run = flows.submit(flows.each(add, list(range(2000))), executor=private())
        assert begun.wait(PATIENCE)
        run.cancel("enough")
        assert run.wait(PATIENCE).state in ("cancelled", "completed")
        assert run.retry().wait(PATIENCE).value == list(range(2000))


def test_an_interrupted_run_can_be_retried() -> None:
    strikes = [True]

    def interrupted() -> str:
        if strikes:
            strikes.clear()
            raise KeyboardInterrupt
        return "fine"

    executor = private()
    with pytest.raises(KeyboardInterrupt):
        flows.execute(flows.task(interrupted, name="interrupted")(), executor=executor, key="k")
    run = flows.get(key="k", executor=executor)
    assert run.state == "cancelled"
    assert run.retry().wait(PATIENCE).value == "fine"


def test_a_run_with_edges_left_to_sweep_can_be_reopened() -> None:
    moody = Moody()
    many = [flows.task(lambda value: value, name="one").using(id=str(n)) for n in range(1200)]
    source = moody.task()
    run = flows.execute(gather(*[one(source.out).out for one in many]), executor=private(), check=False)
    moody.good.set()
    assert run.retry().wait(PATIENCE).value == [2] * 1200


def test_a_process_wide_store_forgets_a_run_that_was_reopened_when_its_handle_goes() -> None:
    executor = MemoryExecutor("memory://?private=1")
    moody = Moody()
    run = flows.execute(moody.task(), executor=executor, check=False)
    moody.good.set()
    run.retry().wait(PATIENCE)
    run_id = run.id
    assert executor.find(run_id=run_id) is not None
    assert not executor.store._loops
    assert not executor.store._deadlines
    assert not executor.store._unswept


@pytest.mark.parametrize("kind", ["async", "blocking", "late"])
def test_a_deadline_ends_a_run_whatever_its_handlers_do(kind: str) -> None:
    latch = Latch()

    async def endless() -> None:
        await asyncio.Event().wait()

    def blocking() -> None:
        latch.wait()

    def late() -> None:
        while not flows.current().cancelled:
            flows.current().progress(0)

    task: Any = flows.task({"async": endless, "blocking": blocking, "late": late}[kind])
    run = flows.submit(gather(task().out, task.using(id="second")().out), executor=private(), timeout="40ms")
    run.wait(PATIENCE)
    latch.open()
    assert run.state == "cancelled"
    with pytest.raises(flows.RunCancelledError, match="timeout"):
        run.check()
