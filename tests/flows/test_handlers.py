"""What comes out of a handler: results that are none."""

import pytest

import flows


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
