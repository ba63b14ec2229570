"""From results to arguments: where references are looked for, and what arrives when results are missing."""

from collections import OrderedDict, namedtuple
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows._binding import Arguments, Lookup, Pick, Picks, compile_value, scan
from flows.errors import DataError

load = flows.task(lambda: None, name="binding-load")

Pair = namedtuple("Pair", "left right")


def found_in(value: object) -> list[object]:
    found: list[object] = []
    scan(value, found.append, "job 'x'")
    return found


def lookup(values: dict[int, Any]) -> Lookup:
    return Lookup(values, lambda child: child in values, lambda child: f"failed {child}")


def test_references_are_found_in_order_wherever_they_may_sit() -> None:
    a, b, c, d = (load() for _ in range(4))
    first, optional = a.out, flows.optional(b.out)
    value = {"x": [first, (optional,)], "y": {"z": c}, "w": [1, "text", d]}
    found = found_in(value)
    assert [id(one) for one in found] == [id(one) for one in (first, optional, c, d)]


@pytest.mark.parametrize("value", [1, "text", None, [], {}, (), {1, 2}, [[[]]], {"a": object()}], ids=range(9))
def test_data_without_references_has_none(value: object) -> None:
    assert found_in(value) == []


@pytest.mark.parametrize(
    "make", [lambda out: {out}, lambda out: [frozenset([out])], lambda out: {"a": {out, 1}}], ids=range(3)
)
def test_a_set_cannot_hold_a_reference(make: Any) -> None:
    with pytest.raises(DataError, match="job 'x': a set cannot hold references"):
        found_in(make(load().out))


@pytest.mark.parametrize(
    "make", [lambda out: Pair(out, 1), lambda out: OrderedDict(a=[out]), lambda out: [Pair([out], 1)]], ids=range(3)
)
def test_a_kind_of_container_that_could_not_be_made_again_is_refused(make: Any) -> None:
    with pytest.raises(DataError, match="only plain lists, tuples and dicts can hold one"):
        flows.plan(flows.task(lambda value: value, name="binding-take")(make(load().out)))


@pytest.mark.parametrize("value", [Pair([1], {}), OrderedDict(a=[1]), OrderedDict(a=Pair(1, 2))], ids=range(3))
def test_such_a_container_without_references_stays_as_it_is(value: object) -> None:
    assert compile_value(value, {}, "job 'x'") is value
    job = flows.Job("binding-give", data={"value": value})
    flows.task(lambda value: value, name="binding-give")
    assert flows.execute(job).value is value


def test_a_compiled_value_has_picks_in_the_places_of_references() -> None:
    a, b = load(), load()
    index = {a: 0, b: 1}
    out: Any = b.out
    compiled = compile_value({"x": [a, 1], "y": (flows.optional(out.items[0]),)}, index, "job 'x'")
    assert compiled == {"x": [Pick(0, (), False), 1], "y": (Pick(1, ("items", 0), True),)}
    assert compile_value([a.out, b.out], index, "job 'x'") == Picks(list, [0, 1])
    assert compile_value((a.out, b.out), index, "job 'x'") == Picks(tuple, [0, 1])
    assert compile_value([a.out, out.part], index, "job 'x'") == [Pick(0, (), False), Pick(1, ("part",), False)]


def test_compiled_data_shares_no_list_or_dict_with_what_was_given() -> None:
    data: dict[str, Any] = {"a": [{"b": [1]}], "c": ({"d": 2},)}
    compiled = compile_value(data, {}, "job 'x'")
    data["a"][0]["b"].append(2)
    data["c"][0]["d"] = 3
    assert compiled == {"a": [{"b": [1]}], "c": ({"d": 2},)}


def test_each_attempt_gets_containers_of_its_own() -> None:
    arguments = Arguments(([1, {"a": Pick(0, (), False)}],), {"x": [2]}, by_name=False)
    first, again = lookup({0: "r"}).bind(arguments), lookup({0: "r"}).bind(arguments)
    assert first == again == ([[1, {"a": "r"}]], {"x": [2]})
    first[0][0].append(9)
    first[1]["x"].append(9)
    assert lookup({0: "r"}).bind(arguments) == again


@pytest.mark.parametrize(
    ("template", "arrives"),
    [
        (Pick(0, (), False), "zero"),
        (Pick(0, (1,), False), "e"),
        ([Pick(0, (), False), Pick(9, (), False), 1], ["zero", 1]),
        ([Pick(9, (), True), 1], ["failed 9", 1]),
        ((Pick(9, (), False),), ()),
        ({"a": Pick(9, (), False), "b": Pick(9, (), True), "c": [Pick(9, (), False)]}, {"b": "failed 9", "c": []}),
        (Picks(list, [0, 9, 0]), ["zero", "zero"]),
        (Picks(tuple, [9]), ()),
    ],
)
def test_what_is_missing_is_left_out_unless_it_is_optional(template: Any, arrives: Any) -> None:
    assert lookup({0: "zero"}).resolve(template) == arrives


def test_a_missing_argument_falls_away_where_arguments_go_by_name() -> None:
    arguments = Arguments((), {"a": Pick(9, (), False), "b": 1}, by_name=True)
    assert lookup({}).bind(arguments) == ([], {"b": 1})


def test_a_path_that_leads_nowhere_is_an_error_of_the_lookup() -> None:
    with pytest.raises(LookupError, match=r"\.out\.a: \.a was not found in the str"):
        lookup({0: "zero"}).resolve([Pick(0, ("a",), False)])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3) | st.tuples(inner)
    ),
    max_leaves=12,
)


@given(plain)
def test_data_arrives_as_it_was_given(value: Any) -> None:
    assert lookup({}).resolve(compile_value(value, {}, "job 'x'")) == value
