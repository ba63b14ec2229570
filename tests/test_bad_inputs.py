"""Bad inputs and the right answer: the class, the spot, the offending value, the remedy; and nothing has run.

One row a mistake that people make. What each module refuses in detail is tested beside it.
"""

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pydantic
import pytest

import flows
from flows import Backoff, Job, Queue
from flows.errors import (
    CycleError,
    DataError,
    DefinitionError,
    DuplicateJobError,
    DuplicateTaskError,
    FlowsError,
    IdempotencyConflictError,
    UnknownExecutorError,
    UnknownRunError,
    UnknownTaskError,
)

PRIVATE = "memory://?private=1"

untyped: Any = flows
"""What type checkers would refuse is refused at run time too."""

ran: list[object] = []


class Order(pydantic.BaseModel):
    items: list[int]


@flows.task(name="bad-count")
def count(value: Any = None, *, other: int = 0, **_: Any) -> Any:
    ran.append(value)
    return value


@flows.task(name="bad-pay")
def pay(order: Order, currency: str = "EUR") -> None:
    ran.append(order)


@pytest.fixture(autouse=True)
def nothing_ran() -> Iterator[None]:
    ran.clear()
    yield
    assert ran == []


def run(root: Any, **options: Any) -> Any:
    """Run *root* after a job that would be seen to have run."""
    if isinstance(root, Job):
        root = Job("bad-count", id="root", children=[count.using(id="witness")("witness"), root])
    return flows.execute(root, **{"executor": PRIVATE, **options})


def any_thing(value: Any) -> Any:
    return value


def cycle(length: int) -> Job[Any]:
    jobs = [Job("bad-count", id=f"step-{number}") for number in range(length)]
    for before, job in zip(jobs[-1:] + jobs, jobs, strict=False):
        job.after(before)
    return jobs[0]


def other_file(name: str) -> Any:
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec(compile(f"def handler(): ...", f"/elsewhere/{name}.py", "exec"), names)  # noqa: F541
    return names["handler"]


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None: ...


async def async_generator() -> AsyncIterator[int]:
    yield 1


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def forgets() -> Job[Any]:
    count.using(id="forgotten")()
    return count()


def reused_key() -> None:
    executor: Any = flows._executors.executor_of(PRIVATE)
    quiet = flows.task(lambda value: value, name="bad-quiet")
    flows.execute(quiet(1), executor=executor, key="order:1")
    flows.execute(quiet(2), executor=executor, key="order:1")


def twice(name: str) -> None:
    for file in ("a", "b"):
        flows.task(other_file(file), name=name)


Mistake = tuple[str, Callable[[], Any], type[FlowsError], tuple[str, ...]]

DECLARING: list[Mistake] = [
    ("a cycle", lambda: run(cycle(3)), CycleError, ("step-0", "step-1", "step-2", "->", "take one of these edges out")),
    ("a self-edge", lambda: run(cycle(1)), CycleError, ("job 'step-0' depends on itself",)),
    ("one id twice", lambda: run(Job("a", children=[Job("b", id="x"), Job("c", id="x")])), DuplicateJobError,
     ("'x'", "'b'", "'c'", "give another id=")),
    ("no root", lambda: run(untyped.flow(lambda: (), name="empty")), DefinitionError,
     ("'empty'", "()", "returns the job")),
    ("a list of roots", lambda: run(untyped.flow(lambda: [count()], name="f")), DefinitionError,
     ("'f'", "a tuple of jobs")),
    ("a job forgotten", lambda: run(flows.flow(forgets)), DefinitionError,
     ("job 'forgotten' of flow 'forgets'", "would never run", ".after()")),
    ("a flow that needs arguments", lambda: run(untyped.flow(lambda order_id: count(), name="f")), DefinitionError,
     ("'f'", "order_id")),
    ("a reference for its job", lambda: run(count().out), DefinitionError, ("bad-count.out", "without .out")),
    ("an unknown task", lambda: run(Job("bad-cuont", id="me")), UnknownTaskError,
     ("'me'", "did you mean 'bad-count'")),
    ("one task in two files", lambda: twice("bad-twice"), DuplicateTaskError,
     ("'bad-twice'", "/elsewhere/a.py:1", "/elsewhere/b.py:1", "another name= or queue=")),
    ("a lambda without name", lambda: untyped.task(lambda: 1), DefinitionError, ("lambda", "name=")),
    ("a class", lambda: untyped.task(Order), DefinitionError, ("Order", "class", "wrap the call in a function")),
    ("a coroutine object", lambda: untyped.task(coroutine()), DefinitionError, ("coroutine", "leave out the call")),
    ("a generator function", lambda: untyped.task(generator), DefinitionError, ("generator", "return a list")),
    ("an async generator function", lambda: untyped.task(async_generator), DefinitionError,
     ("async_generator", "generator", "return a list")),
    ("no callable", lambda: untyped.task("pay", name="x"), DefinitionError, ("'pay'", "not callable")),
    ("too few arguments", lambda: run(any_thing(pay)()), DefinitionError,
     ("'bad-pay'", "'order'", "it takes bad-pay(")),
    ("too many arguments", lambda: run(any_thing(pay)(1, "EUR", 3)), DefinitionError, ("'bad-pay'", "too many")),
    ("an unknown argument", lambda: run(any_thing(pay)(1, curency="EUR")), DefinitionError, ("'bad-pay'", "'curency'")),
    ("an id that an item will have", lambda: run(
        count.using(id="both")([flows.each(any_thing(count), [1]).out, count.using(id="bad-count[0]")().out])),
     DuplicateJobError, ("the id 'bad-count[0]' is that of an item", "give another id=")),
    ("no job as child", lambda: untyped.Job("a", children=["b"]), DefinitionError, ("job 'a'", "'b'", "takes jobs")),
    ("no job to come after", lambda: count().after(any_thing("b")), DefinitionError, ("'bad-count'", "'b'")),
    ("a missing value", lambda: run(pay(count().on_failure("ignore").out)), DefinitionError,
     ("'bad-pay'", "'order'", "'bad-count", "on_failure='ignore'", "flows.optional(")),
]  # fmt: skip

