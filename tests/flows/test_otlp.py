"""A real exporter sends a run's trace over HTTP to a real receiver."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.otlp import collector, links, said

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, sys, threading
import flows
from opentelemetry import trace

together = threading.Barrier(2)
tracer = trace.get_tracer("shop")

@flows.task(queue="orders")
def load() -> int:
    together.wait(20)
    with tracer.start_as_current_span("SELECT"):
        return 2

@flows.task(queue="stock")
def reserve() -> int:
    together.wait(20)
    with tracer.start_as_current_span("LOCK"):
        return 3

@flows.task(queue="payments", attempts=2)
async def charge(order: int) -> int:
    await asyncio.sleep(0)
    with tracer.start_as_current_span("POST"):
        if flows.current().attempt == 1:
            raise ConnectionError("the line is dead")
        return order

@flows.task(queue="orders")
def ship(paid: int, stock: int) -> int:
    return flows.execute(notify(paid + stock)).value

@flows.task(queue="mail")
def notify(total: int) -> int:
    return total

@flows.flow
def order():
    return ship(charge(load().out).out, reserve().out)

for _ in range(2):  # a second call changes nothing
    flows.telemetry.to_otlp(sys.argv[1], service_name="shop", headers={"x-token": "t"})
with tracer.start_as_current_span("POST /orders"):
    run = flows.execute(order)
assert run.value == 5
print(run.trace_id)
"""


WITH_PROCESSES = """
import sys
import flows
from opentelemetry import trace

flows.telemetry.to_otlp(sys.argv[1])  # where a child imports the script, too
tracer = trace.get_tracer("shop")

@flows.task(run_in="process")
def crunch(n: int) -> int:
    with tracer.start_as_current_span("crunching"):
        return sum(range(n))

@flows.task(run_in="process")
async def acrunch(n: int) -> int:
    with tracer.start_as_current_span("acrunching"):
        return n

@flows.task
def both(a: int, b: int) -> int:
    return a + b

if __name__ == "__main__":
    with tracer.start_as_current_span("POST /numbers"):
        run = flows.execute(both(crunch(10).out, acrunch(5).out))
    assert run.value == 50
    print(run.trace_id)
"""


def test_spans_of_processes_join_the_trace_under_their_attempts(tmp_path: Path) -> None:
    path = tmp_path / "processes.py"
    path.write_text(WITH_PROCESSES)
    with collector() as received:
        done = subprocess.run(
            [sys.executable, str(path), received.endpoint], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    spans = {span.name: span for span in received.spans}
    assert {span.trace_id.hex() for span in received.spans} == {done.stdout.strip()}
    jobs = received.jobs()
    assert spans["crunching"].parent_span_id == jobs["crunch", "1"].span_id
    assert spans["acrunching"].parent_span_id == jobs["acrunch", "1"].span_id
    assert jobs["crunch", "1"].parent_span_id == spans["flow both"].span_id
    taken = {("dependency", jobs["crunch", "1"].span_id), ("dependency", jobs["acrunch", "1"].span_id)}
    assert links(jobs["both", "1"]) == taken


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def test_a_receiver_sees_one_trace_with_the_right_parents_and_links(program: Path) -> None:
    with collector() as received:
        done = subprocess.run(
            [sys.executable, str(program), received.endpoint], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
    spans = {span.name: span for span in received.spans}
    assert {span.trace_id.hex() for span in received.spans} == {done.stdout.strip()}
    request, root, nested = spans["POST /orders"], spans["flow order"], spans["flow notify"]
    assert request.parent_span_id == b""
    assert root.parent_span_id == request.span_id
    assert root.kind == Span.SPAN_KIND_INTERNAL
    jobs = received.jobs()
    assert set(jobs) == {
        *(("load", "1"), ("reserve", "1"), ("charge", "1"), ("charge", "2"), ("ship", "1"), ("notify", "1"))
    }
    load, reserve, first, second, ship = (
        jobs[job] for job in (("load", "1"), ("reserve", "1"), ("charge", "1"), ("charge", "2"), ("ship", "1"))
    )
    for span in (load, reserve, first, second, ship):
        assert span.kind == Span.SPAN_KIND_CONSUMER
        assert span.parent_span_id == root.span_id
    assert nested.parent_span_id == ship.span_id
    assert jobs["notify", "1"].parent_span_id == nested.span_id
    assert links(first) == {("dependency", load.span_id)}
    assert links(second) == {("dependency", load.span_id), ("previous_attempt", first.span_id)}
    assert links(ship) == {("dependency", second.span_id), ("dependency", reserve.span_id)}
    assert first.status.code == Status.STATUS_CODE_ERROR
    assert said(first.attributes)["error.type"] == "ConnectionError"
    assert root.status.code == second.status.code == Status.STATUS_CODE_UNSET
    # What handlers do stands under their attempt: in threads, and on the loop.
    assert spans["SELECT"].parent_span_id == load.span_id
    assert spans["LOCK"].parent_span_id == reserve.span_id
    posts = {span.parent_span_id for span in received.spans if span.name == "POST"}
    assert posts == {first.span_id, second.span_id}
    assert len(received.spans) == 13
    assert received.services == {"shop"}
    assert {headers.get("x-token") for headers in received.headers} == {"t"}
    assert {"messaging.process.duration", "flows.job.outcomes", "flows.job.attempts"} <= received.measured


WITHOUT = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(sys.argv[1]):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Refuse())
import flows
try:
    getattr(flows.telemetry, sys.argv[2])()
except flows.MissingDependencyError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("missing", "call"),
    [
        ("opentelemetry.sdk", "to_console"),
        ("opentelemetry.sdk", "to_otlp"),
        ("opentelemetry.exporter", "to_otlp"),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_have_it(missing: str, call: str) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT, missing, call], capture_output=True, text=True, timeout=60)
    assert "pip install 'flowproducer[otel]'" in done.stdout, done.stderr


CONSOLE = """
import io
import flows

@flows.task(attempts=2)
def charge() -> int:
    if flows.current().attempt == 1:
        raise ConnectionError("no\\nline")
    return 1

out = io.StringIO()
flows.telemetry.to_console(out=out)
flows.telemetry.to_console(out=out)
run = flows.execute(charge())
first, second, root = out.getvalue().splitlines()
assert first.startswith(run.trace_id[:8])
assert "process default  charge  attempt 1" in first
assert first.endswith("ERROR ConnectionError: no\\\\nline"), first
assert second.endswith("links 1")
assert "flow charge" in root
"""


def test_the_console_gets_a_line_a_span() -> None:
    done = subprocess.run([sys.executable, "-c", CONSOLE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


BESIDE = """
import sys
import flows
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

own = TracerProvider()
trace.set_tracer_provider(own)
flows.telemetry.to_otlp(sys.argv[1], metrics=False)
assert trace.get_tracer_provider() is own

@flows.task
def one() -> int:
    return 1

flows.execute(one())
"""


def test_a_provider_of_the_programs_own_is_kept(tmp_path: Path) -> None:
    with collector() as received:
        command = [sys.executable, "-c", BESIDE, received.endpoint]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
    assert {span.name for span in received.spans} == {"flow one", "process default"}
    assert received.measured == set()
