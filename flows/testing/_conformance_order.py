"""Conformance: what runs before what, how much at once, and what the run tells of it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import Any

import flows
from flows.testing._conformance_kit import SOON, Suite, Where, needs
from flows.testing._conformance_results import add, give

QUEUE = "conformance-order"

ENDS = ("completed", "failed", "skipped", "cancelled")


def layered(seed: int, handler: flows.Task[..., Any], width: int = 8, depth: int = 8) -> flows.Job[Any]:
    """A DAG of *depth* layers of *width* jobs, each on up to three of the layers below, under one root."""
    draw = random.Random(seed)
    made: list[flows.Job[Any]] = [handler() for _ in range(width)]
    layer = made
    for _ in range(depth - 1):
        layer = [handler(*(job.out for job in draw.sample(made, draw.randint(1, 3)))) for _ in range(width)]
        made = made + layer
    return handler(*(job.out for job in made))


class Orders(Suite):
    """Order, overlap, events, progress, scale."""

    def test_a_job_starts_when_all_it_depends_on_has_ended(self, executor: Where) -> None:
        ended: set[str] = set()
        early: list[str] = []

        @flows.task(queue=QUEUE)
        def watch(*results: str) -> str:
            early.extend(result for result in results if result not in ended)
            ended.add(flows.current().job_id)
            return flows.current().job_id

        for seed in range(5):
            ended.clear()
            run = flows.execute(layered(seed, watch), executor=executor)
            assert (early, len(ended)) == ([], len(run.jobs))

    def test_order_only_edges_order_and_pass_nothing(self, executor: Where) -> None:
        done: list[str] = []
        mark = flows.task(lambda *_: done.append(flows.current().job_id), name="mark", queue=QUEUE)
        first, second = mark.using(id="first")(), mark.using(id="second")()
        flows.execute(mark.using(id="last")().after(second.after(first), first), executor=executor)
        assert done == ["first", "second", "last"]

    @needs("overlap")
    def test_a_level_is_no_barrier(self, executor: Where) -> None:
        chain_ended = threading.Event()
        slow = flows.task(lambda: chain_ended.wait(SOON), name="slow", queue=QUEUE)
        finish = flows.task(lambda _: chain_ended.set(), name="finish", queue=QUEUE)
        run = flows.execute(give([slow().out, finish(give(give(1).out).out).out]), executor=executor)
        assert run.value == [True, None]

    @needs("overlap")
    def test_handlers_that_block_overlap(self, executor: Where) -> None:
        both = threading.Barrier(2)
        meet = flows.task(lambda: both.wait(SOON), name="meet", queue=QUEUE)
        assert sorted(flows.execute(give([meet().out, meet().out]), executor=executor).value) == [0, 1]

    @needs("overlap")
    def test_async_handlers_overlap_with_each_other_and_with_threads(self, executor: Where) -> None:
        met = threading.Event()

        @flows.task(queue=QUEUE)
        async def wait_async() -> bool:
            return await asyncio.to_thread(met.wait, SOON)

        wait_sync = flows.task(lambda: met.wait(SOON), name="wait_sync", queue=QUEUE)

        @flows.task(queue=QUEUE)
        async def release() -> None:
            met.set()

        run = flows.execute(give([wait_async().out, wait_sync().out, release().out]), executor=executor)
        assert run.value == [True, True, None]

    def test_no_more_handlers_run_at_once_than_the_executor_is_given(self, executor: Where) -> None:
        running, most, lock, enough = 0, 0, threading.Lock(), threading.Event()
        limit = self.concurrency

        @flows.task(queue=QUEUE)
        def occupy() -> None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
                if most >= limit:
                    enough.set()
            enough.wait(SOON)
            with lock:
                running -= 1

        flows.execute(give([occupy().out for _ in range(2 * limit + 1)]), executor=executor)
        assert most == limit

    def test_async_handlers_and_threads_share_the_places_of_the_executor(self, executor: Where) -> None:
        running, most, lock = 0, 0, threading.Lock()

        def enter(change: int) -> None:
            nonlocal running, most
            with lock:
                running += change
                most = max(most, running)

        @flows.task(queue=QUEUE)
        async def on_loop() -> None:
            enter(+1)
            for _ in range(100):
                await asyncio.sleep(0)
            enter(-1)

        @flows.task(queue=QUEUE)
        def in_thread() -> None:
            enter(+1)
            threading.Event().wait(0.002)
            enter(-1)

        jobs = [task().out for _ in range(max(20, self.concurrency)) for task in (on_loop, in_thread)]
        flows.execute(give(jobs), executor=executor)
        assert most <= self.concurrency

    @needs("one at a time", "priorities")
    def test_jobs_are_taken_up_by_priority_then_first_come(self, executor: Where) -> None:
        assert self._taken(executor, [{"priority": number} for number in (2, 0, 9, 1, 2, 0)]) == [1, 5, 3, 0, 4, 2]

    @needs("one at a time", "lifo")
    def test_a_lifo_job_goes_before_those_that_wait(self, executor: Where) -> None:
        assert self._taken(executor, [{}, {"lifo": True}, {}, {"lifo": True}]) == [3, 1, 0, 2]

    @staticmethod
    def _taken(executor: Where, options: list[dict[str, Any]]) -> list[int]:
        taken: list[int] = []
        take = flows.task(taken.append, name="take", queue=QUEUE)
        jobs = [take.using(**given)(place) for place, given in enumerate(options)]
        flows.execute(give([job.out for job in jobs]), executor=executor)
        return taken

    @needs("events")
    def test_events_tell_the_run_in_order(self, executor: Where) -> None:
        root = layered(7, add)
        plan = flows.plan(root)
        run = flows.execute(root, executor=executor)
        events = list(run.events())
        place = {(event.kind, event.job): position for position, event in enumerate(events)}
        assert (events[0].kind, events[-1].kind) == ("submitted", "ended")
        assert Counter(event.kind for event in events) == {
            "submitted": 1, "started": len(plan), "completed": len(plan), "ended": 1,
        }  # fmt: skip
        assert all(event.attempt == 1 for event in events if event.kind == "started")
        for child, dependent in plan.graph.edges:
            assert place["completed", child] < place["started", dependent]
        for job_id in plan.order:
            assert place["started", job_id] < place["completed", job_id]
        assert [event.at for event in events] == sorted(event.at for event in events)

    @needs("events")
    def test_events_can_be_followed_while_the_run_goes_on(self, executor: Where) -> None:
        going_on = threading.Event()

        @flows.task(queue=QUEUE)
        def hold() -> None:
            flows.current().progress({"done": 1})
            assert going_on.wait(SOON)

        run = flows.submit(add(give(1).out).after(hold()), executor=executor)
        kinds = []
        for event in run.events():
            kinds.append((event.kind, event.job))
            if event.kind == "progress":
                assert (event.detail, run.state) == ({"done": 1}, "running")
                going_on.set()
        assert (kinds[0], kinds[-1]) == (("submitted", None), ("ended", None))
        assert kinds.index(("progress", "hold")) < kinds.index(("completed", "hold"))

    @needs("events")
    def test_each_job_has_one_start_an_attempt_and_one_end(self, executor: Where) -> None:
        calls: list[int] = []

        @flows.task(queue=QUEUE, attempts=3)
        def third_time() -> None:
            calls.append(1)
            if len(calls) < 3:
                raise ValueError(len(calls))

        run = flows.execute(give(1).after(third_time()), executor=executor)
        told = [(event.kind, event.attempt) for event in run.events() if event.job == "third_time"]
        assert told == [
            ("started", 1), ("retrying", 1), ("started", 2), ("retrying", 2), ("started", 3), ("completed", 3),
        ]  # fmt: skip

    def test_progress_and_logs_are_kept_with_the_job(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        def talk() -> None:
            context = flows.current()
            for step in range(3):
                context.progress(step)
                context.log(f"step {step}")

        run = flows.execute(give(talk().out), executor=executor)
        view, silent = run.jobs["talk"], run.jobs["conformance-give"]
        assert (view.progress, tuple(view.logs)) == (2, ("step 0", "step 1", "step 2"))
        assert (silent.progress, tuple(silent.logs)) == (None, ())

    def test_a_long_chain(self, executor: Where) -> None:
        job = add()
        for _ in range(self.wide - 1):
            job = add(job.out, 1)
        run = flows.execute(job, executor=executor)
        assert (run.value, len(run.jobs)) == (self.wide - 1, self.wide)

    def test_a_wide_fan_in(self, executor: Where) -> None:
        run = flows.execute(add(*(add(number).out for number in range(self.wide))), executor=executor)
        assert run.value == sum(range(self.wide))

    def test_a_wide_fan_out(self, executor: Where) -> None:
        source = add(1)
        run = flows.execute(add(*(add(source.out, number).out for number in range(self.wide))), executor=executor)
        assert run.value == sum(range(self.wide)) + self.wide

    def test_many_small_runs_leave_nothing_behind_that_stops_the_next(self, executor: Where) -> None:
        values = [flows.execute(add(add(number).out, 1), executor=executor).value for number in range(200)]
        assert values == list(range(1, 201))
