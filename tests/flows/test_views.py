"""Views of a run's jobs: states, values, errors, attempts."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import flows
from flows.errors import NoValueError

PRIVATE = "memory://?private=1"

give = flows.task(lambda value=None: value, name="views-give")


@flows.task(name="views-fail", attempts=2)
def fail() -> None:
    raise ValueError("no")


@pytest.fixture
def going_on() -> Iterator[flows.Run[Any]]:
    started, release = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        release.wait(10)

    held = flows.task(hold, name="views-hold")
    root = give.using(id="root")([held().out, give.using(id="late", delay="24h")().out])
    run = flows.submit(root, executor="memory://?private=1&concurrency=1")
    assert started.wait(10)
    yield run
    run.cancel()
    release.set()
    run.wait(10)


def test_jobs_are_a_mapping_by_id_in_run_order_and_by_job() -> None:
    below = give.using(id="below")(1)
    root = give(below.out)
    run = flows.execute(root)
    assert (list(run.jobs), len(run.jobs)) == (["below", "views-give"], 2)
    assert ("below" in run.jobs, "x" in run.jobs) == (True, False)
    assert (run.jobs[below].id, run.jobs[root].id) == ("below", "views-give")
    assert [view.id for view in run.jobs.values()] == ["below", "views-give"]
    assert repr(run.jobs) == "<2 jobs: below, views-give>"
    assert repr(run.jobs["below"]) == "<job 'below': completed>"


@pytest.mark.parametrize("wrong", ["x", 42, None, give(1)], ids=range(4))
def test_a_job_of_another_flow_is_a_key_error_that_names_those_there_are(wrong: Any) -> None:
    run: Any = flows.execute(give.using(id="mine")(1))
    with pytest.raises(KeyError, match=r"the flow has no job .*; there are mine"):
        run.jobs[wrong]
    assert wrong not in run.jobs


def test_a_completed_job() -> None:
    before = datetime.now(UTC)
    run = flows.execute(give.using(id="me", queue="views-q")(5))
    view = run.jobs["me"]
    assert (view.id, view.task, view.queue, view.state, view.value, view.error) == (
        "me", "views-give", "views-q", "completed", 5, None,
    )  # fmt: skip
    (attempt,) = view.attempts
    assert (attempt.number, attempt.outcome, attempt.error, attempt.worker) == (1, "completed", None, view.worker)
    assert attempt.end is not None
    assert before - timedelta(seconds=1) <= attempt.start <= attempt.end <= datetime.now(UTC) + timedelta(seconds=1)
    assert attempt.start.tzinfo is UTC
    assert attempt.seconds == (attempt.end - attempt.start).total_seconds()


def test_a_failed_job() -> None:
    view = flows.execute(fail(), check=False).jobs["views-fail"]
    assert (view.state, [attempt.outcome for attempt in view.attempts]) == ("failed", ["failed", "failed"])
    assert str(view.error) == "ValueError: views-fail: no"
    with pytest.raises(NoValueError, match=r"job 'views-fail' has no value: ValueError: views-fail: no") as caught:
        _ = view.value
    assert caught.value.job == "views-fail"  # type: ignore[attr-defined]


def test_a_job_that_never_started() -> None:
    view = flows.execute(give(fail().out), check=False).jobs["views-give"]
    assert (view.state, list(view.attempts), view.worker) == ("failed", [], None)
    assert (view.progress, list(view.logs)) == (None, [])
    assert view.error is not None
    assert view.error.type == "DependencyFailedError"


def test_jobs_of_a_run_that_goes_on(going_on: flows.Run[Any]) -> None:
    states = {job_id: view.state for job_id, view in going_on.jobs.items()}
    assert states == {"views-hold": "active", "late": "delayed", "root": "waiting_children"}
    (attempt,) = going_on.jobs["views-hold"].attempts
    assert (attempt.outcome, attempt.end, attempt.seconds, attempt.worker is None) == (None, None, None, False)
    for job_id, state in states.items():
        assert going_on.jobs[job_id].error is None
        with pytest.raises(NoValueError, match=f"job '{job_id}' has no value: it is {state}"):
            _ = going_on.jobs[job_id].value


def test_a_view_is_live(going_on: flows.Run[Any]) -> None:
    view = going_on.jobs["late"]
    going_on.cancel("enough")
    assert view.state == "cancelled"
    assert view.error is not None
    assert (view.error.state, view.error.message) == ("cancelled", "enough")
