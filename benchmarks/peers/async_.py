"""Peers whose client is coroutines: the same as `Queued`, on one event loop for the life of the process."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from benchmarks.peers import Queued
from benchmarks.workloads import Graph

AT_ONCE = 50
"""Calls of a client that are under way at once, where many are made."""


async def in_turn(call: Callable[[Any], Awaitable[Any]], given: Sequence[Any]) -> list[Any]:
    """What the calls come to, some of them under way at once."""
    found: list[Any] = []
    for start in range(0, len(given), AT_ONCE):
        found += await asyncio.gather(*map(call, given[start : start + AT_ONCE]))
    return found


class AsyncQueued(Queued):
    """`open`, `asubmit` and `await_` are coroutines; what `open` begins lasts until the process ends."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        opened = self._loop.create_future()
        self._held = self._loop.create_task(self._hold(url, opened))
        self._loop.run_until_complete(asyncio.wait([self._held, opened], return_when=asyncio.FIRST_COMPLETED))
        if not opened.done():
            self._held.result()

    @abstractmethod
    async def open(self, url: str) -> Any:
        """Connect; a context manager that comes back is entered, by the task that lasts."""

    @abstractmethod
    async def asubmit(self, declared: Any) -> Any:
        """Hand it over."""

    @abstractmethod
    async def await_(self, submitted: Any) -> int:
        """The value of its only root."""

    async def all_of(self, declared: list[Any]) -> list[int]:
        """Values of many flows: all submitted, then all waited for."""
        return await in_turn(self.await_, await in_turn(self.asubmit, declared))

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        declared = self.declare(graph)
        return lambda: (self._run(self._one(declared)),)

    def prepare_many(self, graph: Graph, copies: int) -> Callable[[], int]:
        declared = [self.declare(graph) for _ in range(copies)]
        return lambda: sum(self._run(self.all_of(declared)))

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    async def _one(self, declared: Any) -> int:
        return await self.await_(await self.asubmit(declared))

    async def _hold(self, url: str, opened: "asyncio.Future[None]") -> None:
        entered = await self.open(url)
        if not hasattr(entered, "__aenter__"):
            opened.set_result(None)
            return
        async with entered:
            opened.set_result(None)
            await asyncio.Event().wait()
