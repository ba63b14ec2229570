"""Events of a run: which, in which order, in words, live or afterwards."""

import asyncio
from datetime import UTC, datetime

import pytest

import flows
from flows import Event

PRIVATE = "memory://?private=1"
AT = datetime(2024, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)

give = flows.task(lambda value=None: value, name="events-give")


def told(run: "flows.Run[object]") -> list[tuple[str, str | None, int | None]]:
    return [(event.kind, event.job, event.attempt) for event in run.events()]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (Event("submitted", AT), "03:04:05.678 submitted"),
        (Event("started", AT, "pay", 1), "03:04:05.678 started pay"),
        (Event("started", AT, "pay", 2), "03:04:05.678 started pay (attempt 2)"),
        (
            Event("failed", AT, "pay", 2, "ValueError: pay: no"),
            "03:04:05.678 failed pay (attempt 2) ValueError: pay: no",
        ),
        (Event("progress", AT, "pay", 1, 0), "03:04:05.678 progress pay 0"),
    ],
)
def test_an_event_reads_as_a_line(event: Event, text: str) -> None:
    assert str(event) == text


def test_a_run_tells_its_jobs_in_order() -> None:
    run = flows.execute(give(give.using(id="below")(1).out), executor=PRIVATE)
    assert told(run) == [
        ("submitted", None, None),
        ("started", "below", 1),
        ("completed", "below", 1),
        ("started", "events-give", 1),
        ("completed", "events-give", 1),
        ("ended", None, None),
    ]
    assert told(run) == told(run)


def test_failures_skips_retries_and_progress_are_told_with_what_is_known() -> None:
    @flows.task(name="events-flaky", attempts=2)
    def flaky() -> None:
        flows.current().progress("half")
        raise ValueError(flows.current().attempt)

    run = flows.execute(give(give.using(id="between")(flaky().out).out), executor=PRIVATE, check=False)
    assert told(run) == [
        ("submitted", None, None),
        ("started", "events-flaky", 1),
        ("progress", "events-flaky", 1),
        ("retrying", "events-flaky", 1),
        ("started", "events-flaky", 2),
        ("progress", "events-flaky", 2),
        ("failed", "events-flaky", 2),
        ("failed", "between", None),
        ("failed", "events-give", None),
        ("ended", None, None),
    ]
    details = {(event.kind, event.job, event.attempt): event.detail for event in run.events()}
    assert details["progress", "events-flaky", 1] == "half"
    assert str(details["retrying", "events-flaky", 1]) == "ValueError: events-flaky: 1"
    assert str(details["failed", "events-flaky", 2]) == "ValueError: events-flaky: 2"
    assert "events-flaky" in str(details["failed", "events-give", None])


def test_no_event_has_a_result() -> None:
    run = flows.execute(give(give("a secret").out), executor=PRIVATE)
    assert all(event.detail is None for event in run.events() if event.kind in ("started", "completed"))


def test_a_run_that_was_cancelled_ends_with_the_events_of_that() -> None:
    run = flows.submit(give(give.using(id="late", delay="24h")().out), executor=PRIVATE)
    run.cancel("enough")
    assert [(kind, job) for kind, job, _ in told(run)] == [
        ("submitted", None), ("cancelled", "late"), ("cancelled", "events-give"), ("ended", None),
    ]  # fmt: skip


def test_a_reader_that_stops_early_leaves_the_run_alone() -> None:
    run = flows.submit(give(give(1).out), executor=PRIVATE)
    assert next(iter(run.events())).kind == "submitted"
    assert run.wait().value == 1


def test_several_readers_each_get_all_of_it() -> None:
    async def read(run: "flows.Run[object]") -> list[str]:
        return [event.kind async for event in run.aevents()]

    async def main() -> list[list[str]]:
        run = await flows.asubmit(give(give(1).out), executor=PRIVATE)
        return list(await asyncio.gather(*(read(run) for _ in range(3))))

    first, *others = asyncio.run(main())
    assert first[-1] == "ended"
    assert others == [first, first]
