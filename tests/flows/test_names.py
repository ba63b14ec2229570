"""The edge checks of names, and how values are shown in messages."""

import enum
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._names import check_name, check_queue, shown
from flows.errors import DefinitionError

anything = st.text(alphabet=st.characters(exclude_categories=()), max_size=140)


class Kind(enum.StrEnum):
    MAIL = "mail"


class OldKind(str, enum.Enum):  # noqa: UP042 - its str() is not its value, which is the point
    MAIL = "mail"


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Raw:
    def __repr__(self) -> str:
        return "raw \x1b[31m\n\u202e text"


@pytest.mark.parametrize(
    "name",
    ["a", "process-order", "reserve[3]", "name#2", "a b", "größe", "注文", "📦✔️", "a:b{c}*?", "x" * 128],
)
def test_printable_text_names_a_task(name: str) -> None:
    assert check_name(name, "task name") == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a\x00b", "control character U+0000 at position 1"),
        ("a\n", "control character U+000A at position 1"),
        ("\x85", "control character U+0085 at position 0"),
        ("ab\ud800", "lone surrogate U+D800 at position 2"),
        ("a\u202eb", "invisible format character U+202E at position 1"),
        ("a\u2066b", "invisible format character U+2066 at position 1"),
        ("a\u200bb", "invisible format character U+200B at position 1"),
        ("a\u200db", "invisible format character U+200D at position 1"),
        ("\ufeffa", "invisible format character U+FEFF at position 0"),
        ("a\u2028b", "line separator U+2028 at position 1"),
        ("a\u00a0b", "unusual space U+00A0 at position 1"),
        ("a\u3164b", "invisible character U+3164 at position 1"),
        ("a\ue000", "private-use character U+E000 at position 1"),
    ],
)
def test_a_character_that_cannot_be_seen_is_named_by_its_code_point(name: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_name(name, "task name")
    assert said in str(caught.value)
    assert str(caught.value).startswith("task name '")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("check", [check_name, check_queue])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty"),
        (None, "is of type NoneType"),
        (b"a", "is of type bytes"),
        (3, "is of type int"),
        ("x" * 129, "has 129 characters"),
    ],
)
def test_no_text_no_length_and_too_much_length_are_refused(check, value, said) -> None:
    with pytest.raises(DefinitionError, match="thing") as caught:
        check(value, "thing")
    assert said in str(caught.value)
    assert "give " in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("name", ["a", "default", "A-Z_0.9", "x" * 64, ".", "-"])
def test_queues_are_named_by_a_few_ascii_characters(name: str) -> None:
    assert check_queue(name) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("a b", "space U+0020 at position 1"),
        ("a:b", "character ':' U+003A at position 1"),
        ("{a}", "character '{' U+007B at position 0"),
        ("mail\n", "control character U+000A at position 4"),
        ("größe", "character 'ö' U+00F6 at position 2"),
        ("a\u0661", "character '\u0661' U+0661 at position 1"),
    ],
)
def test_other_characters_in_a_queue_are_named(name: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_queue(name)
    assert str(caught.value).startswith("queue '")
    assert said in str(caught.value)
    assert "use A-Z a-z 0-9 _ . - only" in str(caught.value)


def test_a_queue_of_65_characters_is_too_long() -> None:
    with pytest.raises(DefinitionError, match="has 65 characters"):
        check_queue("x" * 65)


def test_the_message_names_what_was_checked() -> None:
    with pytest.raises(DefinitionError, match=r"^namespace 'a/b'"):
        check_queue("a/b", "namespace")


@pytest.mark.parametrize("member", [Kind.MAIL, OldKind.MAIL], ids=["StrEnum", "str and Enum"])
@pytest.mark.parametrize("check", [check_name, check_queue])
def test_members_of_text_enums_become_plain_text(check, member) -> None:
    name = check(member, "queue")
    assert (name, type(name)) == ("mail", str)


@given(anything)
def test_a_name_passes_unchanged_or_is_refused_with_a_printable_message(text: str) -> None:
    unseen = {unicodedata.category(char) for char in text} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    if unseen or not 1 <= len(text) <= 128:
        with pytest.raises(DefinitionError) as caught:
            check_name(text, "job id")
        assert str(caught.value).isprintable()
    elif text.isascii():
        assert check_name(text, "job id") == text


@given(anything | st.from_regex(r"[A-Za-z0-9_.-]{1,70}", fullmatch=True))
def test_a_queue_passes_exactly_if_it_fits_the_pattern(text: str) -> None:
    fits = re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", text, re.ASCII) is not None
    try:
        assert check_queue(text) == text
    except DefinitionError:
        assert not fits
    else:
        assert fits


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\x1bb", "'a\\x1bb'"),
        (3, "3"),
        (Raw(), "raw \\x1b[31m\\n\\u202e text"),
        (None, "None"),
    ],
)
def test_values_are_shown_escaped(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10_000_000, [["x" * 50] * 50] * 50, 10**4000, 10**5000, Rude(), b"\xff" * 999],
    ids=["text", "lists", "int", "int without a repr", "object without a repr", "bytes"],
)
def test_values_are_shown_briefly_and_never_raise(value: object) -> None:
    assert 0 < len(shown(value)) <= 80
    assert len(shown(value, 30)) <= 30


@given(anything)
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 80
