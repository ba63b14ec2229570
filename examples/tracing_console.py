"""Tracing: one trace a run, a span for each attempt, links to what it took; what handlers do stands below.

Needs the extra `otel`: pip install '.[otel]' in a checkout.
"""

import io
import sys

import flows
from flows import Backoff, Job

lines = io.StringIO()
flows.telemetry.to_console(out=lines)  # in a program of yours just to_console(), or to_otlp("http://localhost:4318")

from opentelemetry import trace  # noqa: E402  # the API is there with the library; the set-up comes first

tracer = trace.get_tracer("shop")


@flows.task(queue="orders")
def load(order_id: str) -> float:
    with tracer.start_as_current_span("SELECT order"):  # a child of this attempt's span
        return 12.5


@flows.task(queue="stock")
async def reserve(total: float) -> str:
    with tracer.start_as_current_span("POST /reserve"):  # also on the event loop
        return "shelf 4"


@flows.task(queue="payments", attempts=3, backoff=Backoff.fixed("20ms"))
def charge(total: float) -> str:
    if flows.current().attempt == 1:
        raise ConnectionError("the line is dead")  # marks its attempt's span, not the flow's
    return f"paid {total}"


@flows.task(queue="orders")
def ship(receipt: str, shelf: str) -> str:
    return f"{receipt}, from {shelf}"


@flows.flow
def order(order_id: str = "123") -> Job[str]:
    total = load(order_id).out
    return ship(charge(total).out, reserve(total).out)


with tracer.start_as_current_span("POST /orders"):  # the span of whoever asks: the run's trace is its trace
    run = flows.execute(order)

spans = lines.getvalue()
sys.stdout.write(spans)
assert run.value == "paid 12.5, from shelf 4"
assert all(line.startswith(run.trace_id[:8]) for line in spans.splitlines())
assert spans.count("process payments") == 2
assert spans.count("ERROR") == 1
assert "SELECT order" in spans
assert spans.splitlines()[-2].split("  ")[2] == "flow order"
