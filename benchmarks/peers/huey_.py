"""Huey: `group(...).then(...)`, a chord, for a parent and its children; `.then()` for jobs in a row."""

from typing import Any

from huey import RedisHuey
from huey.api import ResultGroup, group

from benchmarks.peers import Queued
from benchmarks.workloads import Graph

THREADS = 10


class Tasks:
    """Huey's decorators want its instance, and that wants the place of the server."""

    def __init__(self, url: str) -> None:
        self.huey = RedisHuey("contest", url=url, notify_result=True)
        self.source = self.huey.task(name="source")(lambda: 1)
        self.step = self.huey.task(name="step")(lambda value: value + 1)
        self.gather = self.huey.task(name="gather")(sum)


def work(url: str) -> None:
    Tasks(url).huey.create_consumer(workers=THREADS, worker_type="thread", periodic=False).run()


class Chords(Queued):
    """Tasks made beforehand; timed are `enqueue` and `get`."""

    def __init__(self, url: str) -> None:
        self._tasks = Tasks(url)

    def declare(self, graph: Graph) -> Any:
        tasks = self._tasks
        if graph.shape == "chain":
            chained = tasks.source.s()
            for _ in range(graph.size - 1):
                chained = chained.then(tasks.step)
            return chained
        return group([tasks.source.s() for _ in range(graph.size)]).then(tasks.gather)

    def submit(self, declared: Any) -> Any:
        return self._tasks.huey.enqueue(declared)

    def wait(self, submitted: Any) -> int:
        last = list(submitted)[-1] if isinstance(submitted, ResultGroup) else submitted
        value: int = last.get(blocking=True)
        return value
