"""Who waits for many runs looks at several of them at once, and is not told what was true some time ago."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor, _outlook
from executors.redis._outlook import MOST, Ended, Look, Outlook
from flows._state import COMPLETED
from flows.errors import UnknownRunError
from tests.executors.redis.servers import Server

QUEUE = "outlook"


@flows.task(name="outlook-double", queue=QUEUE)
def double(number: int) -> int | None:
    return 2 * number if number else None


@flows.task(name="outlook-once", queue=QUEUE)
def once() -> int:
    _tries.append(1)
    if len(_tries) == 1:
        raise ValueError("not yet")
    return len(_tries)


_tries: list[int] = []


@pytest.fixture(autouse=True)
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, what was seen is good for long."""
    monkeypatch.setattr(_outlook, "SEEN_SECONDS", 3600.0)


class Looking:
    """A look that notes how many runs it was asked about."""

    def __init__(self, executor: RedisExecutor) -> None:
        self._look: Look = executor.reader.look_ahead
        self.asked: list[int] = []
        executor.parts[0].outlook = Outlook(self)

    def __call__(self, runs: Sequence[tuple[str, int]]) -> Sequence[Ended | None]:
        self.asked.append(len(runs))
        return self._look(runs)


def test_runs_that_are_waited_for_in_turn_are_looked_at_together(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)
    looking = Looking(executor)
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        runs = [flows.submit(double(number), executor=executor) for number in range(40)]
        list(map(flows.Run.wait, runs))
    looking.asked.clear()
    again = [flows.get(run.id, executor=executor) for run in runs]
    assert [run.value for run in runs] == [2 * number or None for number in range(40)]
    assert sum(looking.asked) <= MOST
    assert [run.value for run in again] == [run.value for run in runs], "nobody has looked at these ahead of time"
    assert {run.state for run in runs} == {"completed"}
    executor.close()


def test_what_was_seen_counts_for_who_saw_it_and_until_a_run_is_reopened(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)
    _tries.clear()
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        run: Any = flows.submit(once(), executor=executor)
        record = run._record
        assert run.wait().state == "failed"
        assert record.seen is not None
        seen: list[Any] = []
        thread = threading.Thread(target=lambda: seen.append(record.seen))
        thread.start()
        thread.join()
        assert seen == [None], "that is another's look"
        flows.get(run.id, executor=executor).retry()
        assert record.seen is None
        assert run.wait().value == 2
    executor.close()


def test_what_has_not_ended_or_is_gone_is_said_so(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)
    run: Any = flows.submit(double(1), executor=executor)
    look = executor.reader.look_ahead
    assert look([(run.id, 0), ("nobody", 0)]) == [None, None]
    with pytest.raises(UnknownRunError):
        look([("nobody", 0), (run.id, 0)])
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        assert run.wait().value == 2
    assert look([(run.id, 0)]) == [Ended(COMPLETED, b"2")]
    executor.close()
