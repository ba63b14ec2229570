"""Spans of a simulated run, kept in memory. Needs the OpenTelemetry SDK."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from flows.errors import MissingDependencyError

if TYPE_CHECKING:
    from flows.testing._memory import SimulatedRun


def record_spans(run: SimulatedRun, name: str) -> Callable[[], Sequence[Any]]:
    """Have the spans of *run* recorded from now on; returns what ends its trace and gives them.

    Raises:
        MissingDependencyError: The SDK is not there.
    """
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    except ModuleNotFoundError as error:
        raise MissingDependencyError("simulate(spans=True) needs the SDK: pip install 'flowproducer[otel]'") from error
    from flows._tracing import RunTrace

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run.tracing = RunTrace(provider, name, len(run.plan), run.options)

    def finished() -> Sequence[Any]:
        run.dismiss()
        return exporter.get_finished_spans()

    return finished
