"""Whatever is passed to `execute`, `submit`, `get` and to what a run offers: an error of ours, and nothing has run."""

import functools
import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from executors.memory import MemoryExecutor
from executors.sqlite._url import place_of
from flows import Job
from flows._executors import executor_of
from flows._run_options import RunKeywords
from flows.errors import FlowsError
from tests.flows.odd_values import ODD, Nasty, answered, anything, text
from tests.sizes import size

untyped: Any = flows

ran: list[object] = []


@flows.task(name="fuzz-witness")
def witness(value: Any = None) -> None:
    ran.append(value)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    yield
    assert ran == []


def private() -> Any:
    return MemoryExecutor("memory://?private=1")


def refused(call: Callable[..., Any]) -> None:
    """*call* with an executor, which it does not bring to store anything if it fails, and which runs nothing."""
    executor = private()
    before = list(ran)
    run = answered(lambda: ended(call, executor))
    if run is None:
        assert ran == before
        assert len(executor._home.runs) == 0
        assert executor._home.retention._holders == {}
    ran[:] = before


def ended(call: Callable[..., Any], executor: Any) -> Any:
    """The run; one that failed, or whose deadline was so short that it had passed, is none that was refused."""
    try:
        return call(executor=executor)
    except (flows.FlowFailedError, flows.RunCancelledError) as stored:
        return stored.run


RUN_OPTIONS = st.dictionaries(st.sampled_from([*RunKeywords.__annotations__]) | text, anything, max_size=3)


def test_every_odd_value_is_answered_by_every_call() -> None:
    for value in ODD[:: size(1, 3)]:
        if not (isinstance(value, Job) or callable(value)):  # may be a flow, or make one
            answered_by_calls(value)


def answered_by_calls(value: Any) -> None:
    refused(lambda executor: untyped.execute(value, executor=executor))
    refused(lambda executor: untyped.submit(value, executor=executor))
    refused(lambda executor: untyped.execute(witness(), executor=executor, key=value))
    answered(lambda: untyped.plan(value))
    answered(lambda: untyped.Flow.of(value))
    answered(lambda: untyped.get(value, executor=private()))
    answered(lambda: untyped.get(key=value, executor=private()))
    for name in RunKeywords.__annotations__:
        refused(functools.partial(untyped.execute, witness(), **{name: value}))


def test_every_odd_value_is_answered_as_an_executor() -> None:
    for value in ODD:
        if value is not None and not (isinstance(value, str) and not value):
            with pytest.raises(FlowsError):
                untyped.execute(witness(), executor=value)


@given(RUN_OPTIONS, anything, st.booleans())
def test_any_run_options(options: dict[str, Any], key: Any, submit: bool) -> None:
    call = untyped.submit if submit else untyped.execute
    rest = {name: value for name, value in options.items() if name not in ("executor", "key", "check", "flow")}
    refused(lambda executor: call(witness(), executor=executor, key=key, **rest).wait())


SCHEMES = st.sampled_from(["memory", "redis", "rediss", "sqlite", "unix", "http", "redis+cluster", "MEMORY", "", "x-y"])
PARTS = st.text("abc019:/?#@[]%&=.;+-_\\ \n\0ß\ud800", max_size=10) | text
URLS = st.one_of(
    st.builds("{}://{}".format, SCHEMES, PARTS),
    st.builds("{}:{}".format, SCHEMES, PARTS),
    st.builds("memory://?{}={}".format, st.sampled_from(["private", "concurrency", "speed", ""]) | text, PARTS),
    st.builds(
        "memory://?concurrency={}&private=1".format, st.integers() | st.sampled_from(["٣", "²", "1_0", " 3", "1e2"])
    ),
    st.builds("redis://{}:{}@{}".format, text, st.just("secret-word"), PARTS),
    PARTS,
)


def made(url: str | None) -> Any:
    """The executor of *url*; of one for files, the place only: the files would be made."""
    text = os.environ.get("FLOWS_EXECUTOR", "") if url is None else url
    return place_of(text) if text.lower().startswith("sqlite:") else executor_of(url)


@given(URLS)
def test_any_url(url: str) -> None:
    try:
        executor = made(url or "?")
    except FlowsError as error:
        said = str(error)
    else:  # a place far away, or in a file, is not looked for before something is asked of it
        if isinstance(executor, MemoryExecutor):
            assert flows.execute(witness(), executor=executor).state == "completed"
            ran.clear()
        else:
            assert url.lower().startswith(("redis", "sqlite:", "unix:"))
        return
    assert len(said) < 1_000
    assert said.isprintable()
    assert "secret-word" not in said


