"""Attempts of stored jobs: what handlers receive, and what becomes of what they return."""

import datetime
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import pytest

import flows
from executors._stored import Brief, Header, Input, brief, pack, read, write, writing, writing_async
from executors._stored._limits import Limits
from executors._stored._record import StoredRecord
from flows import Failed, GiveUp, Job
from flows._context import Context
from flows._control import control
from flows._handlers import perform, perform_async
from flows._run import Run
from flows._state import COMPLETED
from flows._verbs import End, Grant, Settle
from flows.executor import RunOptions
from tests.executors.columns import Clock
from tests.executors.shelf import Shelf, inside

CLOCK = Clock()


def shelved(flow: Any, **limits: int) -> Run[Any]:
    """Runs a flow to its end, jobs in order."""
    shelf = Shelf(pack(flows.plan(flow), RunOptions("run", None, "run")))
    attempt, judge = inside(writing(perform, Limits(**limits))), writing(control, Limits(**limits))
    while shelf.state.open:
        for grant in shelf.claim():
            shelf.settle((judge if grant.control else attempt)(grant, CLOCK))
    executor: Any = None
    return Run(executor, StoredRecord(shelf, "run"))


def settled(flow: Any, **limits: int) -> Settle:
    """How the first job of a flow settles."""
    shelf = Shelf(pack(flows.plan(flow), RunOptions("run", None, "run")))
    return inside(writing(perform, Limits(**limits)))(shelf.claim()[0], CLOCK)


@dataclass
class Line:
    sku: str
    price: float
    tags: set[str] = field(default_factory=set)


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    id: int = pydantic.Field(alias="orderId")
    at: datetime.datetime
    lines: list[Line]

    @property
    def first(self) -> str:
        return self.lines[0].sku


@flows.task
def load(order_id: int = 3, *, at: datetime.date = datetime.date(2024, 5, 6)) -> Order:
    assert type(at) is datetime.date
    when = datetime.datetime(2024, 5, 6, 7, 8)
    return Order(orderId=order_id, at=when, lines=[Line("tea", 2, {"a"}), Line("rum", 9.5)])


@flows.task
def look(order: Order, line: Line, price: float, *lines: Line, note: str | None = None) -> list[Any]:
    assert isinstance(order, Order)
    assert isinstance(line, Line)
    assert type(price) is float
    assert all(isinstance(one, Line) for one in lines)
    return [order.first, sorted(line.tags), price, len(lines), note]


@flows.flow
def typed() -> Any:
    order = load(7, at=datetime.date(2024, 5, 7))
    return look(order.out, order.out.lines[0], order.out.lines[0].price, order.out.lines[1], order.out.lines[0])


def test_parts_are_taken_as_the_type_of_the_whole_says() -> None:
    order = load(7)
    job = gives([order.out.first, order.out.lines[1].price])
    assert shelved(flows.when(order.out.first, job)).value == ["tea", 9.5]  # `first` is a property
    nested = flows.each(lambda n: gives([order.out.first, n]), [1])
    assert shelved(nested).value == [["tea", 1]]
    deeper = flows.each(lambda _: flows.each(lambda n: gives([order.out.first, n]), [1]), [1])
    assert shelved(deeper).value == [[["tea", 1]]]


def test_values_are_made_what_the_receiving_annotations_say() -> None:
    run = shelved(typed())
    assert run.value == ["tea", ["a"], 2.0, 2, None]
    assert isinstance(run.jobs["load"].value, Order)
    assert run.jobs["load"].value.at == datetime.datetime(2024, 5, 6, 7, 8)
    lists = shelved(flows.each(load, [1, 2])).value
    assert [order.id for order in lists] == [1, 2]


@flows.task
def wants_int(value: int) -> int:
    return value


@flows.task
def gives(value: Any) -> Any:
    return value


