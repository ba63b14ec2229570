"""The suite on a fleet: a server, and a worker in this process that serves the suite's queues."""

import itertools
import re
from collections.abc import Iterator
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


class TestRedis(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"embedded"}
    concurrency = 50

    @pytest.fixture
    def executor(self, namespace: str) -> Iterator[RedisExecutor]:
        executor = RedisExecutor(namespace)
        with flows.Worker(executor, queues=QUEUES, concurrency=self.concurrency, grace=1):
            yield executor
        executor.close()

    @pytest.mark.slow
    def test_a_long_chain(self, executor: Where) -> None:
        super().test_a_long_chain(executor)  # 10,000 steps, each of them two round trips


@pytest.mark.slow
class TestRedisOneAtATime(TestRedis):
    concurrency = 1