@given(URLS)
def test_any_url_in_the_environment(url: str) -> None:
    usable = "\0" not in url and url.isascii()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLOWS_EXECUTOR", url if usable else "?")
        answered(lambda: made(None))


@given(anything)
def test_any_waiting_time(timeout: Any) -> None:
    run = flows.submit(Job("fuzz-witness"), executor=private()).wait()
    ran.clear()
    answered(lambda: run.wait(timeout))
    answered(lambda: run.wait(timeout=timeout))


@given(anything)
def test_any_job_of_a_run(job: Any) -> None:
    run = flows.execute(Job("fuzz-witness"), executor=private())
    ran.clear()
    answered(lambda: run.jobs[job], KeyError, Nasty)
    answered(lambda: job in run.jobs, Nasty)
    answered(lambda: run.jobs.get(job), KeyError, Nasty)


@given(anything)
def test_any_reason_to_cancel(reason: Any) -> None:
    executor = private()
    run = flows.execute(Job("fuzz-witness"), executor=executor)
    ran.clear()
    answered(lambda: run.cancel(reason))
    delayed = flows.submit(witness.using(delay="1h")(), executor=executor)
    answered(lambda: delayed.cancel(reason))
    delayed.cancel()
    assert delayed.wait(20).state == "cancelled"
    with pytest.raises(flows.RunCancelledError):
        delayed.check()


@given(anything, anything)
def test_anything_in_a_call_of_a_task(value: Any, other: Any) -> None:
    job = answered(lambda: witness(value))
    assert job is not None
    planned = answered(lambda: flows.plan(witness([value, {"other": other}])))
    if planned is not None:
        answered(lambda: planned.fingerprint)
        refused(lambda executor: flows.execute(planned, executor=executor, key="k"))
    ran.clear()


OPERATIONS: list[Callable[[Any, Any], Any]] = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, operator.pow),
    *(operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.matmul, divmod),
    *(operator.lt, operator.le, operator.gt, operator.ge, operator.eq, operator.ne, operator.contains),
    *(operator.iadd, operator.imul, operator.ior, operator.delitem),
    lambda a, _: len(a),
    lambda a, _: iter(a),
    lambda a, _: next(a),
    lambda a, _: list(a),
    lambda a, _: bool(a),
    lambda a, _: not a,
    lambda a, _: int(a),
    lambda a, _: float(a),
    lambda a, _: complex(a),
    lambda a, _: str(a),
    lambda a, _: f"{a}",
    lambda a, _: bytes(a),
    lambda a, _: round(a),
    lambda a, _: abs(a),
    lambda a, _: -a,
    lambda a, _: ~a,
    lambda a, _: reversed(a),
    lambda a, _: a(),
    lambda a, b: a(b),
    lambda a, _: [*a],
    lambda a, _: {**a},
    lambda a, _: range(a),
    lambda a, b: operator.setitem(a, 0, b),
    lambda a, _: a.__enter__(),
    lambda a, _: a._private,
    lambda a, _: a.__dunder__,
    lambda a, _: operator.index(a),
]


@given(st.sampled_from(OPERATIONS), st.sampled_from([3, "x", None, 1.5, [], {}, ()]), st.integers(0, 3))
def test_no_operation_on_a_reference_gives_a_value(operation: Callable[[Any, Any], Any], other: Any, kind: int) -> None:
    out: Any = Job("fuzz-witness").out
    stand_in = [out, out.part, out[0]["x"], flows.optional(out)][kind]
    with pytest.raises((TypeError, AttributeError)) as caught:
        operation(stand_in, other)
    assert len(str(caught.value)) < 1_000
    for swapped in (operator.add, operator.mul, operator.mod, operator.or_):
        if not (isinstance(other, str) and swapped is operator.mod):
            with pytest.raises(TypeError):
                swapped(other, stand_in)


@given(anything)
def test_only_names_and_positions_are_taken_of_a_reference(key: Any) -> None:
    out: Any = Job("fuzz-witness").out
    if type(key) is int or isinstance(key, str):
        part = answered(lambda: repr(out[key]))
        assert part is not None
        answered(lambda: flows.plan(witness(out[key])))
    else:
        with pytest.raises(TypeError) as caught:
            out[key]
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1_000
