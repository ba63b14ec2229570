"""Reading a stored run: few questions to the store however large the run, and never an old end."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

import flows
from executors._stored import JobFacts, StoredEvent, pack, read_failed, write_failed, writing
from executors._stored._record import StoredRecord
from flows._handlers import perform
from flows._run import Run
from flows._verbs import Grant
from flows.executor import RunOptions
from tests.executors.columns import Clock
from tests.executors.shelf import Shelf, inside

CLOCK = Clock()


@flows.task(name="one")
def one(number: int) -> int:
    if number < 0:
        raise ValueError("below")
    return number


@flows.task(name="sum-up")
def sum_up(numbers: list[int]) -> int:
    return sum(numbers)


class Counted(Shelf):
    """Counts what it is asked."""

    asked: list[str]

    def __init__(self, flow: Any) -> None:
        super().__init__(pack(flows.plan(flow), RunOptions("run", None, "run")))
        self.asked = []
        self.granted: list[Grant] = []

    def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
        self.asked.append("all" if jobs is None else "one")
        return super().jobs(run, jobs)

    def payloads(self, run: str, jobs: Sequence[int]) -> Sequence[bytes | None]:
        self.asked.append("payloads")
        return super().payloads(run, jobs)

    def work(self, limit: int = 10**9) -> None:
        while self.state.open and limit:
            self.granted += self.claim()
            self.settle(inside(writing(perform))(self.granted.pop(0), CLOCK))
            limit -= 1

    def read_by(self, record: StoredRecord) -> Run[Any]:
        executor: Any = None
        return Run(executor, record)


@pytest.fixture
def slow_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine, questions that follow each other come one upon the other."""
    monkeypatch.setattr("executors._stored._glance.PAUSE_SECONDS", 60.0)
    monkeypatch.setattr("executors._stored._glance.GLANCE_SECONDS", 60.0)


def test_a_store_that_is_far_away_is_asked_no_more_than_a_near_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Far(Counted):
        def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
            nonlocal now
            now += 0.05  # longer than whoever asks may pause
            return super().jobs(run, jobs)

    monkeypatch.setattr("executors._stored._glance.time", SimpleNamespace(monotonic=lambda: now))
    shelf = Far(sum_up([one(number).out for number in range(100)]))
    shelf.work()
    jobs = shelf.read_by(StoredRecord(shelf, "run")).jobs
    shelf.asked.clear()
    assert {job.state for job in jobs.values()} == {"completed"}
    assert shelf.asked == ["one"] * 8 + ["all"]
    now += 0.01  # and yet who pauses is told how it is now
    assert jobs["one"].state == "completed"
    assert shelf.asked[9:] == ["one"]


@pytest.mark.usefixtures("slow_reader")
def test_a_large_run_is_read_with_few_questions() -> None:
    shelf = Counted(sum_up([one(number).out for number in range(1_000)]))
    shelf.work()
    run = shelf.read_by(StoredRecord(shelf, "run"))
    assert run.value == sum(range(1_000))
    shelf.asked.clear()
    assert {job.state for job in run.jobs.values()} == {"completed"}
    assert sum(job.value for name, job in run.jobs.items() if name != "sum-up") == sum(range(1_000))
    assert "completed" in run.explain()
    assert len(run.timeline().rows) == len(run.table().rows) == 1_001
    assert shelf.asked.count("all") <= 2  # once more when the run is seen to have ended
    assert len(shelf.asked) < 30


@pytest.mark.usefixtures("slow_reader")
def test_a_long_chain_of_causes_is_followed_once() -> None:
    job = one(-1)
    for _ in range(700):
        job = one(job.out)
    shelf = Counted(job)
    shelf.work()
    run = shelf.read_by(StoredRecord(shelf, "run"))
    shelf.asked.clear()
    errors = {name: str(view.error) for name, view in run.jobs.items()}
    first = next(iter(errors))
    assert errors.pop(first) == f"ValueError: {first}: below"
    assert errors == {
        name: f"DependencyFailedError: {name}: dependency {first!r} failed: ValueError: below" for name in errors
    }
    assert len(run.dead_letters()) == 1
    assert len(shelf.asked) < 3_500  # and not a quarter of a million


@pytest.mark.usefixtures("slow_reader")
def test_an_end_that_was_told_of_is_seen_everywhere() -> None:
    shelf = Counted(sum_up([one(number).out for number in range(50)]))
    record = StoredRecord(shelf, "run")
    run = shelf.read_by(record)
    shelf.work(20)
    assert {job.state for job in run.jobs.values()} >= {"waiting_children", "completed"}  # read all together
    assert "all" in shelf.asked
    shelf.work()
    assert run.state == "completed"  # and so it is known that there is more to see
    assert {job.state for job in run.jobs.values()} == {"completed"}


@pytest.mark.usefixtures("slow_reader")
def test_who_has_waited_looks_anew() -> None:
    shelf = Counted(sum_up([one(number).out for number in range(50)]))
    record = StoredRecord(shelf, "run")
    run = shelf.read_by(record)
    assert "completed" not in {job.state for job in run.jobs.values()}
    shelf.work()
    record.refresh()
    assert {job.state for job in run.jobs.values()} == {"completed"}


def test_events_of_a_doomed_job_tell_what_doomed_it() -> None:
    shelf = Counted(sum_up([one(-1).out, one(2).out]))
    shelf.work()
    run = shelf.read_by(StoredRecord(shelf, "run"))
    told = {(event.kind, event.job): str(event.detail) for event in StoredRecord(shelf, "run").events(0)[0]}
    assert told["failed", "one"] == "ValueError: one: below"
    assert told["failed", "sum-up"] == str(run.jobs["sum-up"].error)
    assert told["ended", None] == "failed"
    assert run.jobs["one"].error == read_failed(shelf.failures[0])


def test_an_event_of_a_lost_attempt_has_the_failure_if_it_has_anything() -> None:
    shelf = Counted(one(2))
    record = StoredRecord(shelf, "run")
    failure = write_failed(flows.Failed("LeaseLostError", "the worker died", "", ""))
    events = [str(record._event(StoredEvent("lost", 0.0, 0, 1, detail))) for detail in (failure, None)]
    assert events == ["00:00:00.000 lost one LeaseLostError: the worker died", "00:00:00.000 lost one"]


def test_a_result_that_does_not_fit_its_own_annotation_is_not_lost() -> None:
    @flows.task(name="liar")
    def liar() -> dict[str, int]:
        return [1]  # type: ignore[return-value]

    shelf = Counted(liar())
    shelf.work()
    assert shelf.read_by(StoredRecord(shelf, "run")).value == [1]


def test_a_live_exception_is_the_cause_where_it_is_known() -> None:
    shelf = Counted(one(-1))
    shelf.work()
    record = StoredRecord(shelf, "run")
    record.exceptions[0] = error = ValueError("live")
    with pytest.raises(flows.FlowFailedError) as caught:
        _ = shelf.read_by(record).value
    assert caught.value.__cause__ is error
