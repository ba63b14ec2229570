"""Conformance: how a failed run shows itself to its caller, whatever was raised in it."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import Oops, Suite, Where, failing, states
from flows.testing._conformance_results import give

QUEUE = "conformance-failure"

MESSAGE_BYTES = 2 * 1024
TRACEBACK_BYTES = 8 * 1024


class Rude(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Unpicklable(Exception):
    """An exception that holds what cannot leave the process."""

    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class Failures(Suite):
    """Errors of runs and jobs."""

    def test_execute_raises_with_the_run_and_the_cause(self, executor: Where) -> None:
        with pytest.raises(flows.FlowFailedError, match="broken is broken") as caught:
            flows.execute(give(failing()().out), executor=executor)
        run = caught.value.run
        assert (run.state, states(run)) == ("failed", {"broken": "failed", "conformance-give": "failed"})
        assert isinstance(caught.value.__cause__, Oops | flows.JobFailedError)
        assert "broken is broken" in str(caught.value.__cause__)

    def test_unchecked_the_failed_run_is_returned_and_its_value_raises(self, executor: Where) -> None:
        run = flows.execute(failing()(), executor=executor, check=False)
        assert run.state == "failed"
        with pytest.raises(flows.FlowFailedError, match="broken is broken") as caught:
            _ = run.value
        assert caught.value.run.id == run.id
        with pytest.raises(flows.FlowFailedError):
            run.check()

    def test_a_failed_job_has_an_error_and_no_value(self, executor: Where) -> None:
        view = flows.execute(failing()(), executor=executor, check=False).jobs["broken"]
        error = view.error
        assert error is not None
        assert (error.type, error.message, error.job, error.state) == ("Oops", "broken is broken", "broken", "failed")
        assert str(error) == "Oops: broken: broken is broken"
        assert "raise Oops" in error.traceback
        with pytest.raises(flows.NoValueError, match="broken is broken"):
            _ = view.value
        assert [attempt.error for attempt in view.attempts] == [error]

    def test_one_failed_root_of_several_fails_the_run_and_the_others_keep_their_values(self, executor: Where) -> None:
        @flows.flow
        def pair() -> tuple[flows.Job[Any], flows.Job[Any]]:
            return give("kept"), failing()()

        run = flows.execute(pair, executor=executor, check=False)
        assert (run.state, run.jobs["conformance-give"].value) == ("failed", "kept")
        with pytest.raises(flows.FlowFailedError):
            _ = run.value

    def test_a_run_whose_failures_were_tolerated_completes(self, executor: Where) -> None:
        run = flows.execute(give("fine").after(failing(on_failure="ignore")()), executor=executor)
        assert (run.state, run.value, run.jobs["broken"].state) == ("completed", "fine", "failed")

    @pytest.mark.parametrize("raised", [Rude(), Unpicklable(), Oops(), Oops(""), Oops({"a": 1}), LookupError("\ud800")])
    def test_whatever_is_raised_fails_the_job_and_ends_the_run(self, executor: Where, raised: Exception) -> None:
        run = flows.execute(self._raising(raised)(), executor=executor, check=False)
        error = run.jobs["raising"].error
        assert (run.state, error and error.type) == ("failed", type(raised).__name__)
        assert pickle.loads(pickle.dumps(error)) == error

    def test_huge_errors_are_cut(self, executor: Where) -> None:
        run = flows.execute(self._raising(Oops("x" * 10_000_000))(), executor=executor, check=False)
        error = run.jobs["raising"].error
        assert error is not None
        assert 1_000 < len(error.message.encode()) <= MESSAGE_BYTES
        assert len(error.traceback.encode()) <= TRACEBACK_BYTES
        assert "raise raised" in error.traceback

    @pytest.mark.parametrize("kind", [BaseExceptionGroup, ExceptionGroup])
    def test_groups_of_exceptions_fail_the_job(self, executor: Where, kind: type[ExceptionGroup[Exception]]) -> None:
        run = flows.execute(self._raising(kind("several", [Oops("one")]))(), executor=executor, check=False)
        assert (run.jobs["raising"].error or "").type == "ExceptionGroup"  # type: ignore[union-attr]

    def test_a_cancelled_error_raised_by_an_async_handler_is_a_failure(self, executor: Where) -> None:
        import asyncio

        @flows.task(queue=QUEUE)
        async def odd() -> None:
            raise asyncio.CancelledError("from inside")

        assert flows.execute(odd(), executor=executor, check=False).state == "failed"

    def test_an_error_of_an_async_handler_is_told_as_one_of_a_sync_handler(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        async def broken() -> None:
            raise Oops("broken is broken")

        with pytest.raises(flows.FlowFailedError, match="Oops: broken: broken is broken"):
            flows.execute(broken(), executor=executor)

    def test_an_argument_that_is_wrong_fails_the_job_by_its_own_error(self, executor: Where) -> None:
        first_of = flows.task(lambda items: items[0], name="first_of", queue=QUEUE)
        run = flows.execute(first_of(give([]).out), executor=executor, check=False)
        assert (run.jobs["first_of"].error or "").type == "IndexError"  # type: ignore[union-attr]

    @staticmethod
    def _raising(raised: BaseException) -> flows.Task[[], Any]:
        def raising() -> None:
            raise raised

        return flows.task(raising, queue=QUEUE)
