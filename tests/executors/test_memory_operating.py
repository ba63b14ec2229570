"""The memory executor for operators: pauses hold whatever runs, listings are whole, what is pruned is gone."""

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor, MemoryRun
from flows import Job, Queue
from flows._plan import Plan
from flows.executor import RunOptions
from flows.testing import ExecutorConformance

Made = Callable[[], MemoryExecutor]


@flows.task(name="op-step", queue="op-a")
def step(*below: object) -> int:
    return len(below)


@flows.task(name="op-end", queue="op-b")
def end(*below: object) -> int:
    return len(below)


@pytest.fixture
def executor() -> MemoryExecutor:
    return MemoryExecutor("memory://?private=1&concurrency=4")


def held_up(executor: MemoryExecutor, flow: Job[int], job: str) -> flows.Run[int]:
    """The run, once nothing can happen any more but for *job*, which is kept back."""
    run = flows.submit(flow, executor=executor)
    waiting = threading.Event()
    unwatch = run._record.watch(waiting.set)
    while run.jobs[job].state != "waiting":
        waiting.wait(0.05)
        waiting.clear()
    unwatch()
    return run


@pytest.mark.parametrize("size", [1, 40], ids=["small", "with a crew"])
def test_a_paused_queue_holds_up_what_comes_to_it(executor: MemoryExecutor, size: int) -> None:
    executor.pause_queue("op-b")
    run = held_up(executor, end(*[step().out for _ in range(size)]), "op-end")
    assert [(queue.name, queue.waiting, queue.paused) for queue in executor.queues()] == [("op-b", 1, True)]
    assert run.explain("op-end").endswith("queue op-b is paused")
    assert run.jobs["op-step"].state == "completed"
    executor.resume_queue("op-b")
    assert run.wait("30s").value == size
    assert executor.queues() == []


def test_the_link_of_a_chain_is_held_up_too(executor: MemoryExecutor) -> None:
    executor.pause_queue("op-a")
    job: Job[int] = step()
    for _ in range(50):
        job = end(job.out)
    run = flows.submit(job, executor=executor)
    with pytest.raises(flows.WaitTimeoutError):
        run.wait("20ms")
    assert not any(view.attempts for view in run.jobs.values())
    executor.resume_queue("op-a")
    assert run.wait("30s").state == "completed"


def test_a_pause_and_limits_do_not_touch_each_other(executor: MemoryExecutor) -> None:
    queue = Queue("op-limited", concurrency=2, rate="1000/s")
    work = flows.task(name="op-limited-step", queue=queue)(lambda: 1)
    executor.pause_queue("op-limited")
    run = held_up(executor, end(work().out), "op-limited-step")  # publishes the limits
    [seen] = [one for one in executor.queues() if one.name == "op-limited"]
    assert (seen.paused, seen.concurrency, seen.rate) == (True, 2, (1000, 1.0))
    free = flows.task(name="op-free-step", queue=Queue("op-limited"))(lambda: 2)
    other = flows.submit(end(free().out), executor=executor)  # lifts them again
    [seen] = [one for one in executor.queues() if one.name == "op-limited"]
    assert (seen.paused, seen.concurrency, seen.rate, seen.waiting) == (True, None, None, 2)
    executor.pause_queue("op-limited")
    executor.resume_queue("op-limited")
    executor.resume_queue("op-limited")
    assert (run.wait("30s").state, other.wait("30s").state) == ("completed", "completed")
    assert executor.store.limit_of("op-limited") is None


def test_limits_hold_again_after_a_pause(executor: MemoryExecutor) -> None:
    active, most, lock = 0, 0, threading.Lock()

    def count() -> None:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        with lock:
            active -= 1

    work = flows.task(name="op-counted", queue=Queue("op-narrow", concurrency=1))(count)
    run = flows.submit(end(*[work().out for _ in range(60)]), executor=executor)
    for _ in range(20):
        executor.pause_queue("op-narrow")
        executor.resume_queue("op-narrow")
    assert run.wait("30s").state == "completed"
    assert most == 1
    limit = executor.store.limit_of("op-narrow")
    assert limit is not None
    assert (limit.active, limit.paused, limit.concurrency) == (0, False, 1)


