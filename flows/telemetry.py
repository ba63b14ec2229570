"""Set-up of OpenTelemetry in one line, for programs that have none of their own.

::

    flows.telemetry.to_console()                                     # each span as a line, when it ends
    flows.telemetry.to_otlp("http://localhost:4318", service_name="shop")   # traces and metrics to a collector

Needs the extra ``otel`` (``pip install 'flowproducer[otel]'``). A program that sets up the SDK itself needs nothing
from here: flows record spans and metrics wherever providers are set. Call it once, early: runs that have begun are not
affected. Calling it again with the same arguments changes nothing. What is recorded is flushed when the program exits.

The only module of the library that knows the SDK.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Final, TextIO

from flows.errors import MissingDependencyError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

_HINT: Final = "pip install 'flowproducer[otel]'"

_done: set[tuple[object, ...]] = set()
_lock = threading.Lock()


def to_console(*, out: TextIO | None = None, service_name: str = "flows") -> None:
    """Write each span as one line when it ends.

    Args:
        out: Where to; standard error unless given.
        service_name: What the program calls itself, where no tracer provider has been set yet.

    Raises:
        MissingDependencyError: The SDK is not installed.
    """
    try:
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    except ImportError as error:
        raise MissingDependencyError(f"spans on the console need the OpenTelemetry SDK: {_HINT}") from error
    stream = sys.stderr if out is None else out
    with _lock:
        if _first("console", id(stream)):
            exporter = ConsoleSpanExporter(out=stream, formatter=_line)
            _add(SimpleSpanProcessor(exporter), service_name)


def to_otlp(
    endpoint: str | None = None,
    *,
    service_name: str = "flows",
    headers: dict[str, str] | None = None,
    metrics: bool = True,
) -> None:
    """Send traces and metrics to a collector by OTLP over HTTP, in batches and in the background.

    Args:
        endpoint: The collector's address without a path, ``http://localhost:4318``; left out, the variables
            ``OTEL_EXPORTER_OTLP_...`` count, then that very address.
        service_name: What the program calls itself; ``OTEL_SERVICE_NAME`` and a provider that has been set before win.
        headers: Sent with every request, for collectors that want a token.
        metrics: Whether to send metrics, too. Left alone where a meter provider has been set.

    Raises:
        MissingDependencyError: The SDK or the exporter is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingDependencyError(f"OTLP needs the OpenTelemetry SDK and its exporter: {_HINT}") from error
    root = None if endpoint is None else endpoint.rstrip("/")
    with _lock:
        if _first("otlp", root):
            traces = None if root is None else f"{root}/v1/traces"
            _add(BatchSpanProcessor(OTLPSpanExporter(endpoint=traces, headers=headers)), service_name)
            if metrics:
                _measure(root, headers, service_name)


def _first(*what: object) -> bool:
    first = what not in _done
    _done.add(what)
    return first


def _add(processor: SpanProcessor, service_name: str) -> None:
    """Have *processor* get all spans, beside those that get them already."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider: Any = trace.get_tracer_provider()
    if not hasattr(provider, "add_span_processor"):
        provider = TracerProvider(resource=_resource(service_name))
        trace.set_tracer_provider(provider)
    provider.add_span_processor(processor)


def _measure(root: str | None, headers: dict[str, str] | None, service_name: str) -> None:
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return  # readers cannot be added to it
    exporter = OTLPMetricExporter(endpoint=None if root is None else f"{root}/v1/metrics", headers=headers)
    reader = PeriodicExportingMetricReader(exporter)
    metrics.set_meter_provider(MeterProvider([reader], resource=_resource(service_name)))


def _resource(service_name: str) -> Resource:
    import os

    from opentelemetry.sdk.resources import Resource

    return Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service_name})


def _line(span: ReadableSpan) -> str:
    """``4bf92f35 00f067aa < b7ad6b71  process payments  charge attempt 2  12.3 ms  ERROR PspTimeout: ...``."""
    context, parent, attributes = span.context, span.parent, span.attributes or {}
    taken = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
    parts = [
        f"{context.trace_id:032x}"[:8] + f" {context.span_id:016x}"[:9] if context else "",
        f"< {parent.span_id:016x}"[:10] if parent else "",
        span.name,
        str(attributes.get("messaging.message.id", "")),
        f"attempt {attributes['flows.task.attempt']!s}" if "flows.task.attempt" in attributes else "",
        f"{taken:.1f} ms",
        str(attributes.get("flows.outcome", "")),
        f"{span.status.status_code.name} {span.status.description or ''}" if not span.status.is_unset else "",
        f"links {len(span.links)}" if span.links else "",
    ]
    text = "  ".join(filter(None, parts))
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text) + "\n"


__all__ = ["to_console", "to_otlp"]
