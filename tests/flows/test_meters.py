"""Metrics of jobs and queues, where somebody collects them."""

import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import flows
from executors.memory import MemoryExecutor
from flows import Backoff
from tests.recorded import metric_reader

__all__ = ["metric_reader"]

SOON = 20.0


def points(reader: InMemoryMetricReader, name: str) -> list[tuple[dict[str, Any], Any]]:
    """Attributes and value, or count, of each point of a metric; what a former test's store shows left out."""
    data = reader.get_metrics_data()
    found = []
    for resource in data.resource_metrics if data is not None else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                if metric.name == name:
                    found += [(dict(point.attributes or {}), point) for point in metric.data.data_points]
    return found


@flows.task(queue="metered-till", attempts=2, backoff=Backoff.fixed("1ms"))
def charge() -> int:
    if flows.current().attempt == 1:
        raise TimeoutError
    return 1


@flows.task(queue="metered-shop")
def ship(paid: int) -> int:
    return paid


def test_durations_are_recorded_by_attempt(metric_reader: InMemoryMetricReader) -> None:
    flows.execute(ship(charge().out))
    found = {
        (said["messaging.destination.name"], said.get("error.type")): point.count
        for said, point in points(metric_reader, "messaging.process.duration")
    }
    assert found == {("metered-till", "TimeoutError"): 1, ("metered-till", None): 1, ("metered-shop", None): 1}


def test_attempts_and_outcomes_are_recorded_by_job(metric_reader: InMemoryMetricReader) -> None:
    @flows.task(queue="metered-shop")
    def broken() -> int:
        raise RuntimeError

    flows.execute(ship(charge().out))
    flows.execute(ship(broken().out), check=False)
    outcomes = {
        (said["flows.task.name"], said["flows.outcome"]): point.value
        for said, point in points(metric_reader, "flows.job.outcomes")
    }
    assert outcomes == {
        ("charge", "completed"): 1,
        ("ship", "completed"): 1,
        ("broken", "failed"): 1,
        ("ship", "failed"): 1,
    }
    attempts = {said["flows.task.name"]: point.sum for said, point in points(metric_reader, "flows.job.attempts")}
    assert attempts == {"charge": 2, "ship": 1, "broken": 1}  # the doomed job was never tried


def test_waits_count_from_when_a_job_was_ready(metric_reader: InMemoryMetricReader) -> None:
    @flows.task(delay="80ms")
    def late(value: int) -> int:
        return value

    @flows.task
    def slow() -> int:
        threading.Event().wait(0.2)
        return 1

    flows.execute(late(slow().out))
    waits = {said["flows.task.name"]: point for said, point in points(metric_reader, "flows.job.wait")}
    assert waits["late"].count == 1
    assert waits["late"].sum < 0.2  # neither the dependency's time nor the delay is in it
    assert 0 <= waits["slow"].sum < 0.2


def test_waits_of_items_and_of_jobs_done_again_count_from_when_these_were_ready(
    metric_reader: InMemoryMetricReader,
) -> None:
    @flows.task(name="meters-source")
    def source() -> list[int]:
        threading.Event().wait(0.2)
        return [1, 2]

    @flows.task(name="meters-item")
    def item(number: int) -> int:
        return number

    run = flows.execute(flows.each(item, source().out), executor="memory://?private=1")
    threading.Event().wait(0.2)
    run.rerun("meters-source").wait()
    waits = {said["flows.task.name"]: point for said, point in points(metric_reader, "flows.job.wait")}
    assert (waits["meters-source"].count, waits["meters-item"].count) == (2, 4)
    assert waits["meters-source"].sum < 0.2
    assert waits["meters-item"].sum < 0.2


def test_the_depth_of_queues_can_be_seen_while_a_run_goes_on(metric_reader: InMemoryMetricReader) -> None:
    begun, free = threading.Event(), threading.Event()

    @flows.task(queue="depths")
    def hold() -> int:
        begun.set()
        free.wait(SOON)
        return 1

    @flows.task(queue="depths-above")
    def last(value: int) -> int:
        return value

    executor = MemoryExecutor("memory://?private=1")
    run = flows.submit(last(hold().out), executor=executor)
    assert begun.wait(SOON)
    depth = {
        (said["messaging.destination.name"], said["flows.job.state"]): point.value
        for said, point in points(metric_reader, "flows.queue.depth")
    }
    free.set()
    run.wait(SOON)
    assert depth == {("depths", "active"): 1, ("depths-above", "waiting_children"): 1}
    assert points(metric_reader, "flows.queue.depth") == []


def test_every_job_of_a_wide_run_is_counted(metric_reader: InMemoryMetricReader) -> None:
    @flows.task
    def one() -> int:
        return 1

    @flows.task
    def total(values: list[int]) -> int:
        return sum(values)

    flows.execute(total([one().out for _ in range(500)]))
    counted = {said["flows.task.name"]: point.value for said, point in points(metric_reader, "flows.job.outcomes")}
    assert counted == {"one": 500, "total": 1}


def test_a_broken_instrument_costs_the_run_nothing(
    metric_reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opentelemetry.sdk.metrics import Histogram

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no meter")

    monkeypatch.setattr(Histogram, "record", refuse)
    assert flows.execute(ship(charge().out)).value == 1
