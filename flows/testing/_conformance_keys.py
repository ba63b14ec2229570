"""Conformance: what is done once. Keys of runs and how long they hold; results shared under keys of jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import flows
from flows import Job, Opts, Run, Task
from flows.testing._conformance_kit import SOON, Oops, Suite, Where, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-keys"
THREADS = 100


class Counted:
    """A task that counts its calls, and may be held, or fail."""

    def __init__(self, name: str = "counted", fails: Callable[[int], bool] = lambda call: False) -> None:
        self.calls: list[Any] = []
        self.started = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()
        self.fails = fails
        self.task: Task[..., Any] = flows.task(self._run, name=name, queue=QUEUE)

    def _run(self, value: Any = None) -> Any:
        self.calls.append(value)
        self.started.set()
        while not self.let_go.wait(0.005):
            flows.current().check()
        if self.fails(len(self.calls)):
            raise Oops(f"call {len(self.calls)} fails")
        return [value, len(self.calls)]


class Keys(Suite):
    """Keys of runs: one run, its end again and again, for as long as it was asked."""

    @needs("keys")
    def test_a_hundred_submits_at_once_make_one_run(self, executor: Where) -> None:
        executor, once, twice = self._object(executor), Counted("once"), Counted("twice")
        together = threading.Barrier(THREADS)

        def submit(number: int) -> tuple[str, Any]:
            together.wait(SOON)
            flow = twice.task.using(id="last")([once.task(1).out, twice.task(2).out])
            if number % 2:
                run = flows.submit(flow, executor=executor, key="k").wait(SOON)
            else:
                run = flows.execute(flow, executor=executor, key="k")
            return run.id, run.state

        with ThreadPoolExecutor(THREADS) as pool:
            ends = set(pool.map(submit, range(THREADS)))
        assert (len(ends), next(iter(ends))[1]) == (1, "completed")
        assert (len(once.calls), len(twice.calls)) == (1, 2)

    @needs("keys")
    def test_a_failure_that_a_key_gives_again_says_what_to_do(self, executor: Where) -> None:
        executor, broken = self._object(executor), Counted(fails=lambda call: True)
        for _ in range(3):
            with pytest.raises(flows.FlowFailedError, match=r"(?s)call 1 fails.*'k'.*run\.retry\(\)"):
                flows.execute(broken.task(), executor=executor, key="k")
        assert flows.submit(broken.task(), executor=executor, key="k").wait(SOON).state == "failed"
        assert len(broken.calls) == 1

    @needs("keys", "cancel")
    def test_a_cancelled_run_stays_so_under_its_key(self, executor: Where) -> None:
        executor, held = self._object(executor), Counted()
        held.let_go.clear()
        run = flows.submit(held.task(), executor=executor, key="k")
        assert held.started.wait(SOON)
        run.cancel("not now")
        run.wait(SOON)
        with pytest.raises(flows.RunCancelledError, match=r"(?s)not now.*run\.retry\(\)"):
            flows.execute(held.task(), executor=executor, key="k")
        assert len(held.calls) == 1

    @needs("keys")
    def test_a_conflict_names_the_run_both_fingerprints_and_the_job(self, executor: Where) -> None:
        executor = self._object(executor)
        ours, theirs = give(give.using(id="inner")(2).out), give(give.using(id="inner")(1).out)
        run = flows.execute(theirs, executor=executor, key="k")
        with pytest.raises(flows.IdempotencyConflictError, match="'inner'") as caught:
            flows.submit(ours, executor=executor, key="k")
        for part in (run.id, flows.plan(ours).fingerprint[:12], flows.plan(theirs).fingerprint[:12]):
            assert part in str(caught.value)

    @needs("keys")
    def test_a_run_past_its_retention_is_not_run_again_while_its_key_holds(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        run = flows.execute(counted.task(1), executor=executor, key="k", keep=0)
        assert run.value == [1, 1], "a handle that is held reads on"
        uses: list[Callable[[], Run[Any]]] = [
            lambda: flows.execute(counted.task(1), executor=executor, key="k"),
            lambda: flows.submit(counted.task(1), executor=executor, key="k"),
            lambda: flows.get(key="k", executor=executor),
        ]
        for use in uses:
            with pytest.raises(flows.ResultExpiredError, match=f"(?s){run.id}.*'k'"):
                use()
        with pytest.raises(flows.UnknownRunError):
            flows.get(run.id, executor=executor)
        with pytest.raises(flows.IdempotencyConflictError):
            flows.execute(counted.task(2), executor=executor, key="k")
        assert counted.calls == [1]

    @needs("keys")
    def test_failed_runs_are_kept_by_their_own_measure(self, executor: Where) -> None:
        executor, broken = self._object(executor), Counted(fails=lambda call: True)
        flows.execute(broken.task(), executor=executor, key="kept", keep=0, check=False)
        flows.execute(broken.task(), executor=executor, key="gone", keep_failed=0, check=False)
        assert flows.get(key="kept", executor=executor).state == "failed"
        with pytest.raises(flows.ResultExpiredError):
            flows.get(key="gone", executor=executor)

    @needs("keys")
    def test_a_key_is_free_again_when_its_time_is_over(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        first = flows.execute(counted.task(1), executor=executor, key="k", key_ttl=0)
        second = flows.execute(counted.task(2), executor=executor, key="k")
        assert (first.id != second.id, counted.calls) == (True, [1, 2])
        assert flows.get(key="k", executor=executor).id == second.id
        assert flows.get(first.id, executor=executor).value == [1, 1]

    @needs("keys")
    def test_the_options_of_the_first_submit_stand(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        run = flows.execute(counted.task(1), executor=executor, key="k")
        flows.execute(counted.task(1), executor=executor, key="k", keep=0, key_ttl=0)
        assert flows.execute(counted.task(1), executor=executor, key="k").id == run.id

    @needs("keys")
    def test_of_a_flow_s_ended_runs_the_newest_are_kept(self, executor: Where) -> None:
        executor, other = self._object(executor), Counted("other")
        flows.execute(other.task(), executor=executor, key="other")
        for number in range(5):
            flows.execute(give(number), executor=executor, key=f"k{number}", keep_count=2)
        assert [flows.get(key=key, executor=executor).value for key in ("k3", "k4")] == [3, 4]
        assert flows.get(key="other", executor=executor).value == [None, 1]
        for number in range(3):
            with pytest.raises(flows.ResultExpiredError):
                flows.get(key=f"k{number}", executor=executor)

    @staticmethod
    def _object(executor: Where) -> Where:
        """The executor itself, so that several calls reach one store even where its URL says ``private``."""
        from flows._executors import executor_of

        return executor_of(executor)


class SharedResults(Keys):
    """Keys of jobs: one result for all jobs of a key, whatever run or flow they are in."""

    @needs("sharing")
    def test_a_second_job_of_a_key_takes_the_result_of_the_first(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="payment:1")
        both = flows.execute(give([pay(7).out, pay.using(id="again")(7).out]), executor=executor)
        assert both.value == [[7, 1], [7, 1]]
        other = flows.execute(flows.flow(lambda: give(pay(7).out), name="another flow"), executor=executor)
        keyed = flows.execute(pay.using(id="third")(value=7), executor=executor, **self._keyed())
        literal = flows.execute(
            Job("counted", data={"value": 7}, opts=Opts(idempotency_key="payment:1")), executor=executor
        )
        assert (other.value, keyed.value, literal.value, counted.calls) == ([7, 1], [7, 1], [7, 1], [7])

    @needs("sharing")
    def test_a_job_that_takes_a_result_makes_no_attempt(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="k")
        first = flows.execute(pay(), executor=executor)
        job = flows.execute(give(pay().out), executor=executor).jobs["counted"]
        assert (job.state, job.value, list(job.attempts), job.error, job.worker) == (
            "completed", [None, 1], [], None, None
        )  # fmt: skip
        assert (job.idempotency_key, len(first.jobs["counted"].attempts)) == ("k", 1)

    @needs("sharing", "events")
    def test_events_tell_of_a_result_that_was_taken(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="k")
        first = flows.execute(pay(), executor=executor)
        told = [event for event in flows.execute(pay(), executor=executor).events() if event.job == "counted"]
        assert [(event.kind, event.attempt) for event in told][-2:] == [("replayed", None), ("completed", None)]
        assert first.id in str(told[-2].detail)

    @needs("sharing")
    def test_a_second_job_of_a_key_waits_while_the_first_is_open(self, executor: Where) -> None:
        executor, held = self._object(executor), Counted()
        held.let_go.clear()
        pay = held.task.using(idempotency_key="k")
        first = flows.submit(pay(1), executor=executor)
        assert held.started.wait(SOON)
        others = [flows.submit(give(pay(1).out), executor=executor) for _ in range(4)]
        with pytest.raises(flows.WaitTimeoutError):
            others[0].wait("50ms")
        held.let_go.set()
        assert [run.wait(SOON).value for run in (first, *others)] == [[1, 1]] * 5
        assert held.calls == [1]

    @needs("sharing")
    def test_a_job_runs_itself_when_the_first_of_its_key_has_failed(self, executor: Where) -> None:
        executor, flaky = self._object(executor), Counted(fails=lambda call: call <= 2)
        pay = flaky.task.using(idempotency_key="k", attempts=2)
        assert flows.execute(pay(1), executor=executor, check=False).state == "failed"
        assert flows.execute(pay(1), executor=executor).value == [1, 3]
        assert flows.execute(pay(1), executor=executor).value == [1, 3]

    @needs("sharing", "cancel")
    def test_a_job_runs_itself_when_the_first_of_its_key_was_cancelled(self, executor: Where) -> None:
        executor, held = self._object(executor), Counted()
        held.let_go.clear()
        pay = held.task.using(idempotency_key="k")
        first = flows.submit(pay(1), executor=executor)
        assert held.started.wait(SOON)
        second = flows.submit(pay(1), executor=executor)
        first.cancel()
        first.wait(SOON)
        held.let_go.set()
        assert (second.wait(SOON).value, len(held.calls)) == ([1, 2], 2)

    @needs("sharing")
    def test_the_attempts_of_the_first_job_are_its_own(self, executor: Where) -> None:
        executor, flaky = self._object(executor), Counted(fails=lambda call: call < 3)
        pay = flaky.task.using(idempotency_key="k", attempts=3)
        run = flows.execute(give([pay(1).out, pay(1).out]), executor=executor)
        assert (run.value, len(flaky.calls)) == ([[1, 3], [1, 3]], 3)

    @needs("sharing")
    @pytest.mark.parametrize("other", ["data", "task"])
    def test_a_job_of_a_key_that_does_something_else_fails_at_once(self, executor: Where, other: str) -> None:
        executor, counted, another = self._object(executor), Counted(), Counted("another")
        first = flows.execute(counted.task.using(idempotency_key="k")(1), executor=executor)
        options: dict[str, Any] = {"idempotency_key": "k", "attempts": 3}
        job = counted.task.using(**options)(2) if other == "data" else another.task.using(**options)(1)
        with pytest.raises(flows.FlowFailedError, match="'k'") as caught:
            flows.execute(job, executor=executor)
        (view,) = caught.value.run.jobs.values()
        assert view.error is not None
        assert (view.error.type, len(view.attempts)) == ("IdempotencyConflictError", 1)
        assert first.id in view.error.message
        assert (counted.calls, another.calls) == ([1], [])

    @needs("sharing")
    def test_the_data_of_a_key_is_what_the_handler_is_called_with(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="k")
        first = flows.execute(pay(give({"a": [1, 2], "b": 3}).out.a), executor=executor)
        assert flows.execute(pay([1, 2]), executor=executor).value == first.value == [[1, 2], 1]
        with pytest.raises(flows.FlowFailedError, match="IdempotencyConflictError"):
            flows.execute(pay(give([2, 1]).out), executor=executor)

    @needs("sharing")
    def test_data_that_cannot_be_compared_is_refused_before_anything_runs(self, executor: Where) -> None:
        counted = Counted()
        job = counted.task.using(id="me", idempotency_key="k")([counted.task(1).out, {1, 2}])
        with pytest.raises(flows.DataError, match=r"job 'me': data\.value\[1\]"):
            flows.execute(job, executor=executor)
        assert counted.calls == []

    @needs("sharing")
    def test_jobs_of_one_key_may_wait_for_each_other_in_a_flow(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="k")
        chain = pay(1).after(give(0).after(pay(1).after(pay(1))))
        assert (flows.execute(chain, executor=executor).value, counted.calls) == ([1, 1], [1])
        with pytest.raises(flows.FlowFailedError, match="IdempotencyConflictError"):
            flows.execute(counted.task.using(idempotency_key="l")(pay(1).out).after(
                counted.task.using(idempotency_key="l")(2)
            ), executor=executor)  # fmt: skip

    @needs("sharing")
    def test_async_jobs_share_results_too(self, executor: Where) -> None:
        executor = self._object(executor)
        calls: list[int] = []

        @flows.task(queue=QUEUE, idempotency_key="k")
        async def pay(value: int) -> list[int]:
            calls.append(value)
            return [value, len(calls)]

        run = flows.execute(give([pay(1).out, pay(1).out, pay(1).out]), executor=executor)
        assert (run.value, flows.execute(pay(1), executor=executor).value, calls) == ([[1, 1]] * 3, [1, 1], [1])

    @needs("sharing")
    def test_a_shared_result_is_gone_when_its_time_is_over(self, executor: Where) -> None:
        executor, counted = self._object(executor), Counted()
        pay = counted.task.using(idempotency_key="k")
        flows.execute(pay(1), executor=executor, key_ttl=0)
        assert flows.execute(pay(2), executor=executor).value == [2, 2]
        assert flows.execute(pay(2), executor=executor).value == [2, 2]

    def _keyed(self) -> dict[str, Any]:
        return {"key": "a key of the run"} if "keys" in self.capabilities else {}
