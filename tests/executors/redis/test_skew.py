"""Workers and submitters of different versions: of the library, and of the tasks."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from tests.executors.redis.groups import until
from tests.executors.redis.servers import Server

QUEUE = "skew"
SOON = 20.0


@flows.task(name="skew-double", queue=QUEUE)
def double(number: int) -> int:
    return 2 * number


@flows.task(name="skew-total", queue=QUEUE)
def total(numbers: list[int]) -> int:
    return sum(numbers)


@pytest.fixture
def executor(valkey: Server) -> Iterator[RedisExecutor]:
    one = RedisExecutor(valkey.url)
    yield one
    one.close()


def rewrite(valkey: Server, run: flows.Run[Any], old: bytes, new: bytes) -> None:
    key = f"{{flows:0}}:r:{run.id}"
    header = valkey.ask("HGET", key, "header")
    assert old in header
    valkey.ask("HSET", key, "header", header.replace(old, new, 1))


def test_a_worker_leaves_what_it_cannot_read_to_others(
    valkey: Server, executor: RedisExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    newer = [
        flows.submit(flow, executor=executor)
        for flow in (double(1), total(flows.each(double, [1, 2]).out), total([double(number).out for number in (1, 2)]))
    ]
    for run in newer:
        rewrite(valkey, run, b'"v":1', b'"v":2')
    with caplog.at_level(logging.WARNING, "flows"), flows.Worker(executor, queues=[QUEUE], grace=1) as worker:
        assert flows.execute(double(4), executor=executor).value == 8
        until(lambda: valkey.ask("ZCARD", f"{{flows:0}}:q:{QUEUE}:due") == 3, "they wait for another worker")
        assert worker.running
        told = [text for text in caplog.messages if "workers of another version" in text]
        assert len(told) == 1
        assert "is stored in form 2, and this version of flows reads form 1; run the same version" in told[0]
        with pytest.raises(flows.UnsupportedError, match="is stored in form 2"):
            flows.get(newer[0].id, executor=RedisExecutor(valkey.url))
        other = RedisExecutor(valkey.url)
        assert {run.id for run in other.runs().runs} > {run.id for run in newer}
        assert other.dead_letters().letters == []
        other.close()
        for run in newer:
            rewrite(valkey, run, b'"v":2', b'"v":1')
        valkey.ask("HSET", "{flows:0}:meta", "shift", 61_000_000)
        flows.execute(double(4), executor=executor)  # it looks, and sees what time it is
        assert [run.wait(SOON).value for run in newer] == [2, 6, 6]
        assert {len(job.attempts) for run in newer for job in run.jobs.values()} <= {0, 1}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"number": 1, "loud": True}, "data has 'loud', which is no parameter of task skew-double(number: int) -> int"),
        ({}, "data lacks 'number', which task skew-double(number: int) -> int needs"),
        ({"number": "many"}, "number: Input should be a valid integer"),
    ],
)
def test_a_task_that_takes_something_else_by_now_fails_its_job_at_once(
    executor: RedisExecutor, monkeypatch: pytest.MonkeyPatch, data: dict[str, object], told: str
) -> None:
    job = flows.Job("skew-double", queue=QUEUE, data=data, opts=flows.Opts(attempts=5))
    with monkeypatch.context() as elsewhere:  # where the task was known as it had been
        elsewhere.setattr("flows._registry._tasks", {})
        run = flows.submit(job, executor=executor)
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        run.wait(SOON)
    (view,) = run.jobs.values()
    assert (view.state, len(view.attempts)) == ("failed", 1)
    assert told in str(view.error)
