"""What a handler's parameters ask for: injection by annotation however it is written, data validated by hints."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from typing import TYPE_CHECKING, Annotated, Any

import pydantic
import pytest

import flows
from flows import Children, Context
from flows._signature import CHILDREN, CONTEXT, Parameters
from flows.errors import DataError, DefinitionError

if TYPE_CHECKING:
    from decimal import Decimal

    from somewhere_else import Unknown  # type: ignore[import-not-found]

    from flows import Children as Kids


class Item(pydantic.BaseModel):
    sku: str
    count: int = 1


@dataclasses.dataclass
class Order:
    items: list[Item]
    at: datetime.date | None = None


def parameters(fn: Any) -> Parameters:
    return Parameters(flows.task(fn, name="signature"))


def validated(fn: Any, **data: Any) -> dict[str, Any]:
    return parameters(fn).validated(data, "job 'x'")


class Holder:
    def method(self, children: Children, context: Context) -> None: ...

    def __call__(self, children: Children, context: Context) -> None: ...


def plain(children: Children, context: Context) -> None: ...


def dotted(children: flows.Children, context: flows.Context) -> None: ...


def quoted(children: "Children", context: "flows.Context") -> None: ...  # noqa: UP037 - twice quoted is meant


async def on_loop(children: Children, *, context: Context = flows.INJECTED) -> None: ...


@functools.wraps(plain)
def decorated(*arguments: Any) -> None: ...


@pytest.mark.parametrize(
    "fn",
    [plain, dotted, quoted, on_loop, decorated, Holder().method, Holder(), functools.partial(Holder.method, Holder())],
    ids=range(8),
)
def test_children_and_context_are_told_by_their_annotation(fn: Any) -> None:
    assert parameters(fn).injected == {"children": CHILDREN, "context": CONTEXT}


def test_a_name_imported_for_type_checkers_only_counts_by_its_last_part() -> None:
    def handler(a: Unknown, b: Decimal, kids: not_there.Children = flows.INJECTED) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    assert parameters(handler).injected == {"kids": CHILDREN}
    assert validated(handler, a="anything", b=[1]) == {"a": "anything", "b": [1]}


def test_a_renamed_import_for_type_checkers_only_is_said_to_be_no_annotation_we_know() -> None:
    def handler(kids: Kids = flows.INJECTED) -> None: ...

    with pytest.raises(DefinitionError, match=r"parameter 'kids' defaults to INJECTED .* annotate it flows.Children"):
        parameters(handler)


def test_injected_without_such_an_annotation_is_refused() -> None:
    for fn in (lambda children=flows.INJECTED: None, _annotated_otherwise):
        with pytest.raises(DefinitionError, match=r"task 'signature': parameter '\w+' defaults to INJECTED but"):
            parameters(fn)


def _annotated_otherwise(context: int = flows.INJECTED) -> None: ...


def test_annotations_that_no_one_can_evaluate_mean_anything() -> None:
    def handler(a: 1 / 0, b: [int], c: "no python at all", d: {}.get) -> None: ...  # type: ignore[valid-type, misc]  # noqa: F722

    assert parameters(handler).injected == {}
    assert validated(handler, a=1, b=2, c=3, d=4) == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_data_becomes_what_the_hints_say() -> None:
    def handler(
        order: Order, when: datetime.date, ratio: float, names: tuple[str, ...], also: Item | None = None
    ) -> None: ...

    data = {"items": [{"sku": "a", "count": "3"}], "at": "2024-02-29"}
    taken = validated(handler, order=data, when="2024-01-01", ratio=1, names=["x"])
    assert taken["order"] == Order([Item(sku="a", count=3)], datetime.date(2024, 2, 29))
    assert (taken["when"], taken["ratio"], taken["names"]) == (datetime.date(2024, 1, 1), 1.0, ("x",))
    assert "also" not in taken


def test_what_is_already_right_is_taken_as_it_is() -> None:
    order, thing = Order([Item(sku="a")]), object()

    def handler(order: Order, thing: object, any_thing: Any, bare) -> None: ...

    taken = validated(handler, order=order, thing=thing, any_thing=thing, bare=thing)
    assert (taken["order"], taken["thing"], taken["any_thing"], taken["bare"]) == (order, thing, thing, thing)


def test_constraints_of_annotated_hold() -> None:
    def handler(count: Annotated[int, pydantic.Field(gt=0)]) -> None: ...

    assert validated(handler, count="3") == {"count": 3}
    with pytest.raises(DataError, match=r"job 'x': data\.count: .*greater than 0 \(got 0\)"):
        validated(handler, count=0)


def test_all_that_does_not_fit_is_told_at_once_with_paths_and_values() -> None:
    def handler(order: Order, number: int, other: str) -> None: ...

    with pytest.raises(DefinitionError) as caught:
        validated(handler, order={"items": [{"sku": 1}, {"count": "many"}]}, number="no", extra=1)
    said = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 6
    for spot in (
        "job 'x': data.order.items[0].sku: ",
        "job 'x': data.order.items[1].sku: ",
        "job 'x': data.order.items[1].count: ",
        "(got 'many')",
        "job 'x': data.number: ",
        "(got 'no')",
        "job 'x': data lacks 'other', which task signature(order: ",
        "job 'x': data has 'extra', which is no parameter of task signature(",
    ):
        assert spot in said


def test_pydantic_s_error_is_the_cause() -> None:
    def handler(number: int) -> None: ...

    with pytest.raises(DataError) as caught:
        validated(handler, number="x")
    assert isinstance(caught.value.__cause__, pydantic.ValidationError)


def test_unknown_keys_are_taken_by_a_handler_with_keywords() -> None:
    def handler(a: int, **rest: Any) -> None: ...

    assert validated(handler, a="1", b="2") == {"a": 1, "b": "2"}


def test_injected_parameters_are_no_keys_of_data() -> None:
    with pytest.raises(DataError, match="data has 'children'"):
        validated(on_loop, children={})

    def handler(context: Context = flows.INJECTED, **rest: Any) -> None: ...

    with pytest.raises(DataError, match="data has 'context'"):
        validated(handler, context=1)


def test_arguments_by_name_become_a_call() -> None:
    def handler(a: int, /, b: int, *rest: int, c: int = 3, **others: int) -> None: ...

    spread = parameters(handler).spread
    assert spread({"a": 1, "b": 2, "rest": [8, 9], "c": 4, "x": 5}, "job 'x'") == ([1, 2, 8, 9], {"c": 4, "x": 5})
    assert spread({"a": 1, "b": 2}, "job 'x'") == ([1, 2], {})
    with pytest.raises(DataError, match=r"job 'x': there is no value for parameter 'b' of task signature\("):
        spread({"a": 1}, "job 'x'")


def test_a_default_in_the_middle_leaves_the_rest_to_their_names() -> None:
    def handler(a: int = 1, b: int = 2, c: int = 3) -> None: ...

    assert parameters(handler).spread({"c": 9}, "job 'x'") == ([], {"c": 9})


def test_literal_flows_run_with_all_this() -> None:
    @flows.task(name="signature-total")
    def total(order: Order, times: int = 1, kids: Children = flows.INJECTED) -> int:
        return int(times * sum(item.count for item in order.items) + sum(kids.values.values()))

    below = flows.Job("signature-total", data={"order": {"items": [{"sku": "a", "count": 2}]}, "times": "3"})
    root = flows.Job("signature-total", data={"order": {"items": []}}, children=[below])
    assert flows.execute(root).value == 6