def test_what_does_not_fit_fails_the_job_without_another_attempt() -> None:
    run = shelved(wants_int.using(attempts=3)(gives("seven").out))
    assert run.state == "failed"
    (attempt,) = run.jobs["wants_int"].attempts
    assert attempt.error is not None
    assert attempt.error.type == "DataError"
    assert attempt.error.message.startswith("job 'wants_int': value: Input should be a valid integer")
    run = shelved(wants_int.using(attempts=3)(gives({"a": 1}).out.b.c))
    assert "job 'wants_int': .out.b.c: .b was not found in the dict" in run.jobs["wants_int"].attempts[0].error.message  # type: ignore[union-attr]


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, {1, 2}, "\ud800", b"x", object(), 2**65, [[{"a": "x" * 99}]]])
def test_a_result_that_cannot_be_kept_fails_the_job_without_another_attempt(value: Any) -> None:
    @flows.task(name="bad", attempts=5)
    def bad() -> Any:
        return value

    settle = settled(bad(), result=100)
    assert settle.end is End.FAILED
    failed = read(settle.value)
    assert failed["type"] == "BadResultError"
    assert "What the handler did stands, so it is not tried again" in failed["message"]
    assert settle.error is not None
    assert shelved(flows.each(gives, bad().out), result=100).state == "failed"


def test_a_failure_is_stored_as_json_and_the_live_exception_stays() -> None:
    @flows.task(name="raises")
    def raises() -> None:
        raise GiveUp("no use")

    settle = settled(raises())
    assert isinstance(settle.error, GiveUp)
    stored = read(settle.value)
    assert (stored["type"], stored["message"], stored["job"], stored["state"]) == (
        "GiveUp",
        "no use",
        "raises",
        "failed",
    )


@flows.task(name="literal")
def literal(
    number: int, tag: str = "none", *, children: flows.Children = flows.INJECTED, context: Context = flows.INJECTED
) -> list[Any]:
    return [number, tag, dict(children.values), list(children.failures), context.attempts, context.queue]


def test_literals_receive_data_and_children() -> None:
    children = [Job("gives", data={"value": [1]}), Job("wants_int", data={"value": 2}, id="two")]
    run = shelved(Job("literal", data={"number": "5"}, children=children))
    assert run.value == [5, "none", {"gives": [1], "two": 2}, [], 1, "default"]


def test_data_of_a_literal_is_checked_by_the_worker_where_the_producer_could_not() -> None:
    jobs = [
        Job("unseen", id="fits", data={"number": 1}),
        Job("unseen", id="more", data={"number": 1, "odd": 2}),
        Job("unseen", id="less"),
        Job("unseen", id="wrong", data={"number": "x"}),
    ]
    shelf = Shelf(pack(flows.plan(flows.flow(lambda: tuple(jobs), name="all")()), RunOptions("run", None, "run")))
    assert all(grant.run.unknown for grant in shelf.claim() if isinstance(grant.run, Brief))

    @flows.task(name="unseen", attempts=4)
    def unseen(number: int) -> int:
        return number

    for job in range(len(jobs)):
        made = brief(Header(shelf.packed.header), job, shelf.packed.rows[job])
        assert not made.unknown
        assert made.settings.attempts == 4
        settle = inside(writing(perform))(Grant(made, job, 1, 1), CLOCK)
        assert settle.end is (End.FAILED if job else End.COMPLETED)
        assert not job or read(settle.value)["type"] == "DataError"


@flows.task(name="briefs-odd-fails", on_failure="ignore")
def odd_fails(number: int) -> int:
    if number % 2:
        raise GiveUp("odd")
    return number


@flows.task(name="briefs-gathers")
def gathers(children: flows.Children = flows.INJECTED) -> list[int]:
    return [len(children.values), len(children.failures)]


class Looked(list[Any]):
    """Counts how often somebody goes through it."""

    times = 0

    def __iter__(self) -> Any:
        self.times += 1
        return super().__iter__()


