"""What failed for good, by itself: with the arguments, the error and the attempts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor
from flows import DeadLetter, Failed, Job, _registry
from tests.flows.staged import Staged, at, attempt

PRIVATE = "memory://?private=1"


class Declined(Exception):
    pass


@flows.task(name="letters-give", queue="stock")
def give(value: Any = None) -> Any:
    return value


@flows.task(name="letters-charge", queue="payments", attempts=2)
def charge(order: Any, *, currency: str = "EUR", note: Any = None) -> None:
    raise Declined("no funds")


@flows.task(name="letters-look", queue="stock")
def look(value: Any) -> None:
    raise Declined("nor here")


def run_of(*jobs: Job[Any]) -> "flows.Run[Any]":
    return flows.execute(flows.Flow("several", jobs, several=True), executor=PRIVATE, check=False)


def test_a_letter_has_the_arguments_as_they_were_and_the_failure() -> None:
    order = give({"items": [1, 2]})
    run = run_of(give(charge(order.out["items"], currency="USD", note=[order.out]).out))
    (letter,) = run.dead_letters()
    assert isinstance(letter, DeadLetter)
    assert (letter.job, letter.task, letter.queue) == ("letters-charge", "letters-charge", "payments")
    assert letter.data == {"order": [1, 2], "currency": "USD", "note": [{"items": [1, 2]}]}
    assert (letter.error, letter.error.message) == (run.jobs["letters-charge"].error, "no funds")
    assert "raise Declined" in letter.traceback
    assert [one.outcome for one in letter.attempts] == ["failed", "failed"]
    assert letter.at == letter.attempts[-1].end


def test_what_another_doomed_is_no_dead_letter_and_an_ignored_failure_is_one() -> None:
    ignored = charge.using(id="ignored", on_failure="ignore")(1)
    doomed = give.using(id="doomed")(look.using(id="by itself")(1).out)
    run = run_of(give.using(id="well")(2).after(ignored), doomed)
    assert [letter.job for letter in run.dead_letters()] == ["ignored", "by itself"]


def test_letters_are_a_sequence_and_grouped_by_queue() -> None:
    letters = run_of(charge(1), look(2), charge(3)).dead_letters()
    assert (len(letters), letters[1].data, [letter.job for letter in letters[1:]]) == (
        3, {"value": 2}, ["letters-look", "letters-charge#2"],
    )  # fmt: skip
    assert {queue: [letter.job for letter in group] for queue, group in letters.queues.items()} == {
        "payments": ["letters-charge", "letters-charge#2"],
        "stock": ["letters-look"],
    }
    assert repr(letters) == "<3 dead letters>"
    in_a_notebook: list[str] = []
    letters._repr_pretty_(SimpleNamespace(text=in_a_notebook.append), False)
    assert in_a_notebook == [str(letters)]
    assert letters[0] in letters


def test_a_run_in_which_nothing_failed_has_none() -> None:
    letters = run_of(give(1)).dead_letters()
    assert (list(letters), letters.queues, str(letters)) == ([], {}, "no dead letters")


def test_arguments_that_cannot_be_resolved_are_shown_as_they_were_declared() -> None:
    order = give.using(id="order")({"items": []})
    (letter,) = run_of(charge.using(id="late", delay=0)(order.out["items"][0])).dead_letters()
    assert letter.data == {"order": {"$out": "order", "path": ["items", 0], "optional": False}}


def test_a_missing_dependency_stands_in_the_data_as_the_handler_saw_it() -> None:
    failed = look.using(id="gone")(1)
    run = run_of(charge(flows.optional(failed.out), note=["kept"]))
    letter = run.dead_letters()[1]
    assert isinstance(letter.data["order"], Failed)
    assert letter.data["note"] == ["kept"]


def test_arguments_by_place_are_shown_where_the_task_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/letters.db")
    run = flows.execute(charge(give(7).out, currency="CHF"), executor=executor, check=False)
    assert run.dead_letters()[0].data == {"order": 7, "currency": "CHF"}
    monkeypatch.setattr(_registry, "_tasks", {})  # as in the process of an operator
    (letter,) = flows.get(run.id, executor=executor).dead_letters()
    executor.close()
    assert letter.data == {"*args": [7], "currency": "CHF"}


def test_literal_jobs_have_their_data() -> None:
    run = run_of(Job("letters-charge", queue="payments", data={"order": 7, "currency": "CHF"}))
    assert run.dead_letters()[0].data == {"order": 7, "currency": "CHF"}


def test_letters_are_read_as_lines() -> None:
    pays = [Job("pay", queue="payments", data={"order": number}) for number in range(60)]
    record = Staged(flows.Flow("many", tuple(pays), several=True))
    for name in record.plan.ids:
        error = Failed("Declined", "no\nfunds", "", name)
        record.say(name, "failed", attempt(1, 0, 1, "failed", error), attempt(2, 2, 3, "failed", error), error=error)
    lines = str(record.run.dead_letters()).splitlines()
    assert lines[:2] == [
        "queue payments: 60 dead letters",
        "- 2024-01-02 03:04:08 pay after 2 attempts: Declined: pay: no\\nfunds; data {'order': 0}",
    ]
    assert (len(lines), lines[-1]) == (52, "- and 10 more")
    letter = record.run.dead_letters()[0]
    assert (letter.at, "on queue 'payments': Declined" in repr(letter)) == (at(3), True)


def test_the_data_of_a_letter_is_shown_in_short_but_kept_whole() -> None:
    (letter,) = run_of(charge("x" * 100_000)).dead_letters()
    assert len(letter.data["order"]) == 100_000
    assert max(len(str(letter)), len(repr(letter))) < 600


def test_a_value_that_cannot_be_shown_does_not_stop_a_letter() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    letters = run_of(charge(Rude())).dead_letters()
    assert "Declined" in str(letters)
    assert "Declined" in repr(letters[0])


@pytest.mark.parametrize("ended", [True, False])
def test_letters_are_there_before_the_run_has_ended(ended: bool) -> None:
    run: flows.Run[Any] = flows.submit(
        flows.Flow("several", (charge(1), give.using(delay="1h")(2)), several=True), executor=PRIVATE
    )
    for event in run.events():
        if event.kind == "failed":
            break
    if ended:
        run.cancel()
        run.wait(10)
    assert [letter.job for letter in run.dead_letters()] == ["letters-charge"]
