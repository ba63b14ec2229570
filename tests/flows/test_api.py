"""What users call: execute, submit, get and their async forms."""

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

import flows
from flows.errors import DefinitionError, FlowFailedError, UnknownRunError

PRIVATE = "memory://?private=1"

give = flows.task(lambda value=None: value, name="api-give")


@flows.flow
def forty_two() -> flows.Job[Any]:
    return give(42)


@pytest.mark.parametrize(
    "flow",
    [forty_two, forty_two(), give(42), flows.plan(forty_two), lambda: give(42), lambda: forty_two()],
    ids=["function", "flow", "job", "plan", "callable giving a job", "callable giving a flow"],
)
def test_a_flow_comes_in_many_forms(flow: Any) -> None:
    assert flows.execute(flow, executor=PRIVATE).value == 42
    assert flows.submit(flow, executor=PRIVATE).wait().value == 42
    assert asyncio.run(flows.aexecute(flow, executor=PRIVATE)).value == 42


def test_async_submit_gives_a_run_that_can_be_awaited() -> None:
    async def main() -> Any:
        run = await flows.asubmit(give(1), executor=PRIVATE, key="k")
        return (await run).value, run.key

    assert asyncio.run(main()) == (1, "k")


def test_submit_does_not_wait() -> None:
    release = threading.Event()
    run = flows.submit(flows.task(lambda: release.wait(10), name="api-hold")(), executor=PRIVATE)
    assert run.state == "running"
    release.set()
    assert run.wait().value is True


def test_check_false_gives_the_failed_run() -> None:
    broken = flows.task(lambda: dict[str, int]()["x"], name="api-broken")
    assert flows.execute(broken(), check=False).state == "failed"
    assert asyncio.run(flows.aexecute(broken(), check=False)).state == "failed"
    for call in (lambda: flows.execute(broken()), lambda: asyncio.run(flows.aexecute(broken()))):
        with pytest.raises(FlowFailedError, match="KeyError") as caught:
            call()
        assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("arguments", [{}, {"run_id": "a", "key": "b"}])
def test_get_takes_an_id_or_a_key(arguments: dict[str, str]) -> None:
    with pytest.raises(DefinitionError, match="takes a run's id or its key=, one of them"):
        flows.get(**arguments)


@pytest.mark.parametrize("arguments", [{"run_id": "nowhere"}, {"key": "nowhere"}, {"run_id": ""}, {"key": ""}])
def test_a_run_that_is_not_there_is_a_key_error(arguments: dict[str, str]) -> None:
    with pytest.raises(UnknownRunError) as caught:
        flows.get(**arguments, executor=PRIVATE)
    assert isinstance(caught.value, KeyError)
    assert repr(next(iter(arguments.values()))) in str(caught.value)


def test_a_handler_may_run_flows_of_its_own() -> None:
    inner = flows.task(lambda number: flows.execute(give(number)).value, name="api-inner")
    outer = flows.task(lambda number: flows.execute(inner(number)).value + 1, name="api-outer")
    assert flows.execute(outer(1), executor="memory://?private=1&concurrency=1").value == 2


def test_an_async_handler_may_run_flows_of_its_own() -> None:
    @flows.task(name="api-async-outer")
    async def outer() -> Any:
        return (await flows.aexecute(give(5))).value

    assert flows.execute(outer()).value == 5


def test_runs_have_a_trace_id_of_their_own_without_a_trace() -> None:
    first, second = flows.execute(give(1)), flows.execute(give(1))
    assert first.trace_id != second.trace_id


def test_runs_under_a_span_belong_to_its_trace() -> None:
    from opentelemetry import trace

    context = trace.SpanContext(trace_id=0xABC, span_id=1, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        run = flows.execute(give(1))
    assert run.trace_id == f"{0xABC:032x}"


def test_using_flows_does_not_load_its_testing_kit() -> None:
    code = """
import sys, flows
flows.execute(flows.task(lambda: 1, name="one")())
print(*sorted({"pytest", "hypothesis", "flows.testing", "networkx", "pydantic", "tenacity"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == []
