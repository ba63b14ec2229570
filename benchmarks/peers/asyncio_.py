"""The loop one would write by hand: graphlib for the order, one asyncio Task a job.

Of the forms tried, this is the fastest on balance: a job that ends releases its dependents itself, so that no
result has to travel to a coordinating coroutine first. A queue or a future that wakes such a coroutine is as
fast on wide graphs and slower on chains; `add_done_callback` costs one more turn of the loop a job.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from graphlib import TopologicalSorter

from benchmarks.workloads import ALL_KINDS, SLOTS, Graph


class AsyncioLoop:
    """A standing loop and thread pool; each run sorts the graph and makes a Task for each job."""

    name = "asyncio"
    timed = (
        "loop.run_until_complete(run(...)) on a standing loop: graphlib sort, one Task a job, functions "
        "called in the Task, those marked as blocking in a standing pool of 50 threads; dict of dependencies "
        "built beforehand"
    )
    kinds = ALL_KINDS

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pool = ThreadPoolExecutor(SLOTS)

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        dependencies = {index: node.parents for index, node in enumerate(graph.nodes)}
        roots = graph.roots
        return lambda: self._loop.run_until_complete(_run(graph, dependencies, roots, self._pool))

    def close(self) -> None:
        self._pool.shutdown()
        self._loop.close()


async def _run(
    graph: Graph, dependencies: dict[int, tuple[int, ...]], roots: tuple[int, ...], pool: ThreadPoolExecutor
) -> tuple[int, ...]:
    sorter = TopologicalSorter(dependencies)
    sorter.prepare()
    loop = asyncio.get_running_loop()
    end: asyncio.Future[None] = loop.create_future()
    nodes = graph.nodes
    results: dict[int, int] = {}
    tasks: dict[int, asyncio.Task[None]] = {}

    async def job(index: int) -> None:
        try:
            fn, parents, listed, blocks = nodes[index]
            taken = [results[parent] for parent in parents]
            if blocks:
                results[index] = await loop.run_in_executor(pool, fn, *taken)
            else:
                results[index] = fn(taken) if listed else fn(*taken)
            del tasks[index]
            sorter.done(index)
            if sorter.is_active():
                start_ready()
            else:
                end.set_result(None)
        except Exception as error:
            if not end.done():
                end.set_exception(error)

    def start_ready() -> None:
        for index in sorter.get_ready():
            tasks[index] = loop.create_task(job(index))

    start_ready()
    await end
    return tuple([results[root] for root in roots])
