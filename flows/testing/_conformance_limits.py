"""Conformance: limits of queues, which hold over all runs of an executor and all its workers."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import timedelta
from typing import Any

import pytest

import flows
from flows import Queue
from flows._executors import executor_of
from flows.testing._conformance_kit import SOON, Oops, Suite, Where, lacks, needs
from flows.testing._conformance_results import give

PERIOD = 0.3
"""Seconds that a rate of these tests counts in: a few of them, and the test is still quick."""

ROUNDED = timedelta(milliseconds=30)
"""Instants of attempts may be wrong by as much: on a busy machine a store hears late of how long ago one began."""


class Gauge:
    """Counts who is inside, and how many were at most."""

    def __init__(self) -> None:
        self.most = 0
        self.calls = 0
        self._inside = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.calls += 1
            self._inside += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


def many(job: flows.Task[..., Any], count: int) -> flows.Job[Any]:
    return give.using(queue="conformance-limits-free")([job().out for _ in range(count)])


def together(*calls: Any) -> None:
    """Make all calls at once, each in a thread, and see them return."""
    threads = [threading.Thread(target=call, daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
        assert not thread.is_alive()


def check_rate(runs: list[flows.Run[Any]], queue: str, count: int) -> int:
    """Each start is a period after the one that stands *count* before it; returns how many there were."""
    views = [view for run in runs for view in run.jobs.values() if view.queue == queue]
    starts = sorted(attempt.start for view in views for attempt in view.attempts)
    gaps = [later - first for first, later in zip(starts, starts[count:], strict=False)]
    assert min(gaps) >= timedelta(seconds=PERIOD) - ROUNDED
    return len(starts)


class Limits(Suite):
    """Concurrency and rate of queues."""

    @needs("limits")
    def test_no_more_of_a_queue_run_at_once_than_it_allows(self, executor: Where) -> None:
        gauge = Gauge()

        @flows.task(queue=Queue("conformance-two", concurrency=2))
        def sync_job() -> None:
            with gauge:
                threading.Event().wait(0.002)

        @flows.task(queue="conformance-two")
        async def async_job() -> None:
            with gauge:
                await asyncio.sleep(0)
                await asyncio.to_thread(threading.Event().wait, 0.002)

        run = flows.execute(
            give([many(sync_job, 25).out, many(async_job, 25).out, many(sync_job, 25).out]), executor=executor
        )
        assert (run.state, gauge.calls) == ("completed", 75)
        assert gauge.most <= 2

    @needs("limits")
    def test_the_places_of_a_queue_are_used(self, executor: Where) -> None:
        width = min(3, self.concurrency)
        meet = threading.Barrier(width)
        met = flows.task(lambda: meet.wait(SOON), name="met", queue=Queue("conformance-three", concurrency=width))
        assert flows.execute(many(met, 4 * width), executor=executor).state == "completed"

    @needs("limits")
    def test_concurrent_runs_share_the_places_of_a_queue(self, executor: Where) -> None:
        executor = executor_of(executor)
        gauge = Gauge()
        runs: list[flows.Run[Any]] = []

        # Each run states the limits: one that knows the queue by its name only may come before they are in force.
        shared = Queue("conformance-shared", concurrency=2)

        @flows.task(queue=shared)
        def work() -> None:
            with gauge:
                threading.Event().wait(0.001)

        @flows.task(queue=shared)
        async def await_work() -> None:
            with gauge:
                await asyncio.to_thread(threading.Event().wait, 0.001)

        def execute(job: flows.Task[..., Any]) -> None:
            runs.append(flows.execute(many(job, 30), executor=executor))

        calls = [lambda job=job: execute(job) for job in (work, await_work, work, await_work)]
        together(*calls)
        assert [run.state for run in runs] == ["completed"] * 4
        assert gauge.calls == 120
        assert gauge.most <= 2

    @needs("limits")
    def test_runs_that_need_two_limited_queues_do_not_block_each_other(self, executor: Where) -> None:
        executor = executor_of(executor)
        one = flows.task(lambda *_: None, name="one", queue=Queue("conformance-left", concurrency=1))
        other = flows.task(lambda *_: None, name="other", queue=Queue("conformance-right", concurrency=1))

        def flow(first: flows.Task[..., Any], second: flows.Task[..., Any]) -> flows.Job[Any]:
            return give([second(first().out).out for _ in range(20)])

        runs: list[flows.Run[Any]] = []
        together(
            lambda: runs.append(flows.execute(flow(one, other), executor=executor)),
            lambda: runs.append(flows.execute(flow(other, one), executor=executor)),
        )
        assert [run.state for run in runs] == ["completed"] * 2

    @needs("limits", "overlap")
    def test_a_full_queue_holds_no_other_queue_up(self, executor: Where) -> None:
        free = threading.Event()
        full = flows.task(lambda: free.wait(SOON), name="full", queue=Queue("conformance-full", concurrency=1))
        release = flows.task(lambda _: free.set(), name="release", queue="conformance-limits-free")
        others = many(give.using(queue="conformance-limits-free"), 0)
        run = flows.execute(give([many(full, 10).out, release(others.out).out]), executor=executor)
        assert run.value[0] == [True] * 10

    @needs("limits")
    def test_attempts_that_fail_give_their_place_back(self, executor: Where) -> None:
        gauge = Gauge()

        @flows.task(queue=Queue("conformance-failing", concurrency=1, attempts=2))
        def fail() -> None:
            with gauge:
                raise Oops("again")

        run = flows.execute(many(fail, 5), executor=executor, check=False)
        assert (run.state, gauge.most) == ("failed", 1)
        assert gauge.calls == 10

    @needs("limits")
    def test_starts_keep_to_the_rate(self, executor: Where) -> None:
        queue = Queue("conformance-rate", rate=f"4/{PERIOD}s")
        hit = flows.task(lambda: time.monotonic(), name="hit", queue=queue)
        begun = time.monotonic()
        run = flows.execute(many(hit, 10), executor=executor)
        assert check_rate([run], "conformance-rate", 4) == 10
        assert max(run.value) - begun >= 2 * PERIOD

    @needs("limits")
    def test_retries_and_concurrent_runs_keep_to_the_rate_together(self, executor: Where) -> None:
        executor = executor_of(executor)
        queue = Queue("conformance-rate-shared", rate=f"5/{PERIOD}s")
        runs: list[flows.Run[Any]] = []

        @flows.task(queue=queue, attempts=2)
        async def once_more() -> None:
            if flows.current().attempt == 1:
                raise Oops("at first")

        hit = flows.task(lambda: None, name="hit", queue=queue)
        together(
            lambda: runs.append(flows.execute(many(once_more, 4), executor=executor)),
            lambda: runs.append(flows.execute(many(hit, 6), executor=executor)),
        )
        assert check_rate(runs, "conformance-rate-shared", 5) == 14

    @lacks("limits")
    def test_without_limits_a_job_of_a_limited_queue_is_refused(self, executor: Where) -> None:
        for number, limits in enumerate(({"concurrency": 1}, {"rate": "1/s"})):
            queue = Queue(f"conformance-refused-{number}", **limits)  # type: ignore[arg-type]
            with pytest.raises(flows.UnsupportedError):
                flows.execute(give.using(queue=queue)(1), executor=executor)
