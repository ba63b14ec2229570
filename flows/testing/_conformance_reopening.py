"""Conformance: doing parts of an ended run again (`retry`, `rerun`), the deadline of a run, failing fast."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import SOON, Oops, Suite, Where, needs, states
from flows.testing._conformance_results import add, give
from flows.testing._conformance_runs import Hold

QUEUE = "conformance-reopening"


class Ledger:
    """Tasks that note their calls, and fail as long as they are told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.keys: set[str] = set()
        self.bad: set[str] = set()

    def job(self, name: str, *needed: Any, **options: Any) -> flows.Job[Any]:
        """A job that takes the results of *needed* and gives its name and how often it was called."""

        def handler(*values: Any) -> str:
            self.calls.append(name)
            self.keys.add(flows.current().idempotency_key)
            if name in self.bad:
                raise Oops(f"{name} is bad")
            return f"{name}{self.calls.count(name)}"

        return flows.task(handler, name=name, queue=QUEUE, **options)(*needed)

    def taken(self) -> list[str]:
        """The calls since this was last asked."""
        calls, self.calls[:] = sorted(self.calls), []
        return calls


class Reopening(Suite):
    """`retry`, `rerun`, ``timeout=`` and ``fail_fast=`` of a run."""

    def test_a_retry_does_what_failed_again_and_nothing_that_completed(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"b"}
        a, b = ledger.job("a"), ledger.job("b")
        run = flows.execute(ledger.job("top", a.out, ledger.job("mid", b.out).out), executor=executor, check=False)
        assert (run.state, ledger.taken()) == ("failed", ["a", "b"])
        before, keys = (run.id, run.key, run.trace_id), set(ledger.keys)
        ledger.bad = set()
        assert run.retry() is run
        assert run.wait(SOON).state == "completed"
        assert ledger.taken() == ["b", "mid", "top"]
        assert (run.id, run.key, run.trace_id) == before
        assert len(ledger.keys) == 4
        assert ledger.keys >= keys
        assert [attempt.outcome for attempt in run.jobs["b"].attempts] == ["failed", "completed"]

    def test_a_retry_has_a_fresh_budget_of_attempts(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"a"}
        run = flows.execute(ledger.job("a", attempts=3), executor=executor, check=False)
        assert len(ledger.taken()) == 3
        assert run.retry().wait(SOON).state == "failed"
        assert len(ledger.taken()) == 3
        assert len(run.jobs["a"].attempts) == 6

    def test_a_retry_of_a_run_in_which_nothing_failed_changes_nothing(self, executor: Where) -> None:
        run = flows.execute(give(1), executor=executor)
        assert run.retry().state == "completed"
        assert run.wait(SOON).value == 1

    def test_failures_that_were_ignored_stay_unless_named(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"spare", "below"}
        below = ledger.job("below")
        spare = ledger.job("spare", below.out).on_failure("ignore")
        run = flows.execute(give("fine").after(spare), executor=executor)
        assert ledger.taken() == ["below"]
        ledger.bad = set()
        assert run.retry().wait(SOON).jobs["spare"].state == "failed"
        assert ledger.taken() == []
        assert run.retry("below").wait(SOON).jobs["spare"].state == "completed"
        assert (ledger.taken(), run.value) == (["below", "spare"], "fine")

    def test_a_retry_of_a_named_job_leaves_the_other_failures(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"a", "b"}
        a, b = ledger.job("a"), ledger.job("b")
        run = flows.execute(flows.flow(lambda: (a, b), name="both"), executor=executor, check=False)
        ledger.taken()
        ledger.bad = set()
        assert states(run.retry(a).wait(SOON)) == {"a": "completed", "b": "failed"}
        assert ledger.taken() == ["a"]
        with pytest.raises(flows.errors.RunError, match="rerun"):
            run.retry("a")
        with pytest.raises(KeyError, match="nobody"):
            run.retry("nobody")

    def test_skipped_dependents_are_retried_with_what_skipped_them(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"a"}
        run = flows.execute(ledger.job("b", ledger.job("a").on_failure("skip").out), executor=executor)
        assert states(run) == {"a": "failed", "b": "skipped"}
        ledger.bad = set()
        assert states(run.retry().wait(SOON)) == {"a": "completed", "b": "completed"}

    def test_a_run_that_goes_on_cannot_be_retried(self, executor: Where) -> None:
        hold = Hold()
        run = flows.submit(hold.task(), executor=executor)
        assert hold.started.wait(SOON)
        with pytest.raises(flows.errors.RunError, match="not ended"):
            run.retry()
        with pytest.raises(flows.errors.RunError, match="not ended"):
            run.rerun("hold")
        hold.let_go.set()
        assert run.wait(SOON).value == "held"

    def test_a_rerun_does_the_job_and_what_follows_again(self, executor: Where) -> None:
        ledger = Ledger()
        a, b = ledger.job("a"), ledger.job("b")
        mid = ledger.job("mid", a.out)
        run = flows.execute(ledger.job("top", mid.out, b.out), executor=executor)
        ledger.taken()
        assert run.rerun(mid).wait(SOON).state == "completed"
        assert ledger.taken() == ["mid", "top"]
        assert run.rerun("a").wait(SOON).state == "completed"
        assert ledger.taken() == ["a", "mid", "top"]
        assert len(ledger.keys) == 4

    def test_a_rerun_expands_lists_anew(self, executor: Where) -> None:
        lengths = iter([3, 1, 2])
        source = flows.task(lambda: list(range(next(lengths))), name="source", queue=QUEUE)()
        cells = flows.each(lambda n: flows.each(add, [n, 10]), source.out)
        run = flows.execute(give(cells.out), executor=executor)
        for length in (3, 1, 2):
            assert run.value == [[n, 10] for n in range(length)]
            assert len(run.jobs) == 3 + 3 * length
            if length != 2:
                run.rerun("source").wait(SOON)

    def test_a_rerun_of_an_item_leaves_the_other_items(self, executor: Where) -> None:
        ledger = Ledger()
        run = flows.execute(flows.each(lambda n: ledger.job("item", n), give([1, 2, 3]).out), executor=executor)
        ledger.taken()
        run.rerun("item[1]").wait(SOON)
        assert (ledger.taken(), len(run.value)) == (["item"], 3)

    def test_a_retry_takes_a_list_up_where_it_failed(self, executor: Where) -> None:
        ledger, good = Ledger(), threading.Event()

        def item(number: int) -> int:
            ledger.calls.append(str(number))
            if number == 2 and not good.is_set():
                raise Oops("not yet")
            return number

        task = flows.task(item, queue=QUEUE)
        run = flows.execute(flows.each(task, give(list(range(5))).out, limit=1), executor=executor, check=False)
        assert (run.state, ledger.taken()) == ("failed", ["0", "1", "2"])
        good.set()
        assert run.retry().wait(SOON).value == [0, 1, 2, 3, 4]
        assert ledger.taken() == ["2", "3", "4"]

    def test_conditions_are_judged_again(self, executor: Where) -> None:
        truths = iter([False, True])
        check = flows.task(lambda: next(truths), name="check", queue=QUEUE)()
        job = flows.when(check.out, give(1))
        run = flows.execute(job, executor=executor)
        assert run.jobs[job].state == "skipped"
        assert run.rerun(check).wait(SOON).value == 1

    @needs("keys")
    def test_a_key_finds_the_retried_run(self, executor: Where) -> None:
        executor, ledger = self._object(executor), Ledger()
        ledger.bad = {"a"}
        run = flows.execute(ledger.job("a"), executor=executor, key="k", check=False)
        ledger.bad = set()
        run.retry().wait(SOON)
        again = flows.execute(ledger.job("a"), executor=executor, key="k")
        assert (again.id, again.value, ledger.keys) == (run.id, "a2", {"k/a"})

    @needs("events")
    def test_events_tell_of_the_reopening(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"a"}
        run = flows.execute(ledger.job("a"), executor=executor, check=False)
        ledger.bad = set()
        kinds = [event.kind for event in run.retry().events()]
        assert kinds == ["submitted", "started", "failed", "ended", "reopened", "started", "completed", "ended"]
        assert (run.state, run.value) == ("completed", "a2")

    @needs("cancel")
    def test_a_cancelled_run_can_be_finished(self, executor: Where) -> None:
        ledger, hold = Ledger(), Hold()
        run = flows.submit(give([ledger.job("a").out, hold.task().out]), executor=executor)
        assert hold.started.wait(SOON)
        run.cancel("later")
        run.wait(SOON)
        hold.let_go.set()
        assert run.state == "cancelled"
        done = run.jobs["a"].state == "completed"
        assert run.retry().wait(SOON).value == ["a1", "held"]
        assert ledger.calls == ["a"] or not done

    @needs("cancel", "timeouts")
    @pytest.mark.parametrize("kind", ["sync", "async"])
    def test_a_run_is_cancelled_when_its_deadline_passes(self, executor: Where, kind: str) -> None:
        hold = Hold()

        async def endless() -> None:
            await asyncio.Event().wait()

        task: Any = hold.task if kind == "sync" else flows.task(endless, queue=QUEUE)
        with pytest.raises(flows.RunCancelledError, match="timeout") as caught:
            flows.execute(give(task().out), executor=executor, timeout="50ms")
        hold.let_go.set()
        assert set(states(caught.value.run).values()) == {"cancelled"}

    @needs("cancel", "delays", "timeouts")
    def test_the_deadline_ends_a_run_that_only_waits(self, executor: Where) -> None:
        run = flows.execute(give.using(delay="24h")(1), executor=executor, timeout="20ms", check=False)
        assert run.state == "cancelled"

    @needs("timeouts")
    def test_a_run_within_its_deadline_completes(self, executor: Where) -> None:
        assert flows.execute(give(1), executor=executor, timeout="1h").value == 1

    @needs("cancel")
    def test_failing_fast_stops_the_rest_when_the_root_has_failed(self, executor: Where) -> None:
        ledger, started, stopped = Ledger(), threading.Event(), threading.Event()
        ledger.bad = {"bad"}

        @flows.task(queue=QUEUE)
        async def endless() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        slow = endless()
        run = flows.execute(
            give([ledger.job("bad").out, slow.out, ledger.job("after", slow.out).out]),
            executor=executor,
            fail_fast=True,
            check=False,
        )
        assert (run.state, run.jobs["endless"].state, run.jobs["after"].state) == ("failed", "cancelled", "cancelled")
        assert stopped.is_set() == started.is_set()

    @needs("cancel")
    def test_failing_fast_heeds_no_failure_that_is_ignored(self, executor: Where) -> None:
        ledger = Ledger()
        ledger.bad = {"bad"}
        spare = ledger.job("bad").on_failure("ignore")
        run = flows.execute(ledger.job("top").after(spare), executor=executor, fail_fast=True)
        assert (run.state, run.value) == ("completed", "top1")

    @staticmethod
    def _object(executor: Where) -> Where:
        """The executor itself, so that several calls reach one store even where its URL says ``private``."""
        from flows._executors import executor_of

        return executor_of(executor)
