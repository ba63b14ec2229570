"""Data as JSON: what has a form that comes back the same, and where in it is what has not."""

import dataclasses
import datetime
import enum
import json
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._codec import canonical, jsonable
from flows.errors import DataError


class Model(pydantic.BaseModel):
    a: int
    when: datetime.date


@dataclasses.dataclass
class Record:
    a: int
    inner: Model | None = None


class Colour(enum.Enum):
    RED = "red"


class Unknown:
    def __repr__(self) -> str:
        return "<unknown>"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_values_come_back_the_same(value: Any) -> None:
    assert json.loads(canonical(jsonable(value, "data"))) == value
    assert jsonable(value, "data") == value


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_equal_data_has_equal_bytes(value: dict[str, int]) -> None:
    shuffled = dict(reversed(value.items()))
    assert canonical(jsonable(value, "data")) == canonical(jsonable(shuffled, "data"))


def test_the_canonical_form_is_sorted_ascii_without_spaces() -> None:
    assert canonical({"ü": [1, 2.5, None], "a": {"c": True, "b": "✓"}}) == (
        b'{"a":{"b":"\\u2713","c":true},"\\u00fc":[1,2.5,null]}'
    )


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (Model(a=1, when=datetime.date(2024, 2, 29)), {"a": 1, "when": "2024-02-29"}),
        (Record(1, Model(a=2, when=datetime.date(2024, 1, 1))), {"a": 1, "inner": {"a": 2, "when": "2024-01-01"}}),
        ((1, (2,)), [1, [2]]),
        (datetime.datetime(2024, 1, 2, 3, tzinfo=datetime.UTC), "2024-01-02T03:00:00Z"),
        (datetime.timedelta(seconds=90), "PT1M30S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.10"), "1.10"),
        (Path("a/b"), "a/b"),
        (Colour.RED, "red"),
        ({"deep": [Record(1)]}, {"deep": [{"a": 1, "inner": None}]}),
    ],
    ids=range(10),
)
def test_declared_types_have_the_form_that_pydantic_gives_them(value: object, plain: object) -> None:
    assert jsonable(value, "data") == plain


@pytest.mark.parametrize("value", [-(2**63), 2**64 - 1, 2**53 + 1, 0.1, 5e-324, 1.7976931348623157e308, ""])
def test_the_edges_of_what_has_a_form(value: Any) -> None:
    assert json.loads(canonical(jsonable(value, "data"))) == value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({1, 2}, "of type set has no JSON form"),
        (frozenset("a"), "of type frozenset has no JSON form"),
        (b"bytes", "b'bytes' of type bytes has no JSON form"),
        (bytearray(b"b"), "of type bytearray has no JSON form"),
        (float("nan"), "nan has no JSON form; pass None or text"),
        (float("inf"), "inf has no JSON form"),
        (float("-inf"), "-inf has no JSON form"),
        (2**64, "an integer of 65 bits does not fit 64; pass it as text"),
        (-(2**63) - 1, "an integer of 64 bits"),
        (10**5000, "an integer of 16610 bits"),
        ({1: "a"}, "the key 1 is not text, and JSON has no others; convert it"),
        ({None: 1}, "the key None is not text"),
        ({True: 1}, "the key True is not text"),
        ({(1, 2): 1}, "the key (1, 2) is not text"),
        ("a\ud800", "a lone surrogate at position 1"),
        ({"\udfff": 1}, "a lone surrogate at position 0"),
        (Unknown(), "<unknown> of type Unknown has no JSON form"),
        (print, "of type builtin_function_or_method has no JSON form"),
        (Unknown, "of type type has no JSON form"),
    ],
    ids=range(19),
)
def test_what_has_no_form_is_refused_with_the_path_to_it(value: object, said: str) -> None:
    for wrapped, path in ((value, "job 'x': data"), ({"a": [0, {"b": value}]}, "job 'x': data.a[1].b")):
        with pytest.raises(DataError) as caught:
            jsonable(wrapped, "job 'x': data")
        assert str(caught.value).startswith(f"{path}: ")
        assert said in str(caught.value)
        assert len(str(caught.value)) < 300


def test_data_that_holds_itself_or_nests_without_end_is_refused() -> None:
    circular: list[Any] = []
    circular.append({"x": circular})
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    for value in (circular, deep):
        with pytest.raises(DataError, match="deeper than 64 levels, or is circular"):
            canonical(jsonable(value, "data"))
