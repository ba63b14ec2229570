"""Simulations of handlers that take for ever, or leave something behind: they end, and soon."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

import flows
from flows.testing import Fault, Trace, always_ends, simulate


@pytest.mark.slow
def test_a_handler_that_goes_in_circles_is_stopped_and_told_of() -> None:
    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match=r"stops the simulation: no job has begun in 50,\d+ steps"):
        always_ends(simulate(flows.task(spin, name="simulate-spin")()))


def test_days_in_which_leases_are_renewed_pass_at_once() -> None:
    async def sleep() -> str:
        await asyncio.sleep(200 * 86_400)
        return "awake"

    task = flows.task(sleep, name="simulate-sleeper")
    two: Any = flows.flow(lambda: (task(), task.using(id="other")()), name="sleepers")()
    trace: Trace[Any] = simulate(two, workers=50)
    assert (trace.run.value, trace.seconds) == (("awake", "awake"), 200 * 86_400)
    assert trace.steps == ()  # no lease was lost
    trace = simulate(task(), workers=2, faults=[Fault.worker_leaves(at="100d", drain=False)])
    assert 300 * 86_400 < trace.seconds < 300.01 * 86_400
    assert [attempt.outcome for attempt in trace.attempts] == ["crashed", "completed"]


def test_an_async_generator_that_is_left_is_closed_by_the_loop() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(1)
            closed.append("closed")

    async def handler() -> int:
        async for number in numbers():
            return number
        return 0

    assert simulate(flows.task(handler, name="simulate-generator")()).run.value == 1
    assert closed == ["closed"]
