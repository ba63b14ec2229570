"""The trace that a run belongs to. Only the OpenTelemetry API is used, and only where the program has loaded it."""

from __future__ import annotations

import sys


def current_trace_id() -> str | None:
    """The trace id of the caller's span, as 32 hex digits; None outside a trace.

    A program that traces has imported the API; for those that do not, loading it would cost more than a small run.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None
