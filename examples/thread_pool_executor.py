"""An executor of your own: handlers run in a `concurrent.futures` pool that the program has anyway.

A distribution makes it known by an entry point, and from then on it is a URL like any other:

    [project.entry-points."flows.executors"]
    threads = "examples.thread_pool_executor:ThreadPool"
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import flows
from executors.pool import Clock, Grant, PoolExecutor, Settle, call_for, perform_async


class ThreadPool(PoolExecutor):
    """``threads://8``: sync handlers in a pool of 8 threads, async ones on the event loop."""

    lacks = frozenset({"process", "timeouts"})  # a thread of the pool cannot be had back before its handler ends

    def __init__(self, url: str) -> None:
        size = int(urlsplit(url).netloc)
        super().__init__(slots=size)
        self._pool = ThreadPoolExecutor(size)

    async def attempt(self, grant: Grant, clock: Clock) -> Settle:
        if self.awaits(grant):
            return await perform_async(grant, clock)
        made = asyncio.get_running_loop().run_in_executor(self._pool, call_for(grant, clock))
        while not made.done():
            try:
                await asyncio.shield(made)
            except asyncio.CancelledError:
                continue  # the run was cancelled: the handler sees that if it asks, and ends when it does
        return made.result()

    def close(self) -> None:
        self._pool.shutdown()


@flows.task(queue="squares")
def square(number: int) -> int:
    return number * number


@flows.task(queue="squares")
async def total(*squares: int) -> int:
    return sum(squares)


if __name__ == "__main__":
    executor = ThreadPool("threads://4")
    run = flows.execute(total(*[square(number).out for number in range(10)]), executor=executor)
    assert run.value == 285
    executor.close()
