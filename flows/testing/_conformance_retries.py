"""Conformance: attempts, the waits between them, timeouts, delays, and the signals of handlers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import tenacity

import flows
from flows.testing._conformance_kit import PAUSE, SOON, Oops, Suite, Where, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-retries"

CLOCK = timedelta(milliseconds=1)
"""What two clocks of one machine may differ by."""


def flaky(failures: int, raised: Callable[[int], Exception] = Oops, **options: Any) -> flows.Task[..., Any]:
    """A task that fails its first attempts and then gives the number of the one that went well."""

    def flaky(*_: Any) -> int:
        attempt = flows.current().attempt
        if attempt <= failures:
            raise raised(attempt)
        return attempt

    return flows.task(flaky, queue=QUEUE, **options)


def _raised(kind: type[Exception], _: int) -> Exception:
    return kind("x")


class Retries(Suite):
    """Attempts, backoff, signals, timeouts, delays."""

    def test_a_job_is_tried_until_it_goes_well(self, executor: Where) -> None:
        run = flows.execute(give(flaky(2, attempts=5)().out), executor=executor)
        attempts = run.jobs["flaky"].attempts
        assert (run.value, [attempt.number for attempt in attempts]) == (3, [1, 2, 3])
        assert [attempt.outcome for attempt in attempts] == ["failed", "failed", "completed"]
        assert [attempt.error and attempt.error.message for attempt in attempts] == ["1", "2", None]

    def test_attempts_follow_each_other_in_time(self, executor: Where) -> None:
        run = flows.execute(give(flaky(3, attempts=4)().out), executor=executor)
        attempts = [*run.jobs["flaky"].attempts, *run.jobs["conformance-give"].attempts]
        instants = [instant for attempt in attempts for instant in (attempt.start, attempt.end or attempt.start)]
        assert len(instants) == 10
        assert all(earlier <= later + CLOCK for earlier, later in pairwise(instants))
        assert all(attempt.start <= (attempt.end or attempt.start) and attempt.worker for attempt in attempts)

    @pytest.mark.parametrize("attempts", [1, 2, 7])
    def test_a_job_fails_after_its_last_attempt(self, executor: Where, attempts: int) -> None:
        run = flows.execute(flaky(99, attempts=attempts)(), executor=executor, check=False)
        view = run.jobs["flaky"]
        assert (run.state, len(view.attempts)) == ("failed", attempts)
        assert view.error is not None
        assert view.error.message == str(attempts)

    def test_the_backoff_is_waited_for(self, executor: Where) -> None:
        job = flaky(2, attempts=3, backoff=flows.Backoff.steps([PAUSE, PAUSE / 3]))()
        first, second, third = flows.execute(job, executor=executor).jobs["flaky"].attempts
        assert first.end
        assert second.end
        assert second.start - first.end >= timedelta(seconds=PAUSE) - CLOCK
        assert third.start - second.end >= timedelta(seconds=PAUSE / 3) - CLOCK

    def test_a_waiting_retry_holds_up_no_other_job(self, executor: Where) -> None:
        later = flaky(1, attempts=2, backoff=flows.Backoff.fixed(PAUSE))()
        run = flows.execute(give([later.out, give.using(id="other")(1).out]), executor=executor)
        other = run.jobs["other"].attempts[0]
        assert other.end is not None
        assert other.end <= run.jobs["flaky"].attempts[1].start

    def test_only_errors_worth_it_are_tried_again(self, executor: Where) -> None:
        options = {"attempts": 4, "retry_on": (LookupError, ValueError), "give_up_on": KeyError}
        for raised, tries in ((LookupError, 4), (IndexError, 4), (KeyError, 1), (Oops, 1), (UnicodeError, 4)):
            run = flows.execute(flaky(9, partial(_raised, raised), **options)(), executor=executor, check=False)
            assert (raised, len(run.jobs["flaky"].attempts)) == (raised, tries)

    def test_a_handler_gives_up(self, executor: Where) -> None:
        run = flows.execute(flaky(9, lambda _: flows.GiveUp("no use"), attempts=5)(), executor=executor, check=False)
        view = run.jobs["flaky"]
        assert view.error is not None
        assert (run.state, len(view.attempts), view.error.message) == ("failed", 1, "no use")

    def test_a_handler_skips_its_job(self, executor: Where) -> None:
        job = flaky(9, lambda _: flows.Skip("not today"), attempts=5)()
        run = flows.execute(job, executor=executor)
        view = run.jobs["flaky"]
        assert view.error is not None
        assert (run.state, view.state, view.error.state) == ("completed", "skipped", "skipped")
        assert (view.error.message, [attempt.outcome for attempt in view.attempts]) == ("not today", ["skipped"])
        with pytest.raises(flows.NoValueError, match="not today"):
            _ = run.value

    def test_a_handler_asks_for_its_own_wait_which_costs_an_attempt(self, executor: Where) -> None:
        task = flaky(9, lambda _: flows.RetryAfter(PAUSE), attempts=2, backoff=flows.Backoff.fixed(999))
        run = flows.execute(task(), executor=executor, check=False)
        first, second = run.jobs["flaky"].attempts
        assert first.end is not None
        assert second.start - first.end >= timedelta(seconds=PAUSE) - CLOCK
        assert run.state == "failed"

    @pytest.mark.parametrize("kind", [tenacity.Retrying, tenacity.AsyncRetrying])
    def test_a_tenacity_object_decides(self, executor: Where, kind: Any) -> None:
        retrying = kind(
            stop=tenacity.stop_after_attempt(3),
            wait=tenacity.wait_fixed(0),
            retry=tenacity.retry_if_exception_message("1"),
        )
        run = flows.execute(flaky(9, retry=retrying)(), executor=executor, check=False)
        assert [attempt.error and attempt.error.message for attempt in run.jobs["flaky"].attempts] == ["1", "2"]

    def test_a_tenacity_wait_is_a_backoff(self, executor: Where) -> None:
        job = flaky(1, attempts=2, backoff=tenacity.wait_fixed(PAUSE) + tenacity.wait_fixed(0.001))()
        first, second = flows.execute(job, executor=executor).jobs["flaky"].attempts
        assert first.end is not None
        assert second.start - first.end >= timedelta(seconds=PAUSE) - CLOCK

    def test_all_attempts_see_the_same_inputs_and_keys(self, executor: Where) -> None:
        seen: list[tuple[Any, ...]] = []

        @flows.task(queue=QUEUE, attempts=3)
        def look(value: Any, children: flows.Children = flows.INJECTED) -> None:
            context = flows.current()
            seen.append((value, children.items(), context.idempotency_key, context.run_id, context.job_id))
            if context.attempt < 3:
                raise Oops

        run = flows.execute(look(give({"a": 1}).out), executor=executor)
        assert len(seen) == 3
        assert seen[0] == seen[1] == seen[2]
        assert seen[0][2] == run.jobs["look"].idempotency_key == f"{run.id}/look"

    @needs("timeouts")
    def test_an_async_handler_that_takes_too_long_is_cancelled(self, executor: Where) -> None:
        ended: list[str] = []

        @flows.task(queue=QUEUE, timeout=self.pause)
        async def slow() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        run = flows.execute(slow(), executor=executor, check=False)
        error = run.jobs["slow"].error
        assert error is not None
        assert (run.state, error.type, ended) == ("failed", "JobTimeoutError", ["cancelled"])
        assert str(error).startswith(f"JobTimeoutError: slow: timeout of {self.pause:g} s")

    @needs("timeouts")
    @pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
    def test_a_timeout_is_an_attempt_like_any_other(self, executor: Where, is_async: bool) -> None:
        release = threading.Event()

        def sync() -> int:
            if flows.current().attempt == 1:
                release.wait(SOON)
            return flows.current().attempt

        async def on_loop() -> int:
            if flows.current().attempt == 1:
                await asyncio.Event().wait()
            return flows.current().attempt

        slow = flows.task(on_loop if is_async else sync, name="slow", queue=QUEUE, timeout=self.pause, attempts=2)
        try:
            run = flows.execute(give(slow().out), executor=executor)
        finally:
            release.set()
        first, second = run.jobs["slow"].attempts
        assert (run.value, first.outcome, second.outcome) == (2, "failed", "completed")
        assert first.error is not None
        assert first.error.type == "JobTimeoutError"
        assert first.end is not None
        assert first.end - first.start >= timedelta(seconds=self.pause) - CLOCK

    @needs("timeouts")
    def test_the_late_result_of_a_thread_that_timed_out_is_dropped(self, executor: Where) -> None:
        release, returned = threading.Event(), threading.Event()

        @flows.task(queue=QUEUE, timeout=PAUSE, on_failure="ignore")
        def slow() -> str:
            release.wait(SOON)
            returned.set()
            return "too late"

        try:
            run = flows.execute(give("root").after(slow()), executor=executor)
        finally:
            release.set()
        assert returned.wait(SOON)
        assert (run.jobs["slow"].state, len(run.jobs["slow"].attempts)) == ("failed", 1)

    @needs("timeouts")
    def test_a_late_result_is_not_taken_for_that_of_the_next_attempt(self, executor: Where) -> None:
        again, returned = threading.Event(), threading.Event()

        @flows.task(queue=QUEUE, timeout=max(10 * PAUSE, self.pause), attempts=9)
        def slow() -> str:
            if flows.current().attempt == 1:
                again.wait(SOON)
                returned.set()
                return "too late"
            again.set()
            returned.wait(SOON)
            time.sleep(PAUSE)  # the late one is on its way
            return "in time"

        try:
            run = flows.execute(give(slow().out), executor=executor)
        finally:
            again.set()
        outcomes = [attempt.outcome for attempt in run.jobs["slow"].attempts]
        assert (run.value, outcomes[-1], {*outcomes[:-1]}) == ("in time", "completed", {"failed"})

    @needs("timeouts")
    def test_a_timeout_that_is_not_reached_changes_nothing(self, executor: Where) -> None:
        assert flows.execute(give(give.using(timeout="1h")(1).out), executor=executor).value == 1

    @needs("delays")
    def test_a_delay_runs_from_the_moment_that_the_job_is_ready(self, executor: Where) -> None:
        run = flows.execute(give.using(id="late", delay=PAUSE)(give(1).out), executor=executor)
        ready, started = run.jobs["conformance-give"].attempts[0].end, run.jobs["late"].attempts[0].start
        assert ready is not None
        assert started - ready >= timedelta(seconds=PAUSE) - CLOCK

    @needs("delays", "events")
    def test_delayed_jobs_are_handed_out_in_the_order_in_which_they_are_due(self, executor: Where) -> None:
        jobs = [give.using(id=f"{delay}ms", delay=f"{delay}ms")(delay).out for delay in (40, 0, 20)]
        run = flows.execute(give(jobs), executor=executor)
        # Not in which they begin: workers of their own may do so in any order, if two are due at one look.
        taken = [event.job for event in run.events() if event.kind == "started"]
        assert taken[:3] == ["0ms", "20ms", "40ms"]
