"""One trace a run: what spans there are, under whom, linked to what, and how they end."""

import asyncio
import gc
import threading

from opentelemetry import context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import flows
from executors.memory import MemoryExecutor
from flows import Job
from tests.recorded import Record, Spans, attributes, id_of, links_of, parent_of, record, spans, trace_of

__all__ = ["record", "spans"]

SOON = 20.0


@flows.task(queue="traced")
def one() -> int:
    return 1


@flows.task(queue="traced-sums")
def add(first: int, second: int) -> int:
    return first + second


@flows.task(queue="traced")
async def double(value: int) -> int:
    return 2 * value


@flows.flow
def diamond() -> Job[int]:
    start = one()
    return add(start.out, double(start.out).out)


def test_a_run_is_one_trace_under_the_callers_span(spans: Spans) -> None:
    with spans.tracer.start_as_current_span("request") as request:
        run = flows.execute(diamond)
    root = spans.named("flow diamond")
    assert root.kind is SpanKind.INTERNAL
    assert parent_of(root) == request.get_span_context().span_id
    attempts = [spans.of(job)[0] for job in ("one", "double", "add")]
    assert len(spans.all) == 5
    assert {trace_of(span) for span in spans.all} == {run.trace_id}
    for span in attempts:
        assert span.kind is SpanKind.CONSUMER
        assert parent_of(span) == id_of(root)
        assert span.status.status_code is StatusCode.UNSET
    first, second, last = attempts
    assert links_of(first) == []
    assert links_of(second) == [("dependency", id_of(first))]
    assert links_of(last) == [("dependency", id_of(first)), ("dependency", id_of(second))]


def test_spans_follow_the_messaging_conventions(spans: Spans) -> None:
    run = flows.execute(diamond, key="diamond:conventions", executor="memory://?private=1")
    (span,) = spans.of("add")
    said = attributes(span)
    worker = said.pop("messaging.client.id")
    assert worker == run.jobs["add"].worker
    assert span.name == "process traced-sums"
    assert said == {
        "messaging.system": "flows",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "traced-sums",
        "messaging.message.id": "add",
        "messaging.message.conversation_id": run.id,
        "flows.task.name": "add",
        "flows.task.attempt": 1,
    }
    assert attributes(spans.named("flow diamond")) == {
        "messaging.system": "flows",
        "messaging.message.conversation_id": run.id,
        "messaging.batch.message_count": 3,
        "flows.flow.name": "diamond",
        "flows.outcome": "completed",
    }


def test_handlers_run_with_their_attempts_span_as_the_current_one(spans: Spans) -> None:
    together = threading.Barrier(2)

    def spanned(inner: str) -> int:
        with spans.tracer.start_as_current_span(inner):
            return 1

    @flows.task
    def left() -> int:
        together.wait(SOON)  # in two threads at once
        return spanned("in left")

    @flows.task
    def right() -> int:
        together.wait(SOON)
        return spanned("in right")

    @flows.task
    async def looped(first: int, second: int) -> int:
        await asyncio.sleep(0)
        return spanned("in looped")

    run = flows.execute(looped(left().out, right().out))
    for job in ("left", "right", "looped"):
        inner = spans.named(f"in {job}")
        assert parent_of(inner) == id_of(spans.of(job)[0])
        assert trace_of(inner) == run.trace_id
    assert not trace.get_current_span().get_span_context().is_valid  # nothing is left behind in the caller


def test_a_flow_run_by_a_handler_is_part_of_its_trace(spans: Spans) -> None:
    @flows.task
    def outer() -> str:
        return flows.execute(diamond).trace_id

    run = flows.execute(outer())
    assert run.value == run.trace_id
    assert parent_of(spans.named("flow diamond")) == id_of(spans.of("outer")[0])


def test_baggage_reaches_handlers(spans: Spans) -> None:
    from opentelemetry import baggage

    @flows.task
    def reads() -> object:
        return baggage.get_baggage("tenant")

    token = context.attach(baggage.set_baggage("tenant", "acme"))
    try:
        assert flows.execute(reads()).value == "acme"
    finally:
        context.detach(token)


def test_links_stop_at_what_an_sdk_keeps_and_the_count_goes_on(spans: Spans) -> None:
    @flows.task
    def total(values: list[int]) -> int:
        return sum(values)

    flows.execute(total([one.using(id=f"one{n}")().out for n in range(200)]))
    (span,) = spans.of("total")
    assert len(span.links) == 128
    assert span.dropped_links == 0
    assert attributes(span)["flows.dependency.count"] == 200


def test_who_joins_a_keyed_run_adds_no_span(spans: Spans) -> None:
    executor = MemoryExecutor("memory://?private=1")
    first = flows.execute(diamond, key="diamond:1", executor=executor)
    second = flows.execute(diamond, key="diamond:1", executor=executor)
    assert second.trace_id == first.trace_id
    assert len(spans.all) == 4


def test_a_run_that_goes_on_stays_in_its_trace(spans: Spans) -> None:
    executor = MemoryExecutor("memory://?private=1")
    run = flows.execute(one(), executor=executor)
    record = executor.find(run_id=run.id)
    assert record is not None
    record.observe_again()
    record.dismiss()
    first, second = [span for span in spans.all if span.name == "flow one"]
    assert trace_of(second) == trace_of(first) == run.trace_id
    assert links_of(second) == [("previous_attempt", id_of(first))]


def test_without_a_callers_span_the_trace_is_the_runs_own(spans: Spans) -> None:
    first, second = flows.execute(one()), flows.execute(one())
    assert first.trace_id != second.trace_id
    assert parent_of(spans.all[-1]) is None


def test_a_trace_that_is_sampled_out_makes_no_spans_and_is_handed_on(record: Record) -> None:
    spans = record(ALWAYS_OFF)
    seen: list[tuple[str, bool]] = []

    def look() -> int:
        span = trace.get_current_span()
        seen.append((f"{span.get_span_context().trace_id:032x}", span.is_recording()))
        return 1

    @flows.task
    async def on_the_loop(value: int) -> int:
        return look()

    run = flows.execute(on_the_loop(flows.task(look)().out))
    assert seen == [(run.trace_id, False), (run.trace_id, False)]
    assert not spans.all


def test_no_payload_is_in_any_span(spans: Spans) -> None:
    @flows.task(idempotency_key="secret-key")
    def quiet(word: str, *, card: str) -> str:
        return word + "-result"

    flows.execute(quiet("secret-argument", card="secret-card"), key="secret-run-key", executor="memory://?private=1")
    written = "".join(span.to_json() for span in spans.all)
    assert "secret" not in written
    assert "-result" not in written


def test_a_traced_run_leaves_memory_with_its_handle(spans: Spans) -> None:
    executor = MemoryExecutor("memory://?private=1")
    run = flows.execute(one(), executor=executor)
    run_id = run.id
    assert executor.find(run_id=run_id) is not None
    del run
    gc.collect()
    assert executor.find(run_id=run_id) is None
