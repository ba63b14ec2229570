"""The suite on a fleet: a server, and a worker in this process that serves the suite's queues."""

import itertools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import flows
import flows.testing
from executors.redis import RedisExecutor
from flows.testing import ExecutorConformance
from flows.testing._conformance_kit import Where
from tests.executors.redis.servers import Server

SOURCES = sorted(Path(flows.testing.__file__).parent.glob("_conformance*.py"))
_NAMED = re.compile(r'(?:QUEUE\b[^\n]*= |queue=|Queue\()"(conformance[a-z0-9-]*)"')
names = itertools.count(1)


def queues_of_the_suite() -> list[str]:
    """Whatever its modules call so: a worker has to be told what to serve before the tests make their tasks."""
    found = {name for source in SOURCES for name in _NAMED.findall(source.read_text())}
    return sorted({"default", *found})


QUEUES = queues_of_the_suite()


@pytest.fixture
def namespace(valkey: Server) -> str:
    """An address of a namespace that nobody has used."""
    return f"{valkey.url}?namespace=test-{next(names)}"


@contextmanager
def supervised(executor: RedisExecutor, concurrency: int) -> Iterator[None]:
    """A worker, and another in its place where it has ended because its threads are held by what has timed out."""
    over = threading.Event()
    workers: list[flows.Worker] = []

    def supervise() -> None:
        while not over.is_set():
            workers.append(flows.Worker(executor, queues=QUEUES, concurrency=concurrency, grace=1))
            workers[-1].start()
            ready.set()
            workers[-1].wait()

    ready = threading.Event()
    thread = threading.Thread(target=supervise, name="supervisor")
    thread.start()
    try:
        assert ready.wait(20)
        yield
    finally:
        over.set()
        while thread.is_alive():
            workers[-1].stop()
            thread.join(0.05)


class TestRedis(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"embedded"}
    concurrency = 50

    @pytest.fixture
    def executor(self, namespace: str) -> Iterator[RedisExecutor]:
        executor = RedisExecutor(namespace)
        with supervised(executor, self.concurrency):
            yield executor
        executor.close()

    @pytest.mark.slow
    def test_a_long_chain(self, executor: Where) -> None:
        super().test_a_long_chain(executor)  # 10,000 steps, each of them two round trips


@pytest.mark.slow
class TestRedisOneAtATime(TestRedis):
    concurrency = 1
