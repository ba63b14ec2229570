"""Text for people: one line of anything, cells of equal width, spans of time in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._typeset import cell, count, line, spell, width


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 ms"), (0, "0 ms"), (2e-6, "2 µs"), (99e-6, "99 µs"), (99.9e-6, "0.1 ms"), (0.0042, "4.2 ms"),
        (0.0421, "42 ms"), (0.25, "250 ms"), (0.9994, "999 ms"), (0.9996, "1 s"), (4, "4 s"), (4.21, "4.2 s"),
        (42.4, "42 s"), (59.4, "59 s"), (59.6, "1 min"), (60, "1 min"), (200, "3 min 20 s"), (3_599, "59 min 59 s"),
        (3_600, "1 h"), (18_600, "5 h 10 min"), (86_400, "1 d"), (100_000, "1 d 3 h"), (86_399.9, "1 d"),
    ],
)  # fmt: skip
def test_a_span_of_time_is_told_to_about_two_digits(seconds: float, words: str) -> None:
    assert spell(seconds) == words


@pytest.mark.parametrize(("number", "words"), [(0, "0 jobs"), (1, "1 job"), (12_000, "12,000 jobs")])
def test_counts_have_their_noun(number: int, words: str) -> None:
    assert count(number, "job") == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("left\u202eright", r"left\u202eright"),
        ("\ud800", r"\ud800"),
        ("é日本", "é日本"),
        ("0123456789!", "012345678…"),
        ("日本語日本語", "日本語日…"),
    ],
)
def test_a_text_becomes_one_line_that_can_be_seen(text: str, shown: str) -> None:
    assert line(text, 10 if len(shown) <= 10 else 20) == shown


def test_wide_characters_take_two_columns_and_combining_ones_none() -> None:
    assert (width("abc"), width("日本"), width("e\u0301")) == (3, 4, 1)


def test_cells_are_filled_to_the_left_or_to_the_right() -> None:
    assert (cell("ab", 4), cell("ab", 4, right=True), cell("abcde", 4)) == ("ab  ", "  ab", "abc…")


@given(st.text(max_size=50), st.integers(1, 40))
def test_a_cell_is_as_wide_as_it_should_be_whatever_is_in_it(text: str, columns: int) -> None:
    shown = cell(text, columns)
    assert width(shown) == columns
    assert shown.isprintable()