NAMES: list[Mistake] = [
    ("an empty name", lambda: Job(""), DefinitionError, ("job name ''", "1 to 128")),
    ("a long name", lambda: Job("x" * 129), DefinitionError, ("129 characters", "1 to 128")),
    ("a task with an empty name", lambda: untyped.task(any_thing, name=""), DefinitionError,
     ("task name ''", "1 to 128")),
    ("a name that is no text", lambda: untyped.Job(42), DefinitionError, ("42", "int")),
    ("a newline", lambda: Job("a\nb"), DefinitionError, ("'a\\nb'", "U+000A at position 1", "leave it out")),
    ("a NUL", lambda: Job("a\0"), DefinitionError, ("U+0000",)),
    ("a bidi override", lambda: Job("a\u202eb"), DefinitionError, ("U+202E",)),
    ("a zero-width space", lambda: Job("a\u200bb"), DefinitionError, ("U+200B",)),
    ("a lone surrogate", lambda: Job("a\ud800"), DefinitionError, ("U+D800",)),
    ("an empty queue", lambda: Job("a", queue=""), DefinitionError, ("queue ''", "A-Z a-z 0-9 _ . -")),
    ("a queue that is no text", lambda: untyped.Job("a", queue=7), DefinitionError, ("queue 7", "int")),
    ("a queue with a colon", lambda: Queue("a:b"), DefinitionError, ("U+003A at position 1",)),
    ("a queue without workers", lambda: Queue("a", concurrency=0), DefinitionError, ("concurrency 0",)),
    ("an empty key", lambda: run(count(), key=""), DefinitionError, ("key ''", "1 to 255")),
    ("a long key", lambda: run(count(), key="x" * 256), DefinitionError, ("256 characters",)),
    ("a key that cannot be seen", lambda: run(count(), key="a\t"), DefinitionError, ("U+0009",)),
    ("a key that is no text", lambda: run(count(), key=7), DefinitionError, ("key 7", "int")),
    ("a key of another flow", reused_key, IdempotencyConflictError, ("'order:1'", "use another key")),
    ("a run that is not there", lambda: flows.get("nowhere", executor=PRIVATE), UnknownRunError, ("'nowhere'",)),
    ("no run at all", lambda: flows.get(), DefinitionError, ("id or its key=",)),
]  # fmt: skip


def keyed(value: object) -> Callable[[], Any]:
    return lambda: run(count.using(id="me")({"deep": [0, value]}), key="k")


DEEP = "job 'me': data.value.deep[1]"

