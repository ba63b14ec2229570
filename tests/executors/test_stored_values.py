"""Values as JSON and back: nothing changes on the way, and what would is refused."""

import dataclasses
import datetime
import enum
import json
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors._stored import Input, gathered, read, read_all, read_failed, write, write_failed
from executors._stored._json import decode, encode
from executors._stored._values import TooLargeError, escaped
from flows import DataError, Failed
from flows._binding import Pick, Picks
from flows._state import CANCELLED, COMPLETED, FAILED, SKIPPED

OURS = ["$flows", "$flows:failed", "$flows:pick", "$flows:picks", "$flows.x", "$flows."]
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
keys = st.one_of(text, st.sampled_from(OURS))
atoms = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
    st.just('"$flows:failed"'),
)
failures = st.builds(Failed, text, text, text, text, st.sampled_from(["failed", "skipped", "cancelled"]))
documents = st.recursive(
    atoms, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)), max_leaves=12
)
with_failures = st.recursive(
    st.one_of(atoms, failures),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down: 1 is neither 1.0 nor True."""
    return repr(one) == repr(other)


@given(with_failures)
def test_values_come_back_the_same(value: Any) -> None:
    assert same(read(write(value, "it")), value)


@given(st.lists(with_failures, max_size=5))
def test_many_are_read_at_one_go(values: list[Any]) -> None:
    assert same(read_all([write(value, "it") for value in values]), values)


def test_an_empty_payload_is_null() -> None:
    assert read(b"") is None
    assert read_all([b"", b"1", b""]) == [None, 1, None]


@given(documents)
def test_plain_data_is_plain_json(value: Any) -> None:
    payload = write(value, "it")
    if b'"$flows' not in payload:
        assert same(json.loads(payload), value)
        assert payload == encode(escaped(value, "it")).encode()


templates = st.recursive(
    st.one_of(
        atoms,
        st.builds(Pick, st.integers(0, 9), st.lists(st.one_of(text, st.integers(0, 3))).map(tuple), st.booleans()),
        st.builds(Picks, st.just(list), st.lists(st.integers(0, 9))),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(keys, inner, max_size=4)),
    max_leaves=12,
)


@given(templates)
def test_templates_come_back_the_same_whatever_the_data_looks_like(template: Any) -> None:
    assert same(read(encode(escaped(template, "it")).encode()), template)


@given(st.builds(Failed, st.text(), st.text(), st.text(), st.text(), st.just("failed")))
def test_failures_come_back_the_same(failed: Failed) -> None:
    assert read_failed(write_failed(failed)) == failed


def test_tuples_come_back_as_lists() -> None:
    assert read(write((1, (2, ()), {"a": (3,)}), "it")) == [1, [2, []], {"a": [3]}]


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date


class Order(pydantic.BaseModel):
    items: list[Point]


def test_models_and_the_like_are_written_as_pydantic_writes_them() -> None:
    order = Order(items=[Point(1, datetime.date(2024, 5, 6))])
    assert read(write([order, Colour.RED], "it")) == [{"items": [{"x": 1, "when": "2024-05-06"}]}, "red"]


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def doubled(times: int) -> Any:
    value: Any = []
    for _ in range(times):
        value = [value, value]
    return value


ITSELF: list[Any] = []
ITSELF.append(ITSELF)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "it: nan"),
        ({"a": [1.0, float("inf")]}, r"it\.a\[1\]: inf"),
        (2**64, "65 bits"),
        ([1, 2**64], r"it\[1\]: an integer of 65 bits"),
        ({"a": {"b": -(2**63) - 1}}, r"it\.a\.b: an integer"),
        ("\ud800", "it: a lone surrogate"),
        ({"\udfff": 1}, "it: a lone surrogate"),
        ({1: 2}, "the key 1 is not text"),
        ([{True: 2}], r"it\[0\]: the key True"),
        (deep(65), "deeper than 64"),
        (ITSELF, "deeper than 64"),
        (doubled(40), "larger than"),
        (b"x", "no JSON form"),
        ([{1, 2}], r"it\[0\]: .*no JSON form"),
        (object(), "no JSON form"),
    ],
)
def test_what_would_not_come_back_is_refused_with_the_spot(value: Any, why: str) -> None:
    with pytest.raises(DataError, match=why):
        write(value, "it")


def test_what_is_just_allowed() -> None:
    for value in (-(2**63), 2**64 - 1, deep(64), "x" * 100):
        assert read(write(value, "it")) == value


def test_the_limit_counts_bytes_and_not_characters() -> None:
    assert len(write("ß" * 49, "it", 100)) == 100
    with pytest.raises(TooLargeError, match="102 bytes of JSON are more than the 100 bytes"):
        write("ß" * 50, "it", 100)


@pytest.mark.parametrize("payload", [b"", b"[1", b"1 2", b"nul", b"[1]]"])
def test_damaged_json_is_no_value(payload: bytes) -> None:
    with pytest.raises(ValueError, match="damaged"):
        decode(payload)


def test_a_list_is_gathered_from_how_its_items_ended() -> None:
    own = Failed("E", "no", "", "job1")
    ends = [
        Input(0, COMPLETED, b'{"a": 1}'),
        Input(1, FAILED, write_failed(own)),
        Input(2, FAILED, write_failed(own), FAILED),
        Input(3, SKIPPED, write_failed(own)),
        Input(4, CANCELLED, None),
    ]
    value = read(gathered(ends, drops=False, id_of="job{}".format, reason="enough"))
    assert value == [
        {"a": 1},
        own,
        Failed("DependencyFailedError", "dependency 'job1' failed: E: no", "", "job2"),
        Failed("Skip", "because of job1, which failed", "", "job3", "skipped"),
        Failed("RunCancelledError", "enough", "", "job4", "cancelled"),
    ]
    assert read(gathered(ends, drops=True, id_of=str)) == [{"a": 1}]
    inner = gathered(ends[:2], drops=False, id_of="job{}".format)
    nested = gathered([Input(0, COMPLETED, inner)], drops=False, id_of=str)
    assert read(nested) == [[{"a": 1}, own]]
