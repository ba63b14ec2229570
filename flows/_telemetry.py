"""Where a run meets OpenTelemetry: the trace it belongs to, and whether anybody records spans or metrics.

Only the API is used, and only where the program has loaded it: a program that traces has imported it, and for those
that do not, loading it would cost more than a small run. So everything begins with a look into `sys.modules`; what
needs the API stands in modules of its own (`flows/_tracing.py`, `flows/_meters.py`), loaded when somebody records.

A trace crosses processes as a *carrier*: a dict of short strings, written and read by the propagator that the
program has chosen (W3C trace context and baggage, unless it says otherwise). `carry` makes one of the calling thread's
context, `carried` makes it current on the other side::

    carrier = carry()              # in the parent, where the attempt's span is current; {} where nobody traces
    with carried(carrier):         # in the child: spans that are made here are children of the attempt's span
        ...
    flush()                        # before the child leaves, as its spans may still wait to be exported
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from logging import Logger

    from flows._carried_trace import CarriedTrace
    from flows._meters import Meters
    from flows._tracing import RunTrace
    from flows.executor import RunOptions

CARRIER_BYTES: Final = 8192
"""What a carrier may hold: it is stored with the run, and anyone upstream may have filled it."""

_EXPENDABLE: Final = ("baggage", "tracestate")
"""Left out first where there is too much; without them the trace still holds together."""


_NAMED: Final = "OTEL_PYTHON_TRACER_PROVIDER" in os.environ
"""Whether the API is to load a provider when it is first asked for one."""


def may_be_traced() -> bool:
    """Whether the program has loaded the API at all: without it there is nothing to ask, for spans or metrics."""
    return "opentelemetry.context" in sys.modules


def is_recorded() -> bool:
    """Whether there may be somebody, at this moment, to record the spans of attempts: a provider of traces."""
    trace = _loaded("opentelemetry.trace", "get_tracer_provider")
    if trace is None:
        return False
    if not _NAMED and getattr(trace, "_TRACER_PROVIDER", trace) is None and _is_own(trace):
        return False  # the quick way: it is asked with each claim
    try:
        return not isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider))
    except Exception:  # which is told of where a trace is begun
        return True


def _is_own(trace: Any) -> bool:
    """Whether nobody has put another way to ask in the place of the API's own."""
    own: bool = trace.get_tracer_provider.__module__ == trace.__name__
    return own


def current_trace_id() -> str | None:
    """The trace id of the caller's span, as 32 hex digits; None outside a trace."""
    trace = _loaded("opentelemetry.trace", "get_current_span")
    if trace is None:
        return None
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


def carry() -> dict[str, str]:
    """The calling thread's trace context and baggage as a carrier of at most `CARRIER_BYTES`; {} where there is none.

    Never raises: a propagator that fails costs the trace its continuity, not the run.
    """
    context = _loaded("opentelemetry.context", "get_current")
    if context is None or not context.get_current():
        return {}
    carrier: dict[str, str] = {}
    try:
        from opentelemetry import propagate

        propagate.inject(carrier)
    except Exception:
        _log().debug("the trace context could not be written down", exc_info=True)
    return checked_carrier(carrier)


def checked_carrier(carrier: object) -> dict[str, str]:
    """What of *carrier* may be stored or read: strings only, and at most `CARRIER_BYTES`; baggage goes first."""
    if not isinstance(carrier, Mapping):
        return {}
    kept = {name: value for name, value in carrier.items() if isinstance(name, str) and isinstance(value, str)}
    for name in (*_EXPENDABLE, *kept.copy()):
        if sum(len(key.encode()) + len(value.encode()) for key, value in _encodable(kept)) <= CARRIER_BYTES:
            break
        kept.pop(name, None)
    return dict(_encodable(kept))


@contextlib.contextmanager
def carried(carrier: Mapping[str, str]) -> Iterator[None]:
    """Have the context of *carrier* current meanwhile; what is malformed in it is ignored, as if it were not there."""
    token = None
    if carrier:
        try:
            from opentelemetry import context, propagate

            token = context.attach(propagate.extract(checked_carrier(carrier)))
        except Exception:
            _log().debug("a trace context could not be read", exc_info=True)
    try:
        yield
    finally:
        if token is not None:
            context.detach(token)


def flush(timeout: float = 5.0) -> None:
    """Have the spans that wait to be exported sent now; for processes that end without going through exit handlers.

    Args:
        timeout: Seconds to wait at most.
    """
    trace = _loaded("opentelemetry.trace", "get_tracer_provider")
    force = getattr(trace.get_tracer_provider(), "force_flush", None) if trace is not None else None
    if force is not None:
        try:
            force(int(timeout * 1000))
        except Exception:
            _log().debug("spans could not be exported", exc_info=True)


def trace_run(name: str, jobs: int, options: RunOptions) -> RunTrace | None:
    """Begin the trace of a new run under the calling thread's span; None where no SDK is there to record it.

    Decided once a run; a job costs nothing where this is None.
    """
    trace = _loaded("opentelemetry.trace", "get_tracer_provider")
    if trace is None:
        return None
    try:
        provider = trace.get_tracer_provider()
        if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
            return None
        from flows._tracing import RunTrace

        return RunTrace(provider, name, jobs, options)
    except Exception:
        _log().exception("run %s is not traced: its span could not be begun", options.run_id)
        return None


def carried_trace(name: str, options: RunOptions) -> CarriedTrace | None:
    """The trace of a run that was submitted elsewhere, for who makes attempts of it; None where none is recorded."""
    trace = _loaded("opentelemetry.trace", "get_tracer_provider")
    if trace is None:
        return None
    try:
        provider = trace.get_tracer_provider()
        if isinstance(provider, (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
            return None
        from flows._carried_trace import CarriedTrace

        return CarriedTrace(provider, name, options)
    except Exception:
        _log().exception("attempts of run %s are not traced here", options.run_id)
        return None


def meters() -> Meters | None:
    """The instruments to record a run on; None where no SDK is there to collect them."""
    metrics = _loaded("opentelemetry.metrics", "get_meter_provider")
    if metrics is None:
        return None
    try:
        provider = metrics.get_meter_provider()
        if isinstance(provider, metrics.NoOpMeterProvider) or type(provider).__name__ == "_ProxyMeterProvider":
            return None
        from flows._meters import meters_of

        return meters_of(provider)
    except Exception:
        _log().exception("a run is not measured: its instruments could not be made")
        return None


def _loaded(module: str, needed: str) -> Any:
    """A module that the program has loaded, as far as the name *needed*: another thread may be at it just now."""
    found = sys.modules.get(module)
    return found if found is not None and hasattr(found, needed) else None


def _encodable(carrier: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, value in carrier.items():
        if not any("\ud800" <= char <= "\udfff" for char in name + value):
            yield name, value


def _log() -> Logger:
    import logging  # not for what hardly ever is to be told

    return logging.getLogger("flows")