@pytest.mark.slow
def test_pauses_lose_no_job(executor: MemoryExecutor) -> None:
    over = threading.Event()

    def toggle() -> None:
        while not over.is_set():
            for queue in ("op-a", "op-b"):
                executor.pause_queue(queue)
            for queue in ("op-b", "op-a"):
                executor.resume_queue(queue)

    thread = threading.Thread(target=toggle)
    thread.start()
    try:
        for _ in range(20):
            assert flows.execute(end(*[step(step().out).out for _ in range(50)]), executor=executor).value == 50
    finally:
        over.set()
        thread.join()
    assert executor.queues() == []


def test_what_is_active_when_a_queue_is_paused_counts_in_its_limits(executor: MemoryExecutor) -> None:
    begun, go = threading.Event(), threading.Event()

    @flows.task(name="op-slow", queue="op-slow")
    def slow() -> None:
        begun.set()
        go.wait(60)

    run = flows.submit(slow(), executor=executor)
    begun.wait(60)
    executor.pause_queue("op-slow")
    [seen] = executor.queues()
    assert (seen.active, seen.paused) == (1, True)
    limit = executor.store.limit_of("op-slow")
    assert limit is not None
    assert limit.active == 1
    go.set()
    assert run.wait("30s").state == "completed"
    executor.resume_queue("op-slow")
    assert executor.store.limit_of("op-slow") is None


def test_pages_hold_every_run_once(executor: MemoryExecutor) -> None:
    runs = [flows.execute(step(), executor=executor) for _ in range(7)]
    found: list[str] = []
    cursor, pages = None, 0
    while pages == 0 or cursor is not None:
        page = executor.runs(limit=3, cursor=cursor)
        found, cursor, pages = found + [run.id for run in page.runs], page.cursor, pages + 1
    assert (found, pages) == ([run.id for run in reversed(runs)], 3)
    assert executor.runs(limit=7).cursor is None
    with pytest.raises(flows.DefinitionError):
        executor.runs(cursor="x/")


def test_pruning_goes_in_steps_oldest_first(executor: MemoryExecutor) -> None:
    runs = [flows.execute(step(), executor=executor, key=f"k{number}") for number in range(5)]
    dry = executor.prune(limit=2, dry_run=True)
    assert ([run.id for run in dry.runs], dry.more) == ([run.id for run in runs[:2]], True)
    assert executor.prune(limit=2) == dry
    assert [run.id for run in executor.prune(keep=1).runs] == [run.id for run in runs[2:4]]
    assert executor.prune(older_than=60).runs == []
    assert [run.id for run in executor.runs().runs] == [runs[4].id]
    with pytest.raises(flows.UnknownRunError):
        flows.get(runs[0].id, executor=executor)
    with pytest.raises(flows.ResultExpiredError):
        flows.execute(step(), executor=executor, key="k0")


def test_dead_letters_of_a_run_that_is_unknown_cannot_be_dropped(executor: MemoryExecutor) -> None:
    with pytest.raises(flows.UnknownRunError):
        executor.drop_dead_letters("nowhere")


def test_the_suite_sees_that_a_pruned_run_has_freed_its_key() -> None:
    class FreesKeys(MemoryExecutor):
        def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> MemoryRun:
            return super().submit(plan, dataclasses.replace(options, key_ttl=0), background=background)

    test = ExecutorConformance().test_ended_runs_are_pruned_oldest_first_and_others_never
    test(MemoryExecutor("memory://?private=1"))
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        test(FreesKeys("memory://?private=1"))


def test_the_suite_sees_that_an_executor_offers_what_it_says_to_lack() -> None:
    class NotOperated(ExecutorConformance):
        capabilities = ExecutorConformance.capabilities - {"operating"}

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        NotOperated().test_without_operating_each_verb_is_refused(MemoryExecutor("memory://?private=1"))
