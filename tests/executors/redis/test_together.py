"""What async code submits at the same time shares round trips, and each run is accepted or refused by itself."""

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor, _together
from executors.redis._alike import RUNS_AT_ONCE
from executors.redis._submits import Holder, NewRun
from executors.redis._together import Together
from tests.executors.latch import PATIENCE
from tests.executors.redis.servers import Server

QUEUE = "together"


@flows.task(name="together-double", queue=QUEUE)
def double(number: int) -> int:
    return 2 * number


def test_runs_are_submitted_at_the_same_time(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)
    sent: list[int] = []
    put_many = executor.parts[0].together._put_many

    def noted(runs: Sequence[NewRun]) -> Sequence[Holder | Exception]:
        sent.append(len(runs))
        return put_many(runs)

    executor.parts[0].together = Together(noted)

    async def submitted() -> list[flows.Run[Any]]:
        keyed = [flows.asubmit(double(1), executor=executor, key="same") for _ in range(2)]
        late = flows.asubmit(double.using(delay="1ms")(2), executor=executor, timeout="1h")
        many = [flows.asubmit(double(number), executor=executor) for number in range(40)]
        return await asyncio.gather(*keyed, late, *many)

    with flows.Worker(executor, queues=[QUEUE], grace=1):
        valkey.ask("SCRIPT", "FLUSH")
        valkey.ask("FUNCTION", "FLUSH")
        first, second, *runs = asyncio.run(submitted())
        assert first.id == second.id
        assert first.wait().value == 2
        assert [run.wait().value for run in runs] == [4, *[2 * number for number in range(40)]]
    assert sum(sent) == 43
    assert len(sent) < 43
    executor.close()


def test_each_run_is_refused_by_itself(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)

    async def submitted() -> list[Any]:
        flows_ = [double(1), double(3), double(1)]
        keyed = [flows.asubmit(flow, executor=executor, key="one") for flow in flows_]
        return await asyncio.gather(*keyed, return_exceptions=True)

    first, other, again = asyncio.run(submitted())
    assert isinstance(other, flows.IdempotencyConflictError)
    assert first.id == again.id
    first.cancel()
    executor.close()


def test_who_submits_to_nobody_is_told_so() -> None:
    executor = RedisExecutor("redis://127.0.0.1:6379/0")
    executor._check = lambda: None  # type: ignore[method-assign]

    def away(runs: Sequence[NewRun]) -> Sequence[Holder | Exception]:
        raise flows.UnavailableError("nobody is there")

    executor.parts[0].together = Together(away)

    async def submitted() -> list[Any]:
        both = [flows.asubmit(double(number), executor=executor) for number in (1, 2)]
        return await asyncio.gather(*both, return_exceptions=True)

    assert [str(error) for error in asyncio.run(submitted())] == ["nobody is there"] * 2
    executor.close()


def test_a_loop_that_is_closed_meanwhile_is_nobody() -> None:
    began, goes_on, sent = threading.Event(), threading.Event(), threading.Event()

    def slow(runs: Sequence[NewRun]) -> Sequence[Holder | Exception]:
        if began.is_set():
            sent.set()
        began.set()
        assert goes_on.wait(PATIENCE)
        return [Holder(run, "") for run in runs]  # type: ignore[arg-type]

    together = Together(slow)

    async def given_up() -> None:
        task = asyncio.ensure_future(together.put("first"))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(given_up())
    assert began.wait(PATIENCE)
    goes_on.set()
    assert asyncio.run(together.put("second")).run_id == "second"  # type: ignore[arg-type]
    assert sent.is_set()


def test_a_flood_is_sent_while_it_is_still_coming(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_together, "YIELD_SECONDS", PATIENCE)
    sent: list[int] = []

    def noted(runs: Sequence[NewRun]) -> Sequence[Holder | Exception]:
        sent.append(len(runs))
        return [Holder(run, "") for run in runs]  # type: ignore[arg-type]

    together = Together(noted)
    asked: list[int] = []

    async def put(number: int) -> Holder:
        asked.append(sum(sent))
        return await together.put(f"run{number}")  # type: ignore[arg-type]

    async def submitted() -> list[Holder]:
        return await asyncio.gather(*[put(number) for number in range(4 * RUNS_AT_ONCE)])

    assert [holder.run_id for holder in asyncio.run(submitted())] == [
        f"run{number}" for number in range(4 * RUNS_AT_ONCE)
    ]
    assert sum(sent) == 4 * RUNS_AT_ONCE
    assert asked[-1] >= RUNS_AT_ONCE, "the server had work before all were there"
