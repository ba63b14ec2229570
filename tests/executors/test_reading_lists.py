"""Reading real runs that have lists and conditions, and that were reopened."""

import re
from typing import Any

import flows
from flows import Job
from tests.executors.latch import PATIENCE, Latch, gather, private


@flows.task(name="reading-numbers")
def numbers() -> list[int]:
    return [1, 2, 0]


@flows.task(name="reading-divide", queue="stock", on_failure="ignore", attempts=2)
def divide(number: int) -> float:
    return 1 / number


def listed() -> Job[Any]:
    return gather.using(id="root")(flows.each(divide, numbers().out).out)


def test_the_items_of_a_list_are_read_as_jobs_that_waited_for_the_list() -> None:
    run = flows.execute(listed(), executor=private())
    timeline = run.timeline()
    assert timeline.critical_path[0] == "reading-numbers"
    assert timeline.critical_path[-1] == "root"
    known = run.jobs["reading-numbers"].attempts[0].end
    assert [row.ready for row in timeline.rows if row.job.startswith("reading-divide[") and row.attempt == 1] == [
        known
    ] * 3
    assert [letter.job for letter in run.dead_letters()] == ["reading-divide[2]"]
    assert run.dead_letters()[0].data == {"number": 0}
    assert [row.job for row in run.table().rows] == list(run.jobs)
    assert run.explain("reading-divide") == "reading-divide completed"
    assert run.explain("reading-divide[2]").startswith("reading-divide[2] failed: ZeroDivisionError: ")


def test_a_list_waits_for_its_items() -> None:
    let_go, started = Latch(), Latch()

    def hold(number: int) -> None:
        if number == 2:
            started.open()
            let_go.wait()

    held = flows.task(hold, name="reading-hold-item")
    root = gather.using(id="root")(flows.each(held, numbers().out, limit=2).out)
    run = flows.submit(root, executor=private())
    started.wait()
    for event in run.events():
        if event.kind == "completed" and event.job == "reading-hold-item[2]":
            break
    told = run.explain("root").splitlines()
    assert told[0].startswith("root waits for reading-hold-item[1], which has been running for ")
    assert told[1:] == ["It is held up by way of reading-hold-item."]
    let_go.open()
    run.wait(PATIENCE)


def test_a_condition_that_did_not_hold_is_told() -> None:
    root = gather.using(id="root")(flows.when(numbers().out[2], divide(1)).out)
    run = flows.execute(root.on_failure("ignore"), executor=private())
    first, *_ = run.explain("root").splitlines()
    assert first.startswith("root ")
    assert run.explain("reading-divide") == (
        "reading-divide was skipped: its condition does not hold: reading-numbers.out[2]"
    )


def test_a_condition_that_no_longer_holds_when_the_run_is_done_again_is_told() -> None:
    holds = [True]

    @flows.task(name="reading-holds")
    def ask() -> bool:
        return holds[0]

    run = flows.execute(flows.when(ask().out, numbers()), executor=private())
    holds[0] = False
    run.rerun("reading-holds").wait(PATIENCE)
    first, *_ = run.explain("reading-numbers").splitlines()
    assert first == "reading-numbers was skipped: its condition does not hold: reading-holds.out"


def test_a_reopened_run_tells_both_of_its_lives() -> None:
    let_go = Latch()
    calls: list[int] = []

    @flows.task(name="reading-second-time", attempts=2)
    def second_time() -> None:
        calls.append(1)
        if len(calls) <= 2:
            raise ValueError("not yet")
        let_go.wait()

    run = flows.execute(second_time(), executor=private(), check=False)
    ended_at = run.timeline().end
    let_go.open()
    run.retry().wait(PATIENCE)
    told = run.explain("reading-second-time").splitlines()
    assert re.match(r"reading-second-time completed in .* on queue default: attempt 1/2 on worker ", told[0])
    assert [line.partition(",")[0] for line in told[1:]] == [
        "Before that:", "- attempt 1/2 failed", "- attempt 2/2 failed",
    ]  # fmt: skip
    assert run.timeline().end > ended_at
    assert [row.attempt for row in run.timeline().rows] == [1, 2, 1]
    assert list(run.dead_letters()) == []


def test_the_critical_path_of_a_run_done_again_leads_through_what_was_done_again() -> None:
    run = flows.execute(listed(), executor=private())
    first = run.timeline().critical_path
    assert (first[0], first[-1]) == ("reading-numbers", "root")
    run.rerun("reading-numbers").wait(PATIENCE)
    again = run.timeline()
    assert (again.critical_path[0], again.critical_path[-1]) == ("reading-numbers", "root")
    assert len(again.critical_path) == 3
    *_, root = [row for row in again.rows if row.job == "root"]
    assert root.waited < (root.start - again.start).total_seconds(), "it waits anew, not since its first life"


# Speed: by size, never by the clock alone
