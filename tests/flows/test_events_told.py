"""What a run tells through its events: kinds, attempts and details, in order."""

import flows
from flows import Backoff, Failed


@flows.task(name="told-flaky", attempts=3, backoff=Backoff.fixed("1ms"))
def flaky() -> int:
    if flows.current().attempt < 3:
        raise ConnectionError("not yet")
    return 1


@flows.task(name="told-add")
def add(one: int, more: int = 0) -> int:
    return one + more


@flows.task(name="told-broken")
def broken() -> int:
    raise ValueError("broken")


def told(run: flows.Run[object], job: str | None) -> list[tuple[str, int | None]]:
    return [(event.kind, event.attempt) for event in run.events() if event.job == job]


def test_each_event_says_which_attempt_it_is_about() -> None:
    run = flows.execute(add(flaky().out))
    assert told(run, "told-flaky") == [
        ("started", 1), ("retrying", 1), ("started", 2), ("retrying", 2), ("started", 3), ("completed", 3),
    ]  # fmt: skip
    assert told(run, "told-add") == [("started", 1), ("completed", 1)]


def test_a_retried_job_on_a_queue_of_its_own_says_it_too() -> None:
    run = flows.execute(add.using(queue="other")(flaky().out))
    assert told(run, "told-flaky")[-1] == ("completed", 3)


def test_the_last_event_tells_the_state_of_the_run() -> None:
    for flow, state in [(add(1), "completed"), (add(broken().out), "failed")]:
        run = flows.execute(flow, check=False)
        first, *_, last = run.events()
        assert (first.kind, first.job) == ("submitted", None)
        assert (last.kind, last.job, last.detail) == ("ended", None, state)


def test_a_failure_is_told_with_its_error_and_what_it_takes_along() -> None:
    run = flows.execute(add(broken().out), check=False)
    failed = {event.job: event.detail for event in run.events() if event.kind == "failed"}
    assert failed == {"told-broken": run.jobs["told-broken"].error, "told-add": run.jobs["told-add"].error}
    assert isinstance(failed["told-broken"], Failed)
    assert told(run, "told-add") == [("failed", None)]


def test_one_job_may_feed_an_optional_edge_and_plain_ones() -> None:
    @flows.task(name="told-tolerant")
    def tolerant(result: int | Failed) -> str:
        return type(result).__name__

    @flows.flow
    def mixed() -> tuple[flows.Job[str], flows.Job[int], flows.Job[str]]:
        job = broken()
        return tolerant(flows.optional(job.out)), add(job.out), tolerant(flows.optional(job.out))

    run = flows.execute(mixed, check=False)
    assert [job.state for job in run.jobs.values()] == ["failed", "completed", "failed", "completed"]
