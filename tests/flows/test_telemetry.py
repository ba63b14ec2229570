"""Where runs meet OpenTelemetry: carriers across processes, and what a program without an SDK pays."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, context, trace

import flows
from flows._run_options import run_options
from flows._telemetry import CARRIER_BYTES, carried, carry, checked_carrier, flush
from tests.recorded import Spans, id_of, parent_of, record, spans, trace_of

__all__ = ["record", "spans"]

WITHOUT_SDK = """
import sys
import flows
from opentelemetry import metrics, trace

@flows.task
def one() -> int:
    return 1

@flows.task
async def double(value: int) -> int:
    return 2 * value

made = []
for kind in (trace.NonRecordingSpan, trace.Link, trace.NoOpTracer):
    begin = kind.__init__
    def noted(self, *args, begin=begin, **kwargs):
        made.append(type(self).__name__)
        begin(self, *args, **kwargs)
    kind.__init__ = noted
{provider}
run = flows.execute(double(one().out))
assert run.value == 2
assert run.trace_id == run.id
assert not made, made
loaded = {{"flows._tracing", "flows._meters", "opentelemetry.sdk", "opentelemetry.propagate"}} & set(sys.modules)
assert not loaded, loaded
"""


@pytest.mark.parametrize(
    "provider",
    ["", "trace.set_tracer_provider(trace.NoOpTracerProvider()); made.clear()"],
    ids=["api only", "no-op provider"],
)
def test_without_an_sdk_no_span_is_made(provider: str) -> None:
    code = WITHOUT_SDK.format(provider=provider)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_run_loads_no_opentelemetry_where_the_program_has_not() -> None:
    code = """
import flows, sys
@flows.task
def one() -> int:
    return 1
assert flows.execute(one()).value == 1
loaded = [name for name in sys.modules if name.startswith("opentelemetry")]
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_carrier_takes_the_trace_to_another_place(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("here"):
        token = context.attach(baggage.set_baggage("tenant", "acme"))
        carrier = carry()
        context.detach(token)
    with carried(carrier), spans.tracer.start_as_current_span("there"):
        assert baggage.get_baggage("tenant") == "acme"
    here, there = spans.named("here"), spans.named("there")
    assert trace_of(there) == trace_of(here)
    assert parent_of(there) == id_of(here)
    assert not trace.get_current_span().get_span_context().is_valid


def test_outside_a_trace_there_is_nothing_to_carry() -> None:
    assert carry() == {}
    with carried({}):
        assert not trace.get_current_span().get_span_context().is_valid


def test_too_much_baggage_is_left_behind_and_the_trace_is_kept(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("here") as here:
        everything = context.get_current()
        for n in range(40):
            everything = baggage.set_baggage(f"key{n}", "v" * 1_600, everything)
        token = context.attach(everything)
        carrier = carry()
        context.detach(token)
    assert f"{here.get_span_context().trace_id:032x}" in carrier["traceparent"]
    assert sum(map(len, (*carrier, *carrier.values()))) <= CARRIER_BYTES


def test_what_a_trace_can_do_without_goes_first() -> None:
    whole = {"traceparent": "t" * 55, "tracestate": "s" * 400, "baggage": "b" * 1_000}
    assert checked_carrier(whole) == whole
    assert list(checked_carrier(whole | {"baggage": "b" * 9_000})) == ["traceparent", "tracestate"]
    assert list(checked_carrier(whole | {"tracestate": "s" * 9_000})) == ["traceparent"]
    assert checked_carrier({"traceparent": "t" * 9_000}) == {}


@pytest.mark.parametrize(
    "carrier",
    [
        {"traceparent": "nonsense"},
        {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
        {"traceparent": "\ud800"},
        {"traceparent": 7, 7: "traceparent"},
        {"baggage": "=" * 5_000 + ";;,,%%"},
        {"baggage": "a=" + "b" * 70_000},
    ],
)
def test_what_is_malformed_is_ignored(carrier: dict[str, str]) -> None:
    with carried(carrier):
        assert not trace.get_current_span().get_span_context().is_valid


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.binary()) | st.text())
def test_a_carrier_is_always_short_and_text(carrier: object) -> None:
    checked = checked_carrier(carrier)
    assert sum(len(name.encode()) + len(value.encode()) for name, value in checked.items()) <= CARRIER_BYTES


def test_run_options_carry_the_callers_trace(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        options = run_options(None, {}, {})
    assert options.trace_id == f"{request.get_span_context().trace_id:032x}"
    assert options.trace_id in options.carrier["traceparent"]
    assert run_options(None, {}, {}).carrier == {}


def test_a_propagator_that_fails_costs_nothing(spans: Spans, monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry import propagate

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no header")

    monkeypatch.setattr(propagate, "inject", fail)
    monkeypatch.setattr(propagate, "extract", fail)

    @flows.task
    def one() -> int:
        return 1

    with spans.tracer.start_as_current_span("request"):
        assert flows.execute(one()).value == 1
    with carried({"traceparent": "x"}):
        flush()