@pytest.mark.parametrize("early", [False, True])
def test_many_children_are_not_gone_through_once_for_each(early: bool) -> None:
    children = [Job("briefs-odd-fails", data={"number": number}) for number in range(40)]
    if early:  # it does not wait for those that come after: of each child is asked whether it had ended
        children.insert(20, Job("briefs-odd-fails", data={"number": 1}, opts=flows.Opts(on_failure="continue")))
    flow = Job("briefs-gathers", children=children)
    shelf = Shelf(pack(flows.plan(flow), RunOptions("run", None, "run")))
    attempt = inside(writing(perform))
    while True:
        grants = shelf.claim()
        wide = [grant for grant in grants if grant.run.plan.names[grant.job] == "briefs-gathers"]
        if wide:
            break
        for grant in grants:
            shelf.settle(attempt(grant, CLOCK))
    run: Any = wide[0].run
    run.inputs = inputs = Looked(run.inputs)
    assert read(attempt(wide[0], CLOCK).value) == ([10, 11] if early else [20, 20])
    assert inputs.times <= 8


def test_the_inputs_of_a_job_may_not_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._stored._brief.LIMITS", Limits(inputs=100))
    run = shelved(gives([gives("x" * 60).out, gives("y" * 60).out]))
    assert "more than the 100 bytes that a job may have" in str(run.jobs["gives"].error)


def test_an_optional_result_is_a_failed_whatever_the_annotation_says() -> None:
    @flows.task(name="takes")
    def takes(one: int, more: list[int], other: int | Failed) -> list[str]:
        return [type(value).__name__ for value in (one, *more, other)]

    bad: Any = wants_int(gives("x").out).out
    missing: Any = flows.optional(bad)
    assert shelved(takes(missing, [1, missing], missing)).value == ["Failed", "int", "Failed", "Failed"]


def test_a_handler_tells_of_itself_and_hears_of_a_cancel() -> None:
    told: list[Any] = []

    class Sink:
        def report(self, job: int, progress: bytes) -> None:
            told.append(read(progress))

        def record(self, job: int, line: str) -> None:
            told.append(line)

        def placed(self, job: int, worker: str) -> None:
            told.append(worker)

    @flows.task(name="talks")
    def talks() -> None:
        flows.current().progress({"done": 0.5})
        flows.current().log("half way")
        made.placed(0, "a process")
        made.state.cancelling = True
        flows.current().check()

    packed = pack(flows.plan(talks()), RunOptions("run", None, "run"))
    made = brief(Header(packed.header), 0, packed.rows[0], sink=Sink())
    assert inside(writing(perform))(Grant(made, 0, 1, 1), CLOCK).end is End.CANCELLED
    assert told == [{"done": 0.5}, "half way", "a process"]


def test_async_handlers_are_written_as_sync_ones() -> None:
    import asyncio

    @flows.task(name="later")
    async def later(number: int) -> tuple[int, ...]:
        return (number, 2)

    packed = pack(flows.plan(later(gives(1).out)), RunOptions("run", None, "run"))
    made = brief(Header(packed.header), 1, packed.rows[1], [Input(0, COMPLETED, write(1, "it"))])
    settle = asyncio.run(writing_async(perform_async)(Grant(made, 1, 1, 1), CLOCK))
    assert (settle.end, settle.value) == (End.COMPLETED, b"[1,2]")


def test_a_task_that_is_defined_again_is_found_at_the_next_claim() -> None:
    def define(number: int) -> Any:
        @flows.task(name="again")
        def again() -> int:
            return number

        return again

    first = define(1)
    packed = pack(flows.plan(first()), RunOptions("run", None, "run"))
    header = Header(packed.header)
    values = []
    for number in (1, 2):
        define(number)
        grant = Grant(brief(header, 0, packed.rows[0]), 0, 1, 1)
        values.append(inside(writing(perform))(grant, CLOCK).value)
    assert values == [b"1", b"2"]


def test_no_pydantic_for_plain_builtins() -> None:
    import subprocess
    import sys

    code = """
import sys, flows
from executors._stored import *
from flows._handlers import perform
from flows._verbs import Grant
from flows.executor import RunOptions

@flows.task
def leaf(number: int, name: str | None = None, *, tags: dict[str, list[int]] = {}) -> int: return number

packed = pack(flows.plan(leaf(1, "x", tags={"a": [1]})), RunOptions("r", None, ""))
assert writing(perform)(Grant(brief(Header(packed.header), 0, packed.rows[0]), 0, 1, 1), lambda: 0.0).value == b"1"
assert "pydantic" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(flows.__file__).parent.parent)
