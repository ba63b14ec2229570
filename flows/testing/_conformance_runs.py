"""Conformance: runs as their callers hold them: waiting, finding, keys, cancelling, async callers."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import SOON, Oops, Suite, Where, needs, states
from flows.testing._conformance_results import add, give

QUEUE = "conformance-runs"


class Hold:
    """A task that holds its job until it is let go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.let_go = threading.Event()
        self.task = flows.task(self._hold, name="hold", queue=QUEUE)

    def _hold(self) -> str:
        self.started.set()
        while not self.let_go.wait(0.005):
            flows.current().check()
        return "held"


class Runs(Suite):
    """`submit`, `wait`, `get`, keys, `cancel`, async callers."""

    def test_submit_returns_before_the_run_has_ended(self, executor: Where) -> None:
        hold = Hold()
        job = hold.task()
        root = give(job.out)
        run = flows.submit(root, executor=executor)
        assert hold.started.wait(SOON)
        assert (run.state, states(run)) == ("running", {"hold": "active", "conformance-give": "waiting_children"})
        with pytest.raises(flows.NoValueError, match="conformance-give"):
            _ = run.value
        with pytest.raises(flows.NoValueError, match="hold"):
            _ = run.jobs[job].value
        hold.let_go.set()
        assert run.wait() is run
        assert (run.state, run.value, run.jobs[root].state) == ("completed", "held", "completed")

    def test_waiting_can_be_limited_and_the_run_goes_on(self, executor: Where) -> None:
        hold = Hold()
        run = flows.submit(hold.task(), executor=executor)
        with pytest.raises(flows.WaitTimeoutError, match=run.id):
            run.wait("10ms")
        with pytest.raises(TimeoutError):
            run.wait(0)
        hold.let_go.set()
        assert run.wait(SOON).value == "held"
        assert run.wait(0).value == "held"

    def test_runs_are_found_by_id(self, executor: Where) -> None:
        executor = self._object(executor)
        run = flows.execute(give(1), executor=executor)
        other = flows.execute(give(1), executor=executor)
        found = flows.get(run.id, executor=executor)
        assert (found.id, found.value, found.key) == (run.id, 1, None)
        assert other.id != run.id
        with pytest.raises(flows.UnknownRunError, match="nowhere"):
            flows.get("nowhere", executor=executor)

    def test_a_run_is_named_after_its_flow_and_has_a_trace(self, executor: Where) -> None:
        run = flows.execute(flows.flow(lambda: give(1), name="named"), executor=executor)
        assert (run.name, len(run.trace_id), int(run.trace_id, 16) > 0) == ("named", 32, True)
        assert run.id in repr(run)

    def test_a_plan_runs_as_the_flow_it_was_made_from(self, executor: Where) -> None:
        root = give("then")
        plan = flows.plan(root)
        root.after(Hold().task())
        assert flows.execute(plan, executor=executor).value == "then"
        assert flows.execute(plan, executor=executor).value == "then"

    def test_runs_at_the_same_time_do_not_mix(self, executor: Where) -> None:
        def one(number: int) -> int:
            job = add(number)
            for _ in range(20):
                job = add(job.out, number)
            return int(flows.execute(job, executor=executor).value)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(one, range(40))) == [21 * number for number in range(40)]

    @needs("keys")
    def test_a_key_names_one_run(self, executor: Where) -> None:
        executor = self._object(executor)
        calls: list[int] = []
        count = flows.task(lambda: calls.append(1), name="count", queue=QUEUE)
        first = flows.execute(count(), executor=executor, key="order:1")
        second = flows.execute(count(), executor=executor, key="order:1")
        assert (first.id, first.key, calls) == (second.id, "order:1", [1])
        assert flows.get(key="order:1", executor=executor).id == first.id
        assert flows.execute(count(), executor=executor, key="order:2").id != first.id
        assert flows.execute(count(), executor=executor).id != first.id
        with pytest.raises(flows.UnknownRunError, match="order:3"):
            flows.get(key="order:3", executor=executor)

    @needs("keys")
    def test_the_key_of_a_failed_run_gives_its_failure_again(self, executor: Where) -> None:
        executor = self._object(executor)
        calls: list[int] = []

        @flows.task(queue=QUEUE)
        def fail() -> None:
            calls.append(1)
            raise Oops("once")

        for _ in range(2):
            with pytest.raises(flows.FlowFailedError, match="once"):
                flows.execute(fail(), executor=executor, key="k")
        assert calls == [1]

    @needs("keys")
    def test_a_key_attaches_to_a_run_that_is_going_on(self, executor: Where) -> None:
        executor, hold = self._object(executor), Hold()
        run = flows.submit(hold.task(), executor=executor, key="k")
        again = flows.submit(hold.task(), executor=executor, key="k")
        assert (again.id, again.state) == (run.id, "running")
        hold.let_go.set()
        assert (again.wait().value, run.wait().value) == ("held", "held")

    @needs("keys")
    @pytest.mark.parametrize("other", ["data", "task", "id", "edges", "policy"])
    def test_a_key_of_another_flow_is_refused(self, executor: Where, other: str) -> None:
        executor = self._object(executor)
        flows.execute(give(1), executor=executor, key="k")
        flow = {
            "data": give(2),
            "task": add(1),
            "id": give.using(id="me")(1),
            "edges": give(1).after(add(1)),
            "policy": give(1).on_failure("ignore"),
        }[other]
        with pytest.raises(flows.IdempotencyConflictError, match="'k'"):
            flows.execute(flow, executor=executor, key="k")
        assert flows.get(key="k", executor=executor).value == 1

    @needs("keys", "timeouts")
    def test_the_key_of_a_flow_holds_whatever_its_options(self, executor: Where) -> None:
        executor = self._object(executor)
        run = flows.execute(give(1), executor=executor, key="k")
        again = give.using(attempts=3, timeout=9, priority=2, queue="conformance-2")(1)
        assert flows.execute(again, executor=executor, key="k").id == run.id

    @needs("keys")
    def test_of_concurrent_submits_of_one_key_one_runs(self, executor: Where) -> None:
        executor = self._object(executor)
        calls: list[int] = []
        together = threading.Barrier(8)
        count = flows.task(lambda: calls.append(1), name="count", queue=QUEUE)

        def submit(_: int) -> str:
            together.wait(SOON)
            return flows.execute(count(), executor=executor, key="k").id

        with ThreadPoolExecutor(8) as pool:
            ids = set(pool.map(submit, range(8)))
        assert (len(ids), calls) == (1, [1])

    @needs("keys", "sharing")
    def test_the_key_of_a_run_is_in_the_keys_of_its_jobs(self, executor: Where) -> None:
        look = flows.task(lambda: flows.current().idempotency_key, name="look", queue=QUEUE)
        run = flows.execute(
            give([look().out, look().out, look.using(idempotency_key="mine")().out]), executor=executor, key="k"
        )
        assert run.value == ["k/look", "k/look#2", "mine"]
        assert run.jobs["look#2"].idempotency_key == "k/look#2"

    @needs("cancel")
    def test_a_cancelled_run_ends_and_says_why(self, executor: Where) -> None:
        hold = Hold()
        run = flows.submit(give([hold.task().out, give(1).out]), executor=executor)
        assert hold.started.wait(SOON)
        run.cancel("changed my mind")
        run.cancel("again")
        run.wait(SOON)
        assert (run.state, run.jobs["hold"].state, run.jobs["conformance-give"].state) == ("cancelled",) * 3
        with pytest.raises(flows.RunCancelledError, match="changed my mind"):
            run.check()
        with pytest.raises(flows.RunCancelledError, match="changed my mind"):
            _ = run.value

    @needs("cancel")
    def test_cancelling_stops_async_handlers(self, executor: Where) -> None:
        started, stopped = threading.Event(), threading.Event()

        @flows.task(queue=QUEUE)
        async def endless() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        run = flows.submit(endless(), executor=executor)
        assert started.wait(SOON)
        run.cancel("not needed")
        assert run.wait(SOON).state == "cancelled"
        assert stopped.is_set()
        with pytest.raises(flows.RunCancelledError, match="not needed"):
            run.check()

    @needs("cancel", "delays")
    def test_what_has_not_started_is_cancelled(self, executor: Where) -> None:
        run = flows.submit(give(give.using(id="much later", delay="24h")(1).out), executor=executor)
        run.cancel("no longer needed")
        run.wait(SOON)
        assert set(states(run).values()) == {"cancelled"}
        assert [list(view.attempts) for view in run.jobs.values()] == [[], []]
        error = run.jobs["much later"].error
        assert error is not None
        assert (error.state, error.message) == ("cancelled", "no longer needed")

    @needs("cancel")
    def test_cancelling_an_ended_run_changes_nothing(self, executor: Where) -> None:
        run = flows.execute(give(1), executor=executor)
        run.cancel("too late")
        assert (run.state, run.value) == ("completed", 1)

    def test_async_callers_run_flows_too(self, executor: Where) -> None:
        async def main() -> list[Any]:
            first = await flows.aexecute(give(1), executor=executor)
            submitted = await flows.asubmit(give(2), executor=executor)
            second = await submitted
            several = await asyncio.gather(*(flows.aexecute(give(n), executor=executor) for n in (3, 4)))
            return [first.value, second is submitted, second.value, [run.value for run in several]]

        assert asyncio.run(main()) == [1, True, 2, [3, 4]]

    def test_an_async_caller_keeps_its_loop(self, executor: Where) -> None:
        hold = Hold()

        async def main() -> str:
            running = asyncio.ensure_future(flows.aexecute(hold.task(), executor=executor))
            assert await asyncio.to_thread(hold.started.wait, SOON)
            hold.let_go.set()
            return str((await running).value)

        assert asyncio.run(main()) == "held"

    def test_execute_works_inside_a_running_loop(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        async def on_loop(value: int) -> int:
            await asyncio.sleep(0)
            return value + 1

        own_loop = flows.task(lambda value: asyncio.run(on_loop.fn(value)), name="own_loop", queue=QUEUE)

        async def main() -> Any:
            return flows.execute(own_loop(on_loop(give(1).out).out), executor=executor).value

        assert asyncio.run(main()) == 3

    def test_async_errors_are_those_of_execute(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        def oops() -> None:
            raise IndexError("none")

        with pytest.raises(flows.FlowFailedError, match="IndexError"):
            asyncio.run(flows.aexecute(oops(), executor=executor))
        assert asyncio.run(flows.aexecute(oops(), executor=executor, check=False)).state == "failed"

    @needs("cancel")
    def test_cancelling_an_async_caller_cancels_its_run(self, executor: Where) -> None:
        executor, hold = self._object(executor), Hold()

        async def main() -> None:
            running = asyncio.ensure_future(flows.aexecute(hold.task(), executor=executor, key="k"))
            assert await asyncio.to_thread(hold.started.wait, SOON)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

        asyncio.run(main())
        assert flows.get(key="k", executor=executor).wait(SOON).state == "cancelled"

    @needs("events")
    def test_async_callers_follow_events(self, executor: Where) -> None:
        async def main() -> list[str]:
            run = await flows.asubmit(give(1), executor=executor)
            return [event.kind async for event in run.aevents()]

        assert asyncio.run(main()) == ["submitted", "started", "completed", "ended"]

    @staticmethod
    def _object(executor: Where) -> Where:
        """The executor itself, so that several calls reach one store even where its URL says ``private``."""
        from flows._executors import executor_of

        return executor_of(executor)
