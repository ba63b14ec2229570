"""What a screen shows of a run: how jobs are arranged, how far they are, how little room there may be."""

import threading
from collections import Counter
from typing import Any

import pytest

import flows
from flows import Job
from flows._cli import _follow
from flows._cli._grouping import arranged
from flows._cli._view import View, fraction
from flows._run import Run
from flows._typeset import width

OWN = "memory://?private=1"


@flows.task(name="view-step")
def step(*below: object, fail: bool = False) -> int:
    if fail:
        raise ValueError("no [green]way[/green]")
    return len(below)


@flows.task(name="view-other")
def other(*below: object) -> int:
    return len(below)


def shown(run: Run[Any], columns: int = 80, room: int = 24) -> list[str]:
    return [text.plain for text in View(run._record).lines(columns, room)]


def test_jobs_stand_below_those_that_wait_for_them() -> None:
    low = step.using(id="low")()
    plan = flows.plan(step.using(id="top")(step.using(id="left")(low.out).out, step.using(id="right")(low.out).out))
    assert [(group.label, group.depth) for group in arranged(plan, 10)] == [
        ("top", 0),
        ("left", 1),
        ("low", 2),  # shared: below the first that waits for it
        ("right", 1),
    ]


def test_alike_jobs_share_a_line_where_there_is_no_room() -> None:
    plan = flows.plan(step.using(id="top")(*[other(step().out).out for _ in range(20)]))
    assert [(group.label, len(group.jobs)) for group in arranged(plan, 10)] == [
        ("top", 1),
        ("view-other#*", 20),
        ("view-step#*", 20),
    ]
    assert len(arranged(plan, 41)) == 41


def test_items_of_a_list_share_a_line_below_it() -> None:
    run = flows.execute(flows.each(lambda n: other(step.using(id="part")(n).out), list(range(30))), executor=OWN)
    text = shown(run)
    assert text[1].startswith("████████████████████  61 of 61 jobs")
    assert text[2] == "✓ view-other  "  # the list
    assert text[3].startswith("  ✓ view-other[*]  ██████████  30/30")
    assert text[4].startswith("    ✓ part[*]  ██████████  30/30")


def test_a_circle_of_alike_jobs_is_no_circle_of_lines() -> None:
    job: Job[int] = step()
    for _ in range(2_000):
        job = other(step(job.out).out)
    groups = arranged(flows.plan(job), 10)
    assert [(group.label, len(group.jobs), group.depth) for group in groups] == [
        ("view-other#*", 2_000, 0),
        ("view-step#*", 2_001, 1),
    ]


def test_every_state_has_a_sign_of_its_own() -> None:
    bad = step.using(id="bad", on_failure="ignore")(fail=True)
    lost = other.using(id="lost")().after(flows.when(False, other.using(id="off")()))
    run = flows.execute(step.using(id="top")().after(bad, lost), executor=OWN)
    assert [text.strip()[:2] for text in shown(run)[2:]] == ["✓ ", "✗ ", "✓ ", "- "]
    assert "✗ bad  ValueError: no [green]way[/green]" in [text.strip() for text in shown(run)]


def test_what_runs_shows_time_attempt_and_progress() -> None:
    begun, go = threading.Event(), threading.Event()

    @flows.task(name="view-slow", attempts=3, backoff=flows.Backoff.fixed("1h"))
    def slow() -> None:
        flows.current().progress({"done": 3, "total": 4})
        begun.set()
        go.wait(60)
        raise TimeoutError("slow")

    run = flows.submit(slow(), executor=OWN)
    begun.wait(60)
    active = shown(run)[2]
    go.set()
    for event in run.events():
        if event.kind == "retrying":
            break
    delayed = shown(run)[2]
    run.cancel()
    assert active.startswith("● view-slow  ")
    assert active.endswith("attempt 1/3  ███████░░░ 75%")
    assert delayed.startswith("◷ view-slow  again in ")
    assert delayed.endswith("after TimeoutError: slow")
    assert shown(run.wait("30s"))[2].startswith("⊘ view-slow  RunCancelledError")


@pytest.mark.parametrize(("columns", "room"), [(80, 24), (40, 10), (20, 5)])
def test_nothing_is_wider_or_higher_than_the_screen(columns: int, room: int) -> None:
    names = [f"größe 大きい名前 {'x' * 60} {number}" for number in range(60)]
    jobs = [step.using(id=name, on_failure="ignore")(fail=not number % 7) for number, name in enumerate(names)]
    run = flows.execute(step.using(id="top")().after(*jobs), executor=OWN)
    lines = shown(run, columns, room)
    assert len(lines) <= room
    assert max(map(width, lines)) <= columns
    assert "61 of 61" in lines[1] or columns < 30
    assert "more jobs" in lines[-1]
    assert sum(line.lstrip().startswith("✗") for line in lines) == min(9, room - 4)  # what failed comes first


@pytest.mark.parametrize(
    ("progress", "part"),
    [
        (0.25, 0.25),
        (1.0, 1.0),
        (25, 0.25),
        (100, 1.0),
        ((3, 12), 0.25),
        ([12, 12], 1.0),
        ({"done": 1, "total": 4}, 0.25),
        ("half", None),
        (True, None),
        (None, None),
        (101, None),
        ((5, 4), None),
        ((0, 0), 0.0),
        ({"done": "x"}, None),
        (float("nan"), None),
    ],
)
def test_a_progress_is_read_as_a_part(progress: object, part: float | None) -> None:
    assert fraction(progress) == part


def test_a_store_that_is_away_is_asked_again_until_it_answers_or_nobody_waits(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_follow, "AWAY_SECONDS", 0.0)
    run, over, asked = flows.execute(step(), executor=OWN)._record, threading.Event(), Counter[str]()

    class Away:
        """The record of a run on a store that answers each question at the third time."""

        watch = run.watch

        @property
        def ended(self) -> bool:
            return bool(self._answered("ended", run.ended))

        def events(self, position: int) -> Any:
            return self._answered("events", run.events(position))

        def _answered(self, what: str, reply: Any) -> Any:
            asked[what] += 1
            if asked[what] < 3:
                raise flows.UnavailableError("no answer in time")
            return reply

    record: Any = Away()
    assert [event.kind for event in _follow.events(record, over)] == [event.kind for event in run.events(0)[0]]
    assert capsys.readouterr().err.splitlines() == 2 * ["no answer in time; asking again until it answers"]
    asked.clear()
    over.set()
    with pytest.raises(flows.UnavailableError):
        _follow.answered(lambda: record.ended, over)
