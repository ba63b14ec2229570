"""How tests with threads meet: at latches, with patience but no sleep."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import flows
from executors.memory import MemoryExecutor

PATIENCE = 20.0
"""Seconds after which a test gives up; nothing here takes a tenth of it."""


class Latch:
    """An event that async handlers, too, can wait for, and whose waiters do not wait for ever."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def open(self) -> None:
        self._event.set()

    def wait(self) -> None:
        assert self._event.wait(PATIENCE), "nobody opened the latch"

    async def passed(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.wait)


def private() -> Any:
    """An executor with a store of its own."""
    return MemoryExecutor("memory://?private=1")


@flows.task(name="latch-gather")
def gather(*values: Any) -> list[Any]:
    return list(values)


@flows.task(name="latch-agather")
async def agather(*values: Any) -> list[Any]:
    return list(values)


def in_threads(calls: list[Callable[[], object]]) -> None:
    """Call all at once, each in a thread of its own; raise what they raised."""
    raised: list[BaseException] = []

    def guarded(call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=guarded, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    if raised:
        raise raised[0]
