"""Traces: one a run, the same on every executor. Needs the OpenTelemetry SDK (the extra ``otel``)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import flows
from flows.testing._conformance_kit import QUEUE, Suite, Where, failing

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


def _ids(span: ReadableSpan) -> tuple[str, int, int | None]:
    """Trace, span and parent."""
    assert span.context is not None
    return (
        f"{span.context.trace_id:032x}",
        span.context.span_id,
        None if span.parent is None else span.parent.span_id,
    )


class Traces(Suite):
    """What is recorded of a run, and what its handlers see of it."""

    @pytest.fixture
    def recorded_spans(self, monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
        """The spans that have ended, of a program that records them."""
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        return exporter

    def test_all_spans_of_a_run_are_of_its_trace_under_one_root(
        self, executor: Where, recorded_spans: InMemorySpanExporter
    ) -> None:
        @flows.task(queue=QUEUE)
        def leaf() -> int:
            return 1

        @flows.task(queue=QUEUE)
        async def above(value: int) -> int:
            return value + 1

        run = flows.execute(above(leaf().out), executor=executor)
        spans = {span.name: _ids(span) for span in recorded_spans.get_finished_spans()}
        assert {trace_id for trace_id, _, _ in spans.values()} == {run.trace_id}
        _, root, parent = spans["flow above"]
        assert parent is None
        attempts = [span for span in recorded_spans.get_finished_spans() if span.name == f"process {QUEUE}"]
        assert [_ids(span)[2] for span in attempts] == [root, root]
        leaf_span, above_span = sorted(attempts, key=lambda span: len(span.links))
        assert [link.context.span_id for link in above_span.links] == [_ids(leaf_span)[1]]

    def test_a_runs_trace_is_that_of_its_caller(self, executor: Where, recorded_spans: InMemorySpanExporter) -> None:
        from opentelemetry import trace

        @flows.task(queue=QUEUE)
        def leaf() -> int:
            return 1

        with trace.get_tracer_provider().get_tracer("caller").start_as_current_span("request") as request:
            run = flows.execute(leaf(), executor=executor)
        assert run.trace_id == f"{request.get_span_context().trace_id:032x}"
        assert {_ids(span)[0] for span in recorded_spans.get_finished_spans()} == {run.trace_id}

    def test_handlers_see_their_attempts_span(self, executor: Where, recorded_spans: InMemorySpanExporter) -> None:
        from opentelemetry import trace

        @flows.task(queue=QUEUE)
        def in_a_thread() -> int:
            return trace.get_current_span().get_span_context().span_id

        @flows.task(queue=QUEUE)
        async def on_the_loop(first: int) -> tuple[int, int]:
            await asyncio.sleep(0)
            return first, trace.get_current_span().get_span_context().span_id

        run = flows.execute(on_the_loop(in_a_thread().out), executor=executor)
        attempts = [span for span in recorded_spans.get_finished_spans() if span.name == f"process {QUEUE}"]
        assert tuple(run.value) == tuple(_ids(span)[1] for span in sorted(attempts, key=lambda span: len(span.links)))

    def test_a_retried_error_marks_its_attempt_and_not_the_flow(
        self, executor: Where, recorded_spans: InMemorySpanExporter
    ) -> None:
        @flows.task(queue=QUEUE, attempts=2)
        def flaky() -> int:
            if flows.current().attempt == 1:
                raise KeyError("not yet")
            return 1

        flows.execute(flaky(), executor=executor)
        spans = recorded_spans.get_finished_spans()
        assert [span.name for span in spans if not span.status.is_ok and not span.status.is_unset] == [
            f"process {QUEUE}"
        ]

    def test_a_failed_flow_marks_its_root(self, executor: Where, recorded_spans: InMemorySpanExporter) -> None:
        flows.execute(failing(name="broken")(), executor=executor, check=False)
        spans = recorded_spans.get_finished_spans()
        assert {span.name for span in spans if not span.status.is_ok and not span.status.is_unset} == {
            f"process {QUEUE}",
            "flow broken",
        }