DATA: list[Mistake] = [
    ("a set", keyed({1}), DataError, (DEEP, "{1}", "set")),
    ("bytes", keyed(b"x"), DataError, (DEEP, "b'x'", "bytes")),
    ("an object", keyed(sys), DataError, (DEEP, "module")),
    ("NaN", keyed(float("nan")), DataError, (DEEP, "nan", "pass None or text")),
    ("infinity", keyed(float("-inf")), DataError, (DEEP, "-inf")),
    ("an int beyond 64 bits", keyed(2**64), DataError, (DEEP, "65 bits", "pass it as text")),
    ("an int of 5,000 digits", keyed(10**5_000), DataError, (DEEP, "16610 bits")),
    ("a key of data that is no text", keyed({1: 2}), DataError, (DEEP, "the key 1", "convert it")),
    ("a lone surrogate in data", keyed("a\udc00"), DataError, (DEEP, "position 1")),
    ("data in a circle", lambda: run(count.using(id="me")(circular())), DataError, ("job 'me'", "circular")),
    ("data too deep", lambda: run(Job("bad-count", id="me", data={"value": nested(65)})), DataError,
     ("job 'me'", "64")),
    ("data that is no mapping", lambda: untyped.Job("a", data=[1]), DefinitionError, ("job 'a'", "[1]", "mapping")),
    ("a reference in a set", lambda: run(count.using(id="me")({count()})), DataError, ("job 'me'", "use a list")),
    ("data that is missing", lambda: run(Job("bad-pay", id="me")), DataError,
     ("job 'me'", "lacks 'order'", "bad-pay(")),
    ("data that is unknown", lambda: run(Job("bad-pay", id="me", data={"order": {"items": []}, "curency": "EUR"})),
     DataError, ("job 'me'", "'curency'", "bad-pay(")),
    ("data that does not fit", lambda: run(Job("bad-pay", id="me", data={"order": {"items": [1, "x"]}})),
     DataError, ("job 'me': data.order.items[1]", "valid integer", "(got 'x')")),
]  # fmt: skip

OPTIONS: list[Mistake] = [
    (f"{name}={value!r}", functools.partial(any_thing(count).using, **{name: value}), DefinitionError,
     (f"option {name}", repr(value).strip("(,)")))
    for name, values in {
        "delay": (-1, float("nan"), float("inf"), True, "5x", "soon", "367d"),
        "attempts": (0, -1, 1.5, True, 1_001, "3"),
        "timeout": (0, -1, "0s", float("nan"), False),
        "priority": (-1, 1.5, True, "high"),
        "lifo": (1, "yes"),
        "backoff": (3, "1s", [1]),
        "retry": (3,),
        "retry_on": (ValueError(), KeyboardInterrupt, asyncio.CancelledError, "ValueError", (3,)),
        "give_up_on": (BaseException, 42),
        "on_failure": ("ignored", "", 3),
        "idempotency_key": ("", "a\nb", 7),
        "run_in": ("fibre", 3),
    }.items()
    for value in values
]  # fmt: skip
OPTIONS += [
    ("an unknown option", lambda: untyped.Opts(retires=3), DefinitionError, ("'retires'", "did you mean attempts?")),
    ("options as a dict", lambda: untyped.Job("a", opts={"attempts": 3}), DefinitionError, ("'a'", "flows.Opts(")),
    ("a negative wait", lambda: Backoff.fixed(-1), DefinitionError, ("-1",)),
    ("a factor below one", lambda: Backoff.exponential(1, factor=0.5), DefinitionError, ("0.5",)),
    ("a cap below the first wait", lambda: Backoff.exponential(10, cap=1), DefinitionError, ("cap",)),
    ("a jitter above one", lambda: Backoff.exponential(1, jitter=1.5), DefinitionError, ("1.5",)),
    ("no steps", lambda: Backoff.steps([]), DefinitionError, ("steps",)),
    ("a process", lambda: run(flows.task(lambda: 1, name="one").using(run_in="process")()), DefinitionError,
     ("'one'", "run_in='process'", "top level of a module")),
]  # fmt: skip

FLOWS: list[Mistake] = [
    (f"{value!r} for a flow", functools.partial(untyped.execute, value, executor=PRIVATE), DefinitionError,
     (repr(value)[:40], "is no flow", "@flows.flow"))
    for value in list[Any]([None, 42, "x", b"x", 1.5, [], (), {"name": "a"}, int, Order, object, True])
]  # fmt: skip

EXECUTORS: list[Mistake] = [
    (f"executor {url!r}", functools.partial(run, count(), executor=url), UnknownExecutorError, said)
    for url, said in {
        42: ("42", "a URL or an executor"),
        "": ("''", "memory://"),
        "x": ("'x'", "begins with a scheme"),
        "redis+foo://h": ("'redis+foo'", "there are ", "memory://"),
        "http://h": ("'http'", "there are ", "memory://"),
        "redis://localhost:6379/zero": ("redis://localhost:6379/zero", "database"),
        "memory://host": ("'memory://host'", "no host or path"),
        "memory:///path": ("no host or path",),
        "memory://#private=1": ("no host or path",),
        "memory://[": ("'memory://['", "is no URL"),
        "memory://a\u2100": ("is no URL", "NFKC"),
        "memory://?concurrency=" + "9" * 5_000: ("'999", "up to 10000"),
        "memory://?speed=9": ("'speed'", "private, concurrency and processes"),
        "memory://?concurrency=0": ("concurrency='0'", "whole number up to 10000"),
        "memory://?concurrency=-1": ("concurrency='-1'",),
        "memory://?concurrency=10001": ("concurrency='10001'",),
        "memory://?concurrency=many": ("concurrency='many'",),
        "memory://?concurrency=": ("concurrency=''",),
        "memory://?private=yes": ("private='yes'",),
    }.items()
]

