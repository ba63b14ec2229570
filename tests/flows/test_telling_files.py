"""Loggers and meters hear of runs in a file what they hear of runs in memory."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import flows
from executors.sqlite import SqliteExecutor
from flows import Backoff
from tests.flows.test_job_log import Kept, kept
from tests.flows.test_meters import points
from tests.recorded import metric_reader

__all__ = ["kept", "metric_reader"]

pytestmark = pytest.mark.slow

NAMES = ("event", "job", "attempt", "error")


@flows.task(queue="told-payments", attempts=3, backoff=Backoff.fixed("20ms"))
def told_charge(n: int) -> int:
    if flows.current().attempt == 1:
        raise TimeoutError("the bank is asleep")
    return n


@flows.task(queue="told")
def told_label(n: int) -> int:
    return n


@flows.task(queue="told")
def told_broken(items: list[int]) -> None:
    raise RuntimeError("no luck")


@flows.flow
def told_flow() -> flows.Job[None]:
    items = flows.each(told_label, [1, 2])
    return told_broken(items.out).after(told_charge(5))


def executed(url: str) -> flows.Run[Any]:
    run = flows.execute(told_flow, executor=url, check=False)
    assert run.state == "failed"
    return run


def both(tmp_path: Path, look: Callable[[flows.Run[Any]], Any]) -> list[Any]:
    urls = ("memory://?private=1", f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    return [look(executed(url)) for url in urls]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.WARNING])
def test_the_same_lines_are_logged(kept: Kept, level: int, tmp_path: Path) -> None:
    kept.logger.setLevel(level)

    def lines(run: flows.Run[Any]) -> list[tuple[str, ...]]:
        told = [(one.levelname, one.__dict__) for one in kept.of(run)]
        return sorted((level, *[str(said[f"flows_{name}"]) for name in NAMES]) for level, said in told)

    memory, file = both(tmp_path, lines)
    assert file == memory
    assert ("WARNING", "retrying", "told_charge", "1", "TimeoutError") in file


def test_a_retry_is_logged_with_its_pause(kept: Kept, tmp_path: Path) -> None:
    run = executed(f"sqlite:///{tmp_path}/runs.db")
    (line,) = [text for level, text in kept.lines(run) if level == "WARNING"]
    assert line.startswith("told_charge attempt 1/3 failed after")
    assert line.endswith("TimeoutError: the bank is asleep; again in 0.02 s")


def test_the_same_is_measured(metric_reader: InMemoryMetricReader, tmp_path: Path) -> None:
    def counts(run: flows.Run[Any]) -> Any:
        found = []
        for name in ("messaging.process.duration", "flows.job.wait", "flows.job.attempts", "flows.job.outcomes"):
            for attributes, point in points(metric_reader, name):
                if attributes["messaging.destination.name"].startswith("told"):
                    found.append((name, sorted(attributes.items()), getattr(point, "count", None) or point.value))
        return sorted(found, key=str)

    first, second = both(tmp_path, counts)
    twice = [(name, attributes, 2 * count) for name, attributes, count in first]
    assert second == twice


def test_the_queues_of_a_file_are_measured(metric_reader: InMemoryMetricReader, tmp_path: Path) -> None:
    executor = SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")
    flows.submit(told_broken(flows.each(told_label, [told_label(3).out, 1]).out), executor=executor)
    flows.execute(told_label(4), executor=executor)
    depths = {
        (attributes["messaging.destination.name"], attributes["flows.job.state"]): point.value
        for attributes, point in points(metric_reader, "flows.queue.depth")
    }
    assert depths["told", "waiting"] == 1
    assert depths["told", "waiting_children"] == 1, "what waits for the list"
    assert depths["flows:control", "waiting_children"] == 1, "the list"
    executor.close()
