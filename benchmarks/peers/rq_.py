"""RQ: `depends_on` for all edges; a job asks the server for the results of the jobs that it depends on."""

from typing import Any

from redis import Redis
from rq import Queue, SimpleWorker, get_current_job
from rq.job import Job

from benchmarks.peers import Queued
from benchmarks.workloads import Graph

WAIT_SECONDS = 600
QUEUE = "contest"


def _taken() -> list[int]:
    job = get_current_job()
    return [one.return_value() for one in job.fetch_dependencies()] if job else []


def source() -> int:
    return 1


def step() -> int:
    return _taken()[0] + 1


def join() -> int:
    return (sum(_taken()) + 1) & 0xFFFFF


def gather() -> int:
    return sum(_taken())


def work(url: str) -> None:
    connection = Redis.from_url(url)
    SimpleWorker([Queue(QUEUE, connection=connection)], connection=connection).work(logging_level="ERROR")


class Dependent(Queued):
    """Timed are `enqueue_many` for jobs without parents, `enqueue` for each of the others, and the wait."""

    def __init__(self, url: str) -> None:
        self._queue = Queue(QUEUE, connection=Redis.from_url(url, socket_timeout=None))

    def declare(self, graph: Graph) -> Graph:
        return graph

    def submit(self, declared: Graph) -> list[Job]:
        if declared.shape == "chain":
            return [self._chained(declared.size)]
        heads = [node for node in declared.nodes if not node.parents]
        jobs = self._queue.enqueue_many([self._queue.prepare_data(source) for _ in heads])
        for node in declared.nodes[len(jobs) :]:
            parents = [jobs[parent] for parent in node.parents]
            jobs.append(self._queue.enqueue(gather if node.listed else join, depends_on=parents))
        return [jobs[root] for root in declared.roots]

    def wait(self, submitted: list[Job]) -> int:
        return self._values(submitted)[0]

    def prepare(self, graph: Graph) -> Any:
        return lambda: tuple(self._values(self.submit(graph)))

    def _chained(self, length: int) -> Job:
        last = self._queue.enqueue(source)
        for _ in range(length - 1):
            last = self._queue.enqueue(step, depends_on=last)
        return last

    def _values(self, jobs: list[Job]) -> list[int]:
        found = [job.latest_result(timeout=WAIT_SECONDS) for job in jobs]
        return [int(result.return_value) for result in found if result is not None]
