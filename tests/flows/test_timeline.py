"""Where the time of a run went: rows, figures, the critical path, the picture."""

import pytest

from flows import Failed
from flows._typeset import width
from tests.flows.staged import Kind, Staged, at, attempt

load, ship = Kind("load", "stock", attempts=3), Kind("ship")


OOPS = Failed("Oops", "no", "", "slow")


def staged(ended: float | None = 10.0) -> Staged:
    """slow fails once and is waited for; quick is not."""
    slow, quick = load.using(id="slow")(), load.using(id="quick", delay=1)()
    staged = Staged(ship(slow, quick), now=9, ended=ended)
    staged.say("slow", "completed", attempt(1, 0, 2, "failed", OOPS), attempt(2, 4, 6, "completed"))
    staged.say("quick", "completed", attempt(1, 2, 3, "completed", by="w2"))
    staged.say("ship", "completed", attempt(1, 7, 10, "completed"))
    return staged


def test_the_rows_are_the_attempts_by_start_with_what_they_waited() -> None:
    rows = staged().run.timeline().rows
    told = [(row.job, row.attempt, row.worker, row.ready, row.waited, row.seconds, row.critical) for row in rows]
    assert told == [
        ("slow", 1, "w1", at(0), 0, 2, True),
        ("quick", 1, "w2", at(1), 1, 1, False),
        ("slow", 2, "w1", at(2), 2, 2, True),
        ("ship", 1, "w1", at(6), 1, 3, True),
    ]
    assert [(row.task, row.queue, row.attempts, row.outcome) for row in rows[1:3]] == [
        ("load", "stock", 3, "completed")
    ] * 2


def test_the_figures_of_a_run() -> None:
    timeline = staged().run.timeline()
    assert timeline.critical_path == ("slow", "ship")
    assert (timeline.start, timeline.end, timeline.seconds) == (at(0), at(10), 10)
    assert (timeline.work, timeline.parallelism, timeline.peak) == (8, 0.8, 1)
    assert repr(timeline) == "<timeline of run run-1 of ship: 4 attempts, 10 s>"


def test_the_picture_has_a_bar_an_attempt_by_worker() -> None:
    assert staged().run.timeline().text(70).splitlines() == [
        "run run-1 of ship: completed, 10 s",
        "4 attempts, 8 s of work, 0.8 at once on average, 1 at most",
        "critical path: slow -> ship",
        "  running 7 s, waiting 3 s of 10 s",
        "                     0                          10 s",
        "worker w1",
        "* slow 1/3 [stock]   ▓▓▓▓▓▓                          2 s failed",
        "* slow 2/3 [stock]         ······███████             2 s",
        "* ship     [default]                    ···█████████ 3 s",
        "worker w2",
        "  quick    [stock]      ···███                       1 s",
        "· waits  █ runs  ▓ runs and fails  * on the critical path",
    ]


def test_a_run_that_goes_on_is_drawn_up_to_now() -> None:
    going = staged(ended=None)
    going.say("ship", "active", attempt(1, 7))
    timeline = going.run.timeline()
    assert (timeline.end, timeline.critical_path, timeline.rows[-1].seconds) == (at(9), ("slow", "ship"), None)
    text = timeline.text(80)
    assert "running, 9 s" in text
    assert "▶▶▶" in text
    assert "2 s active" in text


def test_a_run_in_which_nothing_started_has_an_empty_timeline() -> None:
    empty = Staged(ship(), now=2)
    empty.say("ship", "waiting")
    timeline = empty.run.timeline()
    assert (timeline.rows, timeline.critical_path, timeline.peak) == ([], (), 0)
    assert str(timeline).splitlines() == [
        "run run-1 of ship: running, 2 s",
        "0 attempts, 0 ms of work, 0.0 at once on average, 0 at most",
    ]


def test_a_run_of_no_time_at_all_can_be_drawn() -> None:
    instant = Staged(ship(), ended=0.0)
    instant.say("ship", "completed", attempt(1, 0, 0, "completed"))
    assert "* ship [default] █" in instant.run.timeline().text(60)
    assert instant.run.timeline().parallelism == 0


def test_a_dependency_that_was_not_waited_for_is_not_what_made_a_job_late() -> None:
    early, late = load.using(id="early")(), load.using(id="late", on_failure="continue")()
    record = Staged(ship().after(early, late), ended=10)
    record.say("early", "completed", attempt(1, 0, 1, "completed"))
    record.say("ship", "completed", attempt(1, 2, 9, "completed"))
    record.say("late", "failed", attempt(1, 0, 8, "failed", OOPS))
    timeline = record.run.timeline()
    assert timeline.critical_path == ("early", "ship")
    assert [row.ready for row in timeline.rows if row.job == "ship"] == [at(1)]


def test_what_ran_nothing_is_passed_over_by_the_critical_path() -> None:
    below = load.using(id="below")()
    between = ship.using(id="between")(below)
    record = Staged(ship(between), ended=5)
    record.say("below", "completed", attempt(1, 0, 2, "completed"))
    record.say("ship", "completed", attempt(1, 3, 5, "completed"))
    timeline = record.run.timeline()
    assert timeline.critical_path == ("below", "ship")
    assert timeline.rows[-1].ready == at(2)


def test_of_many_attempts_the_critical_and_the_longest_are_drawn_and_the_rest_counted() -> None:
    parts = [load.using(id=f"part-{n}")() for n in range(100)]
    record = Staged(ship(*parts), ended=120)
    for number in range(100):
        record.say(f"part-{number}", "completed", attempt(1, 0, 1 + number, "completed"))
    record.say("ship", "completed", attempt(1, 101, 101.5, "completed"))
    timeline = record.run.timeline()
    lines = timeline.text(100).splitlines()
    bars = [line for line in lines if "█" in line and line[0] in " *"]
    assert (len(timeline.rows), len(bars), timeline.peak) == (101, 40, 100)
    assert any(line.startswith("* ship") for line in bars)
    assert any(line.startswith("* part-99") for line in bars)
    assert not any("part-60 " in line for line in bars)
    assert "... and 61 more attempts, 31 min 31 s of work" in lines
    assert len([line for line in timeline.text(100, limit=3).splitlines() if line[0] == "*"]) == 2


@pytest.mark.parametrize("columns", [10, 60, 100, 250])
def test_no_line_of_the_picture_is_wider_than_it_may_be(columns: int) -> None:
    job = load.using(id="日本語" * 30)()
    for _ in range(20):
        job = ship.using(queue="q" * 64)(job)
    record = Staged(job, ended=30)
    for number, name in enumerate(record.plan.ids):
        record.say(name, "cancelled", attempt(1, number, number + 1, "cancelled", by="w\n" * 200))
    text = record.run.timeline().text(columns)
    assert max(map(width, text.splitlines())) <= max(columns, 60)
    assert "21 jobs" in text


def test_the_picture_is_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    timeline = staged().run.timeline()
    assert str(timeline) == timeline.text(140) != timeline.text(100)
