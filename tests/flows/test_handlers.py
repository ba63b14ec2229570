"""What comes out of a handler: results that are none."""

import pytest

import flows
from flows._handlers import handler_of


@flows.task
def leaf() -> int:
    return 1


@pytest.mark.parametrize(
    ("returned", "what"),
    [
        (lambda: leaf(), "a job; calling a task runs nothing"),
        (lambda: leaf().out, "a reference; calling a task runs nothing"),
        (lambda: flows.optional(leaf().out), "a reference; calling a task runs nothing"),
        (lambda: (x for x in "ab"), "a generator; return a list instead."),
    ],
    ids=["job", "reference", "optional", "generator"],
)
def test_a_handler_that_returns_what_is_no_result_fails_without_another_try(returned: object, what: str) -> None:
    task = flows.task(returned, name="odd", attempts=3)  # type: ignore[call-overload]
    run = flows.execute(task(), check=False)
    job = run.jobs["odd"]
    assert job.error is not None
    assert what in job.error.message
    assert len(job.attempts) == 1


def test_a_handler_is_made_once_a_task_and_again_for_another_function() -> None:
    task = flows.task(lambda: 1, name="made-once")
    first = handler_of(task)
    assert handler_of(task) is first
    assert handler_of(task.using(priority=1)) is not first
    task.fn = lambda: 2
    assert handler_of(task).fn is task.fn


def test_an_annotation_that_means_nothing_yet_is_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def early(value: "DefinedLater") -> object:  # type: ignore[name-defined]  # noqa: F821
        return value

    task = flows.task(early)
    assert handler_of(task).parameters.validated({"value": "3"}, "spot") == {"value": "3"}
    monkeypatch.setitem(globals(), "DefinedLater", int)
    assert handler_of(task).parameters.validated({"value": "3"}, "spot") == {"value": 3}


@pytest.mark.parametrize("count", range(6))
def test_results_are_passed_in_order_however_many(count: int) -> None:
    number = flows.task(lambda value: value, name="passed-number")
    taken = flows.task(lambda *values: values, name="passed-taken")
    parts = [number(value).out for value in range(count)]
    assert flows.execute(taken(*parts)).value == tuple(range(count))
    assert flows.execute(taken(*parts, "last")).value == (*range(count), "last")
