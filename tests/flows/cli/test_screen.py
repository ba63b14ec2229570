"""Tables: their columns fit the terminal, and are whole where none is."""

import pytest

from flows._cli import _screen
from flows._cli._ending import trace_lines
from flows._cli._screen import Column, fitted

HEADS = (Column("id"), Column("name", least=8), Column("error", least=10))
ROWS = [["f" * 32, "n" * 40, "e" * 100], ["f" * 32, "short", ""]]


@pytest.mark.parametrize("room", [60, 80, 120, 400])
def test_only_what_may_be_cut_is_and_the_widest_first(room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_screen, "columns", lambda _: room)
    widths = fitted(HEADS, ROWS)
    assert widths[0] == 32
    assert sum(widths) + 4 == min(room, 176)
    assert widths[1] >= 8
    assert widths[2] >= min(widths[1], 100)
    assert fitted(HEADS, []) == [2, 4, 5]


def test_a_screen_that_is_too_small_has_the_least_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_screen, "columns", lambda _: 20)
    assert fitted(HEADS, ROWS) == [32, 8, 10]


def test_a_table_leaves_out_what_has_no_room_and_what_is_empty(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_screen, "columns", lambda _: 24)
    heads = (Column("id"), Column("name", least=8), Column("none"), Column("error", least=10))
    _screen.table(heads, [["x" * 10, "a long name", "", "an error"]])
    assert capsys.readouterr().out.splitlines() == ["id          name", "xxxxxxxxxx  a long name"]


def test_what_cannot_be_seen_is_escaped_and_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    _screen.table([Column("x", least=3), Column("unused", least=3)], [["[red]a\x1b[31m\nb[/red]", None]])
    assert capsys.readouterr().out == "x\n[red]a\\x1b[31m\\nb[/red]\n"


def test_a_document_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    _screen.document({"a": "ü\n", "b": object})
    assert capsys.readouterr().out == '{"a": "ü\\n", "b": "<class \'object\'>"}\n'


def test_frames_of_the_library_are_left_out_of_a_traceback() -> None:
    kept = ['  File "/app.py", line 1, in charge', "    raise ValueError", "ValueError"]
    ours = ['  File "/x/flows/_handlers.py", line 78, in perform', "    value = fn()", "            ^^^^"]
    head = "Traceback (most recent call last):"
    assert trace_lines("\n".join([head, *ours, *kept])) == [head, *kept]
    assert trace_lines("") == []
