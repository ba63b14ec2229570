"""Durations: the forms that are read, those that are refused, and what the refusal says."""

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._duration import LIMIT_SECONDS, seconds
from flows.errors import DefinitionError

UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
durationish = st.from_regex(r"\A[0-9.:\- ]{0,6}(ms|s|m|h|d|w|min|x)?([0-9]{1,4}(ms|s|m|h)?)?\Z")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (0, 0.0),
        (90, 90.0),
        (1.5, 1.5),
        (-0.0, 0.0),
        (timedelta(minutes=1, milliseconds=5), 60.005),
        (timedelta(0), 0.0),
        ("1m30s", 90.0),
        ("24h", 86_400.0),
        ("3d", 259_200.0),
        ("500ms", 0.5),
        ("1.5s", 1.5),
        ("0.1s", 0.1),
        ("1.005s", 1.005),
        ("0s", 0.0),
        ("2 min", 120.0),
        ("2 minutes", 120.0),
        ("1 hour 30 minutes", 5_400.0),
        ("1w2d3h4m5s6ms", 788_645.006),
        ("1h 30m", 5_400.0),
        (" 5s ", 5.0),
        ("90s", 90.0),
        ("366d", 31_622_400.0),
        (31_622_400, 31_622_400.0),
    ],
)
def test_durations_become_seconds(value: object, wanted: float) -> None:
    result = seconds(value)
    assert (result, type(result), math.copysign(1, result)) == (wanted, float, 1.0)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("90", "lacks the unit after 90"),
        ("1m30", "lacks the unit after 30"),
        ("-1h", "minus sign"),
        ("1:30:00", "cannot be read"),
        ("soon", "cannot be read"),
        ("1h,30m", "cannot be read"),
        ("1e3s", "unknown unit 'e'"),
        ("1mo", "unknown unit 'mo'"),
        ("1y", "unknown unit 'y'"),
        ("24H", "cannot be read"),
        (".5s", "cannot be read"),
        ("PT30S", "cannot be read"),
        ("30s1m", "units out of order at '1m'"),
        ("1s1s", "units out of order at '1s'"),
        ("\u0663s", "cannot be read"),
        ("1" * 65 + "s", "more than 64 characters"),
        (-1, "is negative"),
        (-0.001, "is negative"),
        (timedelta(seconds=-1), "is negative"),
        (-(10**400), "is negative"),
        (math.nan, "is not finite"),
        (math.inf, "is not finite"),
        (-math.inf, "is not finite"),
        (True, "is of type bool"),
        (False, "is of type bool"),
        (None, "is of type NoneType"),
        ([30], "is of type list"),
        (b"30s", "is of type bytes"),
        (1j, "is of type complex"),
    ],
)
def test_everything_else_is_refused_with_place_value_fault_and_remedy(value: object, fault: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        seconds(value, "option timeout")
    message = str(caught.value)
    assert message.startswith("option timeout ")
    assert fault in message
    assert "'1m30s'" in message
    assert len(message) < 300


@pytest.mark.parametrize(
    "value", ["367d", "53w", "366d1ms", "9" * 60 + "d", LIMIT_SECONDS + 1, 1e9, 10**400, timedelta.max]
)
def test_more_than_366_days_is_refused_clearly(value: object) -> None:
    with pytest.raises(DefinitionError, match="longer than 366 days; give at most '366d'"):
        seconds(value)


@pytest.mark.parametrize("value", [0, 0.0, "0s", "0ms", timedelta(0)])
def test_zero_is_refused_where_it_makes_no_sense(value: object) -> None:
    assert seconds(value) == 0.0
    with pytest.raises(DefinitionError, match="must be more than 0"):
        seconds(value, "option timeout", above_zero=True)


def test_the_offending_value_is_shown_escaped_and_short() -> None:
    with pytest.raises(DefinitionError) as caught:
        seconds("1\x1b" + "x" * 1000)
    assert "\\x1b" in str(caught.value)
    assert str(caught.value).isprintable()


@given(st.text() | durationish)
def test_any_text_is_a_finite_duration_or_a_definition_error(text: str) -> None:
    try:
        result = seconds(text)
    except DefinitionError:
        return
    assert type(result) is float
    assert 0.0 <= result <= LIMIT_SECONDS


@given(st.integers() | st.floats() | st.timedeltas() | st.none() | st.booleans() | st.binary() | st.decimals())
def test_any_value_is_a_finite_duration_or_a_definition_error(value: Any) -> None:
    try:
        result = seconds(value)
    except DefinitionError:
        assert value is None or isinstance(value, (bool, bytes)) or not is_fine(value)
    else:
        assert is_fine(value)
        assert result == (value.total_seconds() if isinstance(value, timedelta) else value)


def is_fine(value: Any) -> bool:
    if isinstance(value, timedelta):
        return timedelta(0) <= value <= timedelta(seconds=LIMIT_SECONDS)
    return isinstance(value, (int, float)) and 0 <= value <= LIMIT_SECONDS


@given(st.dictionaries(st.sampled_from(list(UNITS)), st.integers(0, 40), min_size=1))
def test_units_add_up(parts: dict[str, int]) -> None:
    text = "".join(f"{parts[unit]}{unit}" for unit in UNITS if unit in parts)
    assert seconds(text) == sum(n * UNITS[unit] for unit, n in parts.items())


@given(st.decimals(0, 1_000_000, places=6))
def test_decimal_seconds_are_read_to_the_nearest_float(number: Any) -> None:
    assert seconds(f"{number}s") == float(number)