WORKERS: list[Mistake] = [
    (f"a worker of {name}={value!r}", functools.partial(untyped.Worker, **{"executor": PRIVATE, name: value}),
     DefinitionError, (name.removesuffix("s"), repr(value).strip("(,)"), *said))
    for name, values, said in (
        ("concurrency", (0, -1, 10_001, True, 1.5, "50", None, float("nan")), ("from 1 to 10,000",)),
        ("grace", (-1, float("nan"), "soon", None, True, "2d"), ()),
        ("name", ("", "a\nb", 7), ()),
        ("queues", ("payments", 7, Queue("a")), ("['payments']",)),
    )
    for value in values
]  # fmt: skip
WORKERS += [
    ("a worker of no queues", lambda: untyped.Worker(queues=[]), DefinitionError, ("queues", "empty", "leave it out")),
    ("a worker of a bad queue", lambda: untyped.Worker(queues=["a b"]), DefinitionError, ("'a b'", "U+0020")),
    ("a worker of a long name", lambda: untyped.Worker(name="x" * 129), DefinitionError, ("worker name", "129")),
    ("a worker of many mistakes", lambda: untyped.Worker(queues=[], concurrency=0, grace=-1), DefinitionError,
     ("3 problems", "queues", "concurrency", "grace")),
    ("a worker of nowhere", lambda: untyped.Worker("x"), UnknownExecutorError, ("'x'", "begins with a scheme")),
]  # fmt: skip

MISTAKES = DECLARING + NAMES + DATA + OPTIONS + FLOWS + EXECUTORS + WORKERS


@pytest.mark.parametrize(("do", "kind", "said"), [row[1:] for row in MISTAKES], ids=[row[0][:60] for row in MISTAKES])
def test_a_mistake_is_answered(do: Callable[[], Any], kind: type[FlowsError], said: tuple[str, ...]) -> None:
    with pytest.raises(kind) as caught:
        do()
    text = str(caught.value)
    assert [part for part in said if part not in text] == [], text
    assert len(text) < 1_000
    assert text.isprintable() or "problems:" in text


def test_up_to_twenty_mistakes_are_told_at_once() -> None:
    children = [Job(f"bad-task-{number}", id=f"job-{number}") for number in range(25)]
    with pytest.raises(UnknownTaskError) as caught:
        run(Job("bad-count", children=children))
    text = str(caught.value)
    assert text.startswith("25 problems:")
    assert [f"'job-{number}'" in text for number in range(25)] == [True] * 20 + [False] * 5
    assert text.endswith("… and 5 more")
    assert len(caught.value.problems) == 25


def test_data_of_many_jobs_that_does_not_fit_is_told_at_once() -> None:
    wrong = [Job("bad-pay", id=f"pay-{number}", data={"order": number, "x": 1}) for number in range(3)]
    with pytest.raises(DataError) as caught:
        run(Job("bad-count", children=wrong))
    assert len(caught.value.problems) == 6
    assert all(f"job 'pay-{number}'" in str(caught.value) for number in range(3))


def test_the_executor_of_the_environment_is_checked_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWS_EXECUTOR", "redis+foo://me:secret@h")
    with pytest.raises(UnknownExecutorError, match=r"'redis\+foo'") as caught:
        flows.execute(count())
    assert "secret" not in str(caught.value)


class Loud:
    def __repr__(self) -> str:
        return "\x1b[31m" + "loud " * 1_000


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [Loud(), Mute()], ids=["loud", "mute"])
def test_a_value_that_cannot_be_shown_is_refused_all_the_same(value: object) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: untyped.execute(value),
        lambda: untyped.Job(value),
        lambda: untyped.task(value, name="x"),
        lambda: untyped.Opts(delay=value),
    ]
    for do in calls:
        with pytest.raises(DefinitionError) as caught:
            do()
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 500


def test_what_looks_odd_and_is_no_mistake() -> None:
    child = Job("bad-count", id="child")
    assert flows.plan(Job("bad-count", id="root", children=[child, child])).order == ("child", "root")
    assert flows.plan(count.using(delay=0)()).settings[0].delay == 0
    for name in (".", "a//b", "__init__", "a:b {c} [d]*?", "e\u0301", "x" * 128):
        assert flows.plan(Job(name, children=[Job(name.upper(), id="other")])).order == ("other", name)
