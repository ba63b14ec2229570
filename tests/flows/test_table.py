"""The jobs of a run as a table."""

import sys
import types
from typing import Any

import pytest

import flows
from flows import Failed, MissingDependencyError
from tests.flows.staged import Kind, Staged, at, attempt


@flows.task(name="table-ship")
def ship_one(item: int) -> int:
    return item


load, ship = Kind("load", "stock", attempts=3), Kind("ship")


def staged() -> Staged:
    record = Staged(ship(load.using(id="a")(), load.using(id="b")(), load.using(id="c")()))
    oops = Failed("Oops", "a: <b>no</b>\n& none\x1b[2J", "", "a")
    record.say("a", "failed", attempt(1, 0, 1, "failed", oops), attempt(2, 2, 4, "failed", oops), error=oops)
    record.say("b", "active", attempt(1, 5))
    record.say("c", "delayed", attempt(1, 1, 2, "failed", Failed("Oops", "again", "", "c")))
    record.say("ship", "waiting_children")
    record.progress["b"] = 0.5
    return record


def test_the_rows_are_the_jobs_in_run_order_with_what_is_known() -> None:
    rows = staged().run.table().rows
    told = [(row.job, row.task, row.queue, row.state, row.attempts, row.seconds) for row in rows]
    assert told == [
        ("a", "load", "stock", "failed", 2, 3),
        ("b", "load", "stock", "active", 1, None),
        ("c", "load", "stock", "delayed", 1, 1),
        ("ship", "ship", "default", "waiting_children", 0, None),
    ]
    assert [(row.start, row.end, row.worker, row.progress) for row in rows] == [
        (at(0), at(4), "w1", None), (at(5), None, "w1", 0.5), (at(1), at(2), "w1", None), (None, None, None, None),
    ]  # fmt: skip
    assert [None if row.error is None else row.error.message[:5] for row in rows] == ["a: <b", None, "again", None]


def test_the_text_is_aligned_and_shows_no_control_characters() -> None:
    assert str(staged().run.table()).splitlines() == [
        "job   task  queue    state             attempts  duration  what",
        r"a     load  stock    failed                   2       3 s  Oops: <b>no</b>\n& none\x1b[2J",
        "b     load  stock    active                   1            progress 0.5",
        "c     load  stock    delayed                  1       1 s  Oops: again",
        "ship  ship  default  waiting_children",
    ]
    assert repr(staged().run.table()) == "<table of 4 jobs>"


def test_long_cells_are_cut_and_wide_ones_aligned() -> None:
    record = Staged(ship.using(id="日本" * 30)(load.using(id="x" * 128)()))
    record.say("x" * 128, "failed", error=Failed("Oops", "long " * 400, "", "x" * 128))
    head, first, second = str(record.run.table()).splitlines()
    assert first.startswith("x" * 31 + "…  load")
    assert first.endswith(" long long lon…")
    assert second.startswith("日本" * 7 + "日…   ship")
    assert len(first) < 160 > len(head)


def test_of_very_many_jobs_the_text_shows_the_first_and_the_rows_all() -> None:
    table = Staged(ship(*[load() for _ in range(500)])).run.table()
    lines = str(table).splitlines()
    assert (len(table), len(table.rows), len(lines), lines[-1]) == (501, 501, 202, "... and 301 more jobs")
    assert table._repr_html_().count("<tr>") == 201
    assert "<p>... and 301 more jobs</p>" in table._repr_html_()


def test_a_list_waits_in_no_queue() -> None:
    text = str(flows.execute(flows.each(ship_one, [1]), executor="memory://?private=1").table())
    assert "flows:" not in text
    assert "table-ship" in text


def test_the_notebook_form_escapes_everything() -> None:
    html = staged().run.table()._repr_html_()
    assert "<b>" not in html
    assert r"Oops: &lt;b&gt;no&lt;/b&gt;\n&amp; none\x1b[2J" in html
    assert html.count("<td>") == 4 * 7


def test_without_pandas_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match="pip install pandas") as caught:
        staged().run.table().to_pandas()
    assert caught.value.name == "pandas"


def test_with_pandas_the_rows_become_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pandas: Any = types.ModuleType("pandas")
    pandas.DataFrame = lambda rows: rows
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    frame = staged().run.table().to_pandas()
    assert [row["job"] for row in frame] == ["a", "b", "c", "ship"]
    assert frame[0]["error"].startswith("Oops: a: <b>no")
    assert (frame[1]["progress"], frame[1]["error"], frame[3]["start"]) == (0.5, None, None)
