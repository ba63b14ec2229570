"""How spans end: with their attempt and their run, marked where something went wrong, whatever strikes."""

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Span, StatusCode

import flows
from executors.memory import MemoryExecutor
from flows import Backoff, Job
from flows._run_options import run_options
from tests.recorded import Record, Spans, attributes, id_of, links_of, record, spans

__all__ = ["record", "spans"]

SOON = 20.0


@flows.task(queue="traced-ends")
def one() -> int:
    return 1


@flows.task(queue="traced-ends")
def add(first: int, second: int) -> int:
    return first + second


@flows.task(queue="traced-ends")
async def double(value: int) -> int:
    return 2 * value


@flows.flow
def diamond() -> Job[int]:
    start = one()
    return add(start.out, double(start.out).out)


def test_a_retried_attempt_is_marked_and_its_flow_is_not(spans: Spans) -> None:
    @flows.task(attempts=3, backoff=Backoff.fixed("1ms"))
    def flaky() -> int:
        if flows.current().attempt < 3:
            raise KeyError("not yet")
        return 1

    flows.execute(flaky())
    first, second, third = spans.of("flaky")
    for failed in (first, second):
        assert failed.status.status_code is StatusCode.ERROR
        assert attributes(failed)["error.type"] == "KeyError"
        assert attributes(failed)["flows.outcome"] == "retrying"
        (event,) = failed.events
        assert event.name == "exception"
        assert "not yet" in str((event.attributes or {})["exception.stacktrace"])
    assert third.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(third)
    assert links_of(second) == [("previous_attempt", id_of(first))]
    assert links_of(third) == [("previous_attempt", id_of(second))]
    assert spans.named("flow flaky").status.status_code is StatusCode.UNSET


def test_a_failed_flow_marks_its_span_and_doomed_jobs_have_none(spans: Spans) -> None:
    @flows.task
    def broken() -> int:
        raise RuntimeError("no luck")

    flows.execute(double(broken().out), check=False)
    root = spans.named("flow double")
    assert root.status.status_code is StatusCode.ERROR
    assert attributes(root)["error.type"] == "DependencyFailedError"
    assert attributes(root)["flows.outcome"] == "failed"
    assert spans.of("double") == []
    assert attributes(spans.of("broken")[0])["flows.outcome"] == "failed"


def test_a_failure_that_is_ignored_marks_only_its_own_span(spans: Spans) -> None:
    @flows.task
    def broken() -> int:
        raise RuntimeError("no luck")

    @flows.task
    def tolerant(value: object) -> int:
        return 1

    flows.execute(tolerant(flows.optional(broken().out)))
    assert spans.named("flow tolerant").status.status_code is StatusCode.UNSET
    assert links_of(spans.of("tolerant")[0]) == []  # there was no result to take


def test_a_skipped_attempt_is_no_error(spans: Spans) -> None:
    @flows.task
    def idle() -> None:
        raise flows.Skip("nothing to do")

    flows.execute(idle())
    (span,) = spans.of("idle")
    assert attributes(span)["flows.outcome"] == "skipped"
    assert span.status.status_code is StatusCode.UNSET
    assert not span.events


def test_cancelled_attempts_say_so(spans: Spans) -> None:
    begun = threading.Event()

    @flows.task
    async def endless() -> None:
        begun.set()
        await asyncio.Event().wait()

    run = flows.submit(endless())
    assert begun.wait(SOON)
    run.cancel("enough")
    run.wait(SOON)
    (span,) = spans.of("endless")
    assert attributes(span)["flows.outcome"] == "cancelled"
    assert span.status.status_code is StatusCode.UNSET
    root = spans.named("flow endless")
    assert attributes(root)["flows.outcome"] == "cancelled"
    assert root.status.status_code is StatusCode.UNSET


def test_a_timed_out_thread_ends_its_span_when_it_is_given_up(spans: Spans) -> None:
    free = threading.Event()
    left = threading.Event()

    @flows.task(timeout="20ms")
    def stuck() -> None:
        free.wait(SOON)
        left.set()

    run = flows.execute(stuck(), check=False)
    (span,) = spans.of("stuck")
    assert attributes(span)["error.type"] == "flows.errors.JobTimeoutError"
    before = len(spans.all)
    free.set()
    assert left.wait(SOON)
    assert run.state == "failed"
    assert len(spans.all) == before


def test_a_timed_out_task_ends_its_span(spans: Spans) -> None:
    @flows.task(timeout="20ms", attempts=2)
    async def stuck() -> None:
        if flows.current().attempt == 1:
            await asyncio.Event().wait()

    flows.execute(stuck())
    first, second = spans.of("stuck")
    assert attributes(first)["error.type"] == "flows.errors.JobTimeoutError"
    assert links_of(second) == [("previous_attempt", id_of(first))]


def test_an_interrupted_run_ends_all_its_spans(spans: Spans) -> None:
    @flows.task
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flows.execute(interrupted())
    (span,) = spans.of("interrupted")
    assert span.status.status_code is StatusCode.ERROR
    assert attributes(spans.named("flow interrupted"))["flows.outcome"] == "cancelled"


def test_a_run_that_is_cancelled_before_anybody_works_on_it_ends_its_span(spans: Spans) -> None:
    executor = MemoryExecutor("memory://?private=1")
    record = executor.submit(flows.plan(diamond), run_options(None, {}, {}), background=False)
    assert not spans.all
    executor.cancel(record, "changed my mind")
    assert attributes(spans.named("flow diamond"))["flows.outcome"] == "cancelled"


def test_a_failing_span_processor_costs_the_run_nothing(record: Record) -> None:
    class Broken(SpanProcessor):
        def on_start(self, span: Span, parent_context: context.Context | None = None) -> None:
            if span.name != "request":  # type: ignore[attr-defined]
                raise RuntimeError("no disk")

        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("no disk")

    record(first=[Broken()])
    assert flows.execute(diamond).value == 3


def test_a_processor_that_fails_at_the_end_costs_the_run_nothing(record: Record) -> None:
    class Broken(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("no disk")

    record(first=[Broken()])
    assert flows.execute(diamond).value == 3


def test_an_exception_that_cannot_be_printed_is_recorded_all_the_same(spans: Spans) -> None:
    class Awkward(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    @flows.task
    def broken() -> None:
        raise Awkward

    flows.execute(broken(), check=False)
    (span,) = spans.of("broken")
    assert span.status.status_code is StatusCode.ERROR
    assert str(attributes(span)["error.type"]).endswith("Awkward")


def test_a_failed_span_ends_with_its_handler(spans: Spans) -> None:
    ended: list[int] = []

    class Slow(Exception):
        def __str__(self) -> str:  # asked for when the error is judged
            if not ended:
                ended.append(time.time_ns())
                threading.Event().wait(0.2)
            return "slow"

    @flows.task
    def broken() -> None:
        raise Slow

    flows.execute(broken(), check=False)
    (span,) = spans.of("broken")
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.end_time - ended[0] < 0.1e9


@pytest.mark.parametrize("run", [flows.execute, lambda flow: asyncio.run(flows.aexecute(flow))])
def test_the_runs_span_has_ended_when_its_caller_goes_on(spans: Spans, run: Callable[..., object]) -> None:
    for _ in range(50):
        spans.exporter.clear()
        run(diamond)
        assert [span.name for span in spans.all][-1] == "flow diamond"
