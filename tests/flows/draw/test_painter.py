"""What is shown of a run that goes on, and when: a run must hardly feel that it is watched."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows._draw._live import LivePicture
from flows._watch import LAYOUT_SHARE, _Painter


@flows.task(queue="painted-first")
def count(until: int = 3) -> list[int]:
    return list(range(until))


@flows.task(queue="painted-each")
def hold(item: int) -> int:
    GATE.wait(60)
    return item


GATE = threading.Event()


@flows.flow
def held() -> flows.Job[list[int]]:
    return flows.each(hold, count().out)


@pytest.fixture
def gate() -> Any:
    GATE.clear()
    yield GATE
    GATE.set()


class Shown(list[dict[str, Any]]):
    """What a painter has shown, newest last."""

    @property
    def kinds(self) -> list[bool]:
        """Whether each was a picture, and no line of text."""
        return ["image/svg+xml" in bundle for bundle in self]

    def boxes(self) -> int:
        svg: str = self[-1]["image/svg+xml"]
        return svg.count("data-box")


def painter_of(run: flows.Run[Any], **given: Any) -> tuple[_Painter, Shown]:
    shown = Shown()
    return _Painter(run._record, lambda: LivePicture(run._record), shown.append, **given), shown


def until(fact: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(6_000):
        if fact():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come to that within a minute")


def test_the_first_picture_waits_until_the_run_can_afford_it(gate: threading.Event) -> None:
    run = flows.submit(held)
    painter, shown = painter_of(run)
    begun = painter._laid_out_at
    due_at = painter._once(begun)
    assert due_at is not None
    assert shown.kinds == [False]
    assert "held: running" in shown[0]["text/plain"]
    price = LivePicture(run._record).price
    assert due_at >= begun + LAYOUT_SHARE * price > begun
    assert painter._once(due_at + LAYOUT_SHARE * price) is None  # jobs may have been added meanwhile
    assert shown.kinds == [False, True]


def test_a_run_of_other_processes_is_shown_at_once(gate: threading.Event) -> None:
    painter, shown = painter_of(flows.submit(held), sparing=False)
    assert painter._once(painter._laid_out_at) is None
    assert shown.kinds == [True]


def test_jobs_that_are_added_wait_for_a_layout_that_can_be_afforded(gate: threading.Event) -> None:
    run = flows.submit(held)
    until(lambda: len(run.jobs) == 5)
    painter, shown = painter_of(run, sparing=False)
    painter._once(painter._laid_out_at)
    assert shown.boxes() == 5
    picture = painter._picture
    assert picture is not None
    picture._shape, picture._laid_out_in = (2, 0, 0), 0.1  # as if these jobs had come only now
    due_at = painter._once(painter._laid_out_at)
    assert due_at is not None
    assert due_at == pytest.approx(painter._laid_out_at + 0.2 * LAYOUT_SHARE * 0.1)
    assert picture.price == 0.1  # recoloured only
    painter._once(due_at)
    assert picture.price == 0.0
    assert shown.kinds == [True] * 3


def test_of_a_huge_run_only_a_line_is_shown_until_it_has_ended() -> None:
    run = flows.submit(flows.flow(lambda: tuple(count(place) for place in range(1_000)), name="huge")())
    painter, shown = painter_of(run)
    with painter.at_work():
        run.wait()
    assert shown.kinds[-1]
    assert shown.kinds.count(True) == 1
    assert "huge: completed, 1,000 jobs: 1,000 done" in shown[-1]["text/plain"]


def test_what_is_over_in_a_moment_is_not_shown() -> None:
    run = flows.submit(flows.flow(lambda: count(), name="short")())
    painter, shown = painter_of(run, quiet=60)
    with painter.at_work():
        run.wait()
    assert shown == []


def test_the_end_is_shown_by_who_does_not_wait(gate: threading.Event) -> None:
    run = flows.submit(held)
    painter, shown = painter_of(run)
    over = threading.Event()
    painter.until_the_end(over.set)
    until(lambda: len(shown) > 0)
    gate.set()
    assert over.wait(60)
    assert "held: completed" in shown[-1]["text/plain"]
    assert shown.boxes() == 5
