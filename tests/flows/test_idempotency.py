"""Fingerprints and keys: what changes them, what does not, and that they stay as they are."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

import flows
from flows import Backoff, Job, Opts, Queue, _idempotency
from flows.errors import DataError, IdempotencyConflictError, ResultExpiredError


@flows.task(name="unit")
def take(*values: Any, **named: Any) -> Any:
    return values


@flows.task(name="unit-pay")
def pay(order: Any, currency: str = "EUR") -> Any:
    return order


def base() -> Job[Any]:
    load = take.using(id="load")(1)
    return pay(load.out.total, currency="USD").after(take.using(id="first")())


CHANGES: dict[str, Callable[[], Any]] = {
    "task name": lambda: flows.task(pay.fn, name="unit-pay-2")(
        take.using(id="load")(1).out.total, currency="USD"
    ).after(take.using(id="first")()),
    "job id": lambda: pay(take.using(id="load2")(1).out.total, currency="USD").after(take.using(id="first")()),
    "data": lambda: pay(take.using(id="load")(2).out.total, currency="USD").after(take.using(id="first")()),
    "argument": lambda: pay(take.using(id="load")(1).out.total, currency="EUR").after(take.using(id="first")()),
    "path": lambda: pay(take.using(id="load")(1).out.sum, currency="USD").after(take.using(id="first")()),
    "optional": lambda: pay(flows.optional(take.using(id="load")(1).out.total), currency="USD").after(
        take.using(id="first")()
    ),
    "no order-only edge": lambda: pay(take.using(id="load")(1).out.total, currency="USD"),
    "policy": lambda: base().on_failure("ignore"),
    "policy below": lambda: pay(take.using(id="load")(1).out.total, currency="USD").after(
        take.using(id="first", on_failure="skip")()
    ),
    "default not given": lambda: pay(take.using(id="load")(1).out.total).after(take.using(id="first")()),
    "roots": lambda: flows.flow(_two, name="two"),
}


def _two() -> tuple[Job[Any], Job[Any]]:
    first = take.using(id="first")()
    return pay(take.using(id="load")(1).out.total, currency="USD").after(first), first


SAME: dict[str, Callable[[], Any]] = {
    "the same again": base,
    "positional for keyword": lambda: pay(take.using(id="load")(1).out.total, "USD").after(take.using(id="first")()),
    "queue": lambda: pay.using(queue=Queue("elsewhere", attempts=3))(
        take.using(id="load", queue="q")(1).out.total, "USD"
    ).after(take.using(id="first")()),
    "options": lambda: pay.using(
        attempts=5, backoff=Backoff.fixed(1), timeout=9, priority=7, lifo=True, delay=3, retry_on=(ValueError,)
    )(take.using(id="load")(1).out.total, "USD").after(take.using(id="first")()),
    "explicit default policy": lambda: base().on_failure("fail"),
    "the flow's name": lambda: flows.flow(base, name="another name"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_done_is_in_the_fingerprint(change: Callable[[], Any]) -> None:
    assert flows.plan(change()).fingerprint != flows.plan(base()).fingerprint


@pytest.mark.parametrize("same", SAME.values(), ids=SAME)
def test_how_it_is_done_is_not(same: Callable[[], Any]) -> None:
    assert flows.plan(same()).fingerprint == flows.plan(base()).fingerprint


def test_a_literal_of_the_same_work_has_the_same_fingerprint() -> None:
    load = Job("unit", id="load")
    typed = pay(take.using(id="load")().out, currency="USD")
    assert (
        flows.plan(Job("unit-pay", data={"order": load.out, "currency": "USD"})).fingerprint
        == flows.plan(typed).fingerprint
    )


def test_a_child_is_another_edge_than_an_argument_or_an_order_only_one() -> None:
    ways = [
        Job("unit-pay", children=[Job("unit")]),
        Job("unit-pay", data={"order": Job("unit").out}),
        Job("unit-pay").after(Job("unit")),
        Job("unit-pay", data={"order": [Job("unit").out]}),
    ]
    assert len({flows.plan(job).fingerprint for job in ways}) == 4


@pytest.mark.parametrize(
    ("make", "fingerprint"),
    [
        (lambda: Job("a"), "d8d295d553b49ecbd9ec58685eb0c54489155ea368546d36e56fbbca152765fb"),
        (
            lambda: Job("a", data={"ü": [1, 2.5, None, True, "✓"], "a": {}}, id="x"),
            "1fc6d3b3e7d489827b1d3934f9b39548e91a7ba38bb875ef7420a8297bd73b09",
        ),
        (base, "8f7c9af6b98c0ab72cafa91fc0ad4246f0840d9301cfe3fdbe3df452a2ba2a29"),
        (
            lambda: Job("a", children=[Job("b", opts=Opts(on_failure="remove")), Job("b")]).after(Job("c")),
            "e4595b1d692a1cdb6e325608445263c24a10e6b5c45125896a01244342b4a8c3",
        ),
        (lambda: flows.flow(_two, name="two"), "0dc0472166a72f8be6984c860731c746e688dc3e4f1399a4b0ea1efc8dee2d11"),
    ],
    ids=range(5),
)
def test_fingerprints_stay_what_they_are(make: Callable[[], Any], fingerprint: str) -> None:
    # Stored beside keys for as long as those are held: a change of these would make every stored key a conflict.
    assert flows.plan(make()).fingerprint == fingerprint


def test_the_order_of_data_s_keys_does_not_count() -> None:
    first, second = Job("a", data={"x": 1, "y": {"b": 1, "a": 2}}), Job("a", data={"y": {"a": 2, "b": 1}, "x": 1})
    assert flows.plan(first).fingerprint == flows.plan(second).fingerprint


class Model(pydantic.BaseModel):
    total: float


@dataclasses.dataclass
class Record:
    total: float


def test_models_and_dataclasses_count_as_their_data() -> None:
    prints = {flows.plan(take(data)).fingerprint for data in (Model(total=1), Record(1.0), {"total": 1.0})}
    assert len(prints) == 1


def test_data_that_looks_like_a_reference_is_none() -> None:
    reference = take(take.using(id="x")().out)
    plain = take({"$out": "x", "path": [], "optional": False}).after(take.using(id="x")())
    assert flows.plan(reference).fingerprint != flows.plan(plain).fingerprint


@pytest.mark.parametrize("value", [{1}, b"x", object(), float("nan"), {1: 2}, 2**64, "\ud800"], ids=range(7))
def test_data_without_a_json_form_has_no_fingerprint_and_no_key(value: object) -> None:
    calls: list[int] = []
    count = flows.task(lambda value: calls.append(1), name="idempotency-count")
    job = count.using(id="me")([1, {"deep": value}])
    with pytest.raises(DataError, match=r"job 'me': data\.value\[1\]\.deep"):
        _ = flows.plan(job).fingerprint
    with pytest.raises(DataError, match=r"job 'me': data\.value\[1\]\.deep"):
        flows.execute(job, executor="memory://?private=1", key="k")
    assert calls == []
    assert flows.execute(job, executor="memory://?private=1").state == "completed"


def test_the_key_of_a_job_s_effect() -> None:
    look = flows.task(lambda: flows.current().idempotency_key, name="idempotency-look")
    root = take(look().out, look.using(id="named")().out, look.using(idempotency_key="own")().out)
    run = flows.execute(root, executor="memory://?private=1")
    assert run.value == (f"{run.id}/idempotency-look", f"{run.id}/named", "own")
    keyed = flows.execute(root, executor="memory://?private=1", key="order:1")
    assert keyed.value == ("order:1/idempotency-look", "order:1/named", "own")
    assert keyed.jobs["named"].idempotency_key == "order:1/named"


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def deepest() -> int:
    """How many levels of data a flow may have."""
    levels = 1
    while True:
        try:
            flows.plan(pay(deep(levels + 1)))
        except DataError:
            return levels
        levels += 1


def test_what_can_be_planned_has_a_fingerprint_however_deep() -> None:
    assert flows.plan(pay(deep(deepest()))).fingerprint


@pytest.mark.parametrize(
    ("make", "fingerprint"),
    [
        (
            lambda: flows.when(take.using(id="ask")().out.yes, take()),
            "ce869d8a907e3dbead5657f3c55fdf4f92e19ac862a7064b62d2e4070c4db132",
        ),
        (lambda: flows.each(take, [1, 2]), "b6f4c7e807536165080036f42b21cb7e26040beb5ddfdf3d84b5972e3ac3a3d4"),
        (
            lambda: flows.each(lambda sku: pay(sku["name"], take.using(id="outside")(1).out), [{"name": "tea"}]),
            "78367be859771c9bfc44113f2e6e76d45a54bbd39919221f2a3395ef2d40921f",
        ),
    ],
    ids=["when", "each", "each with jobs around"],
)
def test_fingerprints_of_conditions_and_lists_stay_what_they_are(make: Callable[[], Any], fingerprint: str) -> None:
    assert flows.plan(make()).fingerprint == fingerprint


def test_what_a_list_has_stamped_out_is_not_in_the_fingerprint() -> None:
    make = lambda: flows.each(lambda sku: take(sku["name"]), [{"name": "tea"}])  # noqa: E731
    run = flows.execute(make(), executor="memory://?private=1")
    record: Any = run._record
    assert len(record.plan) > len(flows.plan(make()))
    assert _idempotency.fingerprint(record.plan) == flows.plan(make()).fingerprint


def test_the_data_of_an_item_is_what_it_takes_of_it() -> None:
    def refuse(name: str) -> None:
        raise ValueError(name)

    refused = flows.task(refuse, name="idempotency-refuse")
    flow = flows.each(lambda sku: refused(sku["name"]), [{"name": "tea"}])
    run = flows.execute(flow, executor="memory://?private=1", check=False)
    assert [letter.data for letter in run.dead_letters()] == [{"name": "tea"}]


def test_a_part_that_an_item_does_not_have_is_told_in_its_dead_letter() -> None:
    refused = flows.task(lambda name, other: name, name="idempotency-no-part")
    flow = flows.each(lambda sku: refused(sku["name"], sku["label"]), [{"label": "tea"}])
    run = flows.execute(flow, executor="memory://?private=1", check=False)
    (letter,) = run.dead_letters()
    assert letter.data == {"name": {"$item": {"label": "tea"}, "path": ["name"]}, "other": "tea"}
    assert "name" in letter.error.message


def test_arguments_by_name_are_taken_as_they_are() -> None:
    rest = flows.task(lambda *rest: len(rest), name="idempotency-rest")
    assert flows.plan(Job("idempotency-rest", data={"rest": [1, 2]})).fingerprint == flows.plan(rest(1, 2)).fingerprint


def test_the_data_of_a_job_names_the_jobs_whose_results_it_takes() -> None:
    plan = flows.plan(pay(take.using(id="load")().out.total))
    data = _idempotency.data_of(plan, plan.ids.index("unit-pay"))
    assert data == {"order": {"$out": "load", "path": ["total"], "optional": False}}


def test_the_first_job_in_which_two_flows_differ_is_told() -> None:
    step = flows.task(lambda *values: None, name="difference-step")

    def chain(*values: int, first_too: bool = False) -> flows.Plan[Any]:
        jobs = [step.using(id="job0")(values[0])]
        for number, value in enumerate(values[1:], 1):
            jobs.append(step.using(id=f"job{number}")(jobs[-1].out, value))
        return flows.plan(flows.Flow("f", tuple(jobs if first_too else jobs[-1:]), several=first_too))

    assert _idempotency.first_difference(chain(1, 2, 3), chain(1, 2, 3)) is None
    assert _idempotency.first_difference(chain(1, 2), chain(1, 2, first_too=True)) is None, "only in their roots"
    assert _idempotency.first_difference(chain(1, 2, 3), chain(1, 7, 8)) == "job1"
    assert _idempotency.first_difference(chain(1, 2), chain(1, 2, 3)) == "job2"
    assert _idempotency.first_difference(chain(1, 2, 3), chain(1, 2)) == "job2"
    grown = chain(1, 2, 3)
    grown._origin = chain(4, 2, 3)
    for pair in ((grown, chain(1, 2, 3)), (chain(1, 2, 3), grown)):
        assert _idempotency.first_difference(*pair) == "job0", "as they were submitted"


def test_what_is_said_of_a_key_that_is_taken() -> None:
    ours, theirs = (flows.plan(take.using(id="one")(take.using(id="two")(number).out)) for number in (1, 2))
    text = str(_idempotency.conflict("order:7", "run-1", theirs.fingerprint, theirs, ours))
    assert text == (
        f"the key 'order:7' belongs to run run-1 of another flow (fingerprint {theirs.fingerprint[:16]}, not "
        f"{ours.fingerprint[:16]}; they differ first at job 'two'); use another key for other work"
    )
    gone = _idempotency.conflict("order:7", "run-1", theirs.fingerprint, None, ours)
    assert isinstance(gone, IdempotencyConflictError)
    assert str(gone) == text.replace("; they differ first at job 'two'", "")
    late = _idempotency.expired("order:7", "run-1", 86400.4)
    assert isinstance(late, ResultExpiredError)
    assert str(late).startswith(
        "run run-1 of the key 'order:7' has ended and is past its retention, but the key stays taken for another "
        "86,400 s, so that its work is not done twice; use another key for other work"
    )
