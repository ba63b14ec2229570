"""Values from storage and type hints: what is passed on without pydantic is what pydantic would have passed on."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import DataError, Failed
from flows._fits import check_of
from flows._receiving import receiver

HINTS: list[Any] = [
    *(int, str, float, bool, None, dict, list, list[int], list[str | None], dict[str, float], dict[str, Any]),
    *(int | str, Optional[bool], Union[list[int], None], list[dict[str, int]], dict[str, list[bool]]),  # noqa: UP007, UP045
    *(list[Any], Sequence[int], Mapping[str, str], list[list[int]]),
]

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.text(max_size=2)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
    max_leaves=5,
)


@given(st.sampled_from(HINTS), values)
def test_what_fits_is_what_pydantic_would_not_change(hint: Any, value: Any) -> None:
    check = check_of(hint)
    assert check is not None
    strict = pydantic.TypeAdapter(hint, config=pydantic.ConfigDict(strict=True))
    if check(value):
        assert repr(strict.validate_python(value)) == repr(value)
    elif "float" not in str(hint):  # which takes an int, and makes it a float
        with pytest.raises(pydantic.ValidationError):
            strict.validate_python(value)


@pytest.mark.parametrize("hint", [set[int], tuple[int, ...], dict[int, str], bytes, type("Own", (), {})], ids=str)
def test_other_hints_are_left_to_pydantic(hint: Any) -> None:
    assert check_of(hint) is None


def test_any_value_will_do_where_nothing_is_said() -> None:
    assert receiver(Any) is None
    assert receiver(object) is None


def test_a_failed_passes_and_the_rest_is_made_to_fit() -> None:
    failed = Failed("E", "no", "", "job")
    receive = receiver(tuple[int, ...])
    assert receive is not None
    assert receive([1, "2"], "it") == (1, 2)
    assert receive(failed, "it") is failed
    with pytest.raises(DataError, match=r"it\[1\]: Input should be a valid integer.*\(got 'x'\)"):
        receive([1, "x"], "it")
