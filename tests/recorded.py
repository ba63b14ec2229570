"""Fixtures for spans and metrics: an SDK whose provider is the program's for the length of one test."""

from collections.abc import Callable, Sequence

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler


class Spans:
    """The spans that have ended, by what one looks for."""

    def __init__(self, provider: TracerProvider) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = provider
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")

    @property
    def all(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> ReadableSpan:
        (span,) = [span for span in self.all if span.name == name]
        return span

    def of(self, job: str) -> list[ReadableSpan]:
        """Those of a job's attempts, in the order of the attempts."""
        spans = [span for span in self.all if attributes(span).get("messaging.message.id") == job]
        return sorted(spans, key=lambda span: int(str(attributes(span)["flows.task.attempt"])))


def attributes(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def trace_of(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.trace_id:032x}"


def links_of(span: ReadableSpan) -> list[tuple[object, int]]:
    """Relation and span id of each link."""
    return [((link.attributes or {})["flows.link.relation"], link.context.span_id) for link in span.links]


Record = Callable[..., Spans]


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Makes the program one that records spans."""

    def begin(sampler: Sampler | None = None, *, first: Sequence[SpanProcessor] = ()) -> Spans:
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        for processor in first:
            provider.add_span_processor(processor)
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        return Spans(provider)

    return begin


@pytest.fixture
def spans(record: Record) -> Spans:
    return record()


@pytest.fixture
def metric_reader(monkeypatch: pytest.MonkeyPatch) -> InMemoryMetricReader:
    """Makes the program one that collects metrics."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: provider)
    return reader
