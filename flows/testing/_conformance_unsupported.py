"""Conformance: what an executor can do in other processes, and that it refuses what it cannot do at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import Suite, Where, lacks, needs
from flows.testing._conformance_results import give

QUEUE = "conformance-unsupported"


@flows.task(name="conformance-process", queue=QUEUE)
def process_id() -> int:
    """The process that it runs in."""
    return os.getpid()


class Unsupported(Suite):
    """Capabilities that few have, and the refusal of each that is lacking."""

    @needs("process")
    def test_a_handler_runs_in_a_process_of_its_own(self, executor: Where) -> None:
        assert flows.execute(process_id.using(run_in="process")(), executor=executor).value != os.getpid()

    @lacks("process")
    def test_without_processes_a_job_for_one_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), run_in="process")

    @lacks("delays")
    def test_without_delays_a_delayed_job_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), delay=1)

    @lacks("timeouts")
    def test_without_timeouts_a_job_with_one_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), timeout=1)

    @lacks("priorities")
    def test_without_priorities_a_job_with_one_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), priority=1)

    @lacks("lifo")
    def test_without_lifo_a_job_that_asks_for_it_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), lifo=True)

    @lacks("keys")
    def test_without_keys_a_run_with_one_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor, key="k"))

    @lacks("sharing")
    def test_without_sharing_a_job_with_a_key_of_its_own_is_refused(self, executor: Where) -> None:
        self._refused(lambda job: flows.execute(job, executor=executor), idempotency_key="k")

    @lacks("cancel")
    def test_without_cancel_it_is_refused_and_the_run_goes_on(self, executor: Where) -> None:
        run = flows.submit(give(1), executor=executor)
        with pytest.raises(flows.UnsupportedError):
            run.cancel()
        assert run.wait().value == 1

    @lacks("events")
    def test_without_events_they_are_refused(self, executor: Where) -> None:
        run = flows.execute(give(1), executor=executor)
        with pytest.raises(flows.UnsupportedError):
            next(iter(run.events()))

    @staticmethod
    def _refused(use: Callable[[flows.Job[Any]], object], **options: Any) -> None:
        calls: list[int] = []
        below = flows.task(lambda: calls.append(1), name="below", queue=QUEUE)
        with pytest.raises(flows.UnsupportedError):
            use(give.using(**options)(below().out))
        assert calls == []
