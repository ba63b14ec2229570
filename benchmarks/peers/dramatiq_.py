"""Dramatiq: a group with a completion callback, a pipeline. A callback is told no results: the parent returns 1."""

import time
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware import GroupCallbacks
from dramatiq.rate_limits.backends import RedisBackend as Barriers
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers import Queued
from benchmarks.workloads import Graph

THREADS = 8
WAIT_MS = 600_000


class Broker:
    """Made once a process, before the actors; the place of the server comes later."""

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker(url=url)
        self.broker.add_middleware(Results(backend=RedisBackend(url=url), store_results=True))
        self.broker.add_middleware(GroupCallbacks(Barriers(url=url)))
        dramatiq.set_broker(self.broker)
        self.source = dramatiq.actor(lambda: 1, actor_name="source")
        self.step = dramatiq.actor(lambda value: value + 1, actor_name="step")
        self.gather = dramatiq.actor(lambda: 1, actor_name="gather")


def work(url: str) -> None:
    broker = Broker(url).broker
    dramatiq.Worker(broker, worker_threads=THREADS).start()
    while True:
        time.sleep(3600)


class Composed(Queued):
    """Messages made beforehand; timed are `run` and `get_result`."""

    def __init__(self, url: str) -> None:
        self._broker = Broker(url)

    def declare(self, graph: Graph) -> Any:
        broker = self._broker
        if graph.shape == "chain":
            steps = [broker.step.message() for _ in range(graph.size - 1)]
            chained = dramatiq.pipeline([broker.source.message(), *steps])
            return chained, chained
        last = broker.gather.message()
        group = dramatiq.group([broker.source.message() for _ in range(graph.size)])
        group.add_completion_callback(last)
        return group, last

    def submit(self, declared: Any) -> Any:
        group, last = declared
        group.run()
        return last

    def wait(self, submitted: Any) -> int:
        value: int = submitted.get_result(block=True, timeout=WAIT_MS)
        return value
