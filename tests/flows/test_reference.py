"""References: what can be done with a result that does not exist yet, and the hint where something cannot."""

import copy
import functools
import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import flows
from flows._reference import Reference, follow
from flows.errors import DefinitionError

load = flows.task(lambda: {"items": [1, 2]}, name="reference-load")

ARITHMETIC: list[Callable[[Any, Any], Any]] = [
    operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod, divmod, operator.pow,
    operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift, operator.iadd, operator.imul,
]  # fmt: skip

FORBIDDEN: dict[str, Callable[[Any], object]] = {
    "bool": bool,
    "not": operator.not_,
    "len": len,
    "iter": iter,
    "list": list,
    "unpack": lambda out: [*out],
    "next": next,
    "reversed": reversed,
    "in": lambda out: 1 in out,
    "call": lambda out: out(),
    "str": str,
    "format": lambda out: f"{out}",
    "format spec": lambda out: format(out, ">10"),
    "percent": lambda out: "%s" % out,  # noqa: UP031 - the operator is the point
    "==": lambda out: out == 1,
    "!=": lambda out: out != 1,
    "<": lambda out: out < 1,
    "<=": lambda out: out <= 1,
    ">": lambda out: out > 1,
    ">=": lambda out: out >= 1,
    "sorted": lambda out: sorted([out, out]),
    "int": int,
    "float": float,
    "complex": complex,
    "bytes": bytes,
    "index": lambda out: [1, 2][out],
    "range": range,
    "round": round,
    "-": operator.neg,
    "+": operator.pos,
    "abs": abs,
    "~": operator.invert,
    "with": lambda out: out.__enter__(),
    "set item": lambda out: operator.setitem(out, "a", 1),
    "del item": lambda out: operator.delitem(out, "a"),
    **{f"{do.__name__} left": functools.partial(lambda do, out: do(out, 2), do) for do in ARITHMETIC},
    **{f"{do.__name__} right": functools.partial(lambda do, out: do(2, out), do) for do in ARITHMETIC},
    "matmul": lambda out: out @ out,
    "slice": lambda out: out[1:2],
    "tuple key": lambda out: out[1, 2],
    "float key": lambda out: out[1.0],
    "bool key": lambda out: out[True],
    "None key": lambda out: out[None],
    "reference key": lambda out: out[out],
}


@pytest.mark.parametrize("kind", ["whole", "part"])
def test_what_a_value_could_do_and_a_reference_cannot_raises_with_a_hint(kind: str) -> None:
    out = load().out if kind == "whole" else load().out["items"]
    for name, operation in FORBIDDEN.items():
        try:
            operation(out)
        except TypeError as error:
            said = str(error)
        else:
            said = "nothing"
        assert "small task" in said, name
        assert "reference-load.out" in said, name


@pytest.mark.parametrize(
    "operation", [bool, len, list, str, lambda out: out + 1, lambda out: out == 1, lambda out: out()], ids=range(7)
)
def test_an_optional_reference_cannot_either(operation: Callable[[Any], object]) -> None:
    with pytest.raises(TypeError, match="small task"):
        operation(flows.optional(load().out))


def test_awaiting_a_reference_raises_with_a_hint() -> None:
    async def wait() -> None:
        await load().out  # type: ignore[misc]

    with pytest.raises(TypeError, match="small task"):
        wait().send(None)


@pytest.mark.parametrize("name", ["_private", "__len__x", "__wrapped__", "_repr_html_", "_job_"])
def test_underscore_names_are_no_attributes_of_a_result(name: str) -> None:
    with pytest.raises(AttributeError, match="underscore names"):
        getattr(load().out, name)
    assert not hasattr(load().out, name)


def test_a_reference_shows_where_it_leads() -> None:
    out: Any = load.using(id="first")().out
    assert repr(out) == "<first.out>"
    assert repr(out["items"][0].price["a b"][-1]) == "<first.out.items[0].price['a b'][-1]>"
    assert repr(flows.optional(out.items)) == "optional(<first.out.items>)"
    assert repr(load().out) == "<reference-load.out>"


def test_reading_a_part_leaves_the_whole_as_it_was() -> None:
    out: Any = load().out
    assert isinstance(out, Reference)
    _ = out.a.b
    assert (repr(out), repr(out.a)) == ("<reference-load.out>", "<reference-load.out.a>")


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_a_copy_of_a_reference_stands_for_the_same_job(how: Callable[[Any], Any]) -> None:
    job = load()
    data = {"order": [job.out]}
    assert how(data)["order"][0]._job is job


def test_a_reference_does_not_pass_for_what_its_attributes_are_named(subtests: pytest.Subtests) -> None:
    out: Any = load().out
    for protocol in ("__array__", "__dataclass_fields__", "_asdict", "__fspath__", "__html__", "__len__hint__"):
        with subtests.test(protocol):
            assert not hasattr(out, protocol)


@pytest.mark.parametrize("given", [None, 42, "out", [1], load])
def test_optional_takes_references_only(given: object) -> None:
    with pytest.raises(DefinitionError, match=r"optional\(\) takes a reference such as job\.out"):
        flows.optional(given)


def test_optional_takes_a_bare_job_for_its_result() -> None:
    assert repr(flows.optional(load())) == "optional(<reference-load.out>)"


@dataclass
class Order:
    items: list[int] = field(default_factory=lambda: [1, 2])
    _secret: int = 3


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        ({"a": [5, 6]}, ("a", -1), 6),
        ({"items": 1}, ("items",), 1),
        ({3: "x"}, (3,), "x"),
        (Order(), ("items", 0), 1),
        ("text", (0,), "t"),
        ((1, (2, 3)), (1, 1), 3),
        ({"_a": 1}, ("_a",), 1),
        (7, (), 7),
    ],
)
def test_a_path_leads_through_keys_positions_and_attributes(
    value: object, path: tuple[Any, ...], found: object
) -> None:
    assert follow(value, path) == found


@pytest.mark.parametrize(
    ("value", "path", "spot", "kind"),
    [
        ({"a": 1}, ("b",), ".b was not found in the dict", ".out itself"),
        ({"a": []}, ("a", 0), "[0] was not found in the list", ".out.a"),
        (Order(), ("price",), ".price was not found in the Order", ".out itself"),
        (Order(), ("_secret",), "underscore", "Order"),
        (None, ("a",), ".a was not found in the NoneType", ".out itself"),
        (5, (0,), "[0] was not found in the int", ".out itself"),
        ({"a": {"b": {}}}, ("a", "b", "c"), ".out.a.b.c: .c was not found in the dict", ".out.a.b"),
    ],
)
def test_a_path_that_leads_nowhere_names_the_step_and_the_type(
    value: object, path: tuple[Any, ...], spot: str, kind: str
) -> None:
    with pytest.raises(LookupError) as caught:
        follow(value, path)
    assert spot in str(caught.value)
    assert kind in str(caught.value)
