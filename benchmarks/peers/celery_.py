"""Celery: a chord for a parent and its children, a chain for jobs in a row, `replace` for a list known at run time."""

from typing import Any

from celery import Celery, chain, chord

from benchmarks.peers import Queued
from benchmarks.workloads import Graph

PROCESSES = 2
app = Celery("contest", set_as_current=True)
app.conf.update(result_expires=3600, worker_hijack_root_logger=False, broker_connection_retry_on_startup=True)


@app.task
def source() -> int:
    return 1


@app.task
def step(value: int) -> int:
    return value + 1


@app.task
def gather(values: list[int]) -> int:
    return sum(values)


@app.task
def numbers(count: int) -> list[int]:
    return list(range(count))


@app.task(bind=True)
def each(self: Any, items: list[int]) -> Any:
    return self.replace(chord([step.s(item) for item in items], gather.s()))


def work(url: str) -> None:
    app.conf.update(broker_url=url, result_backend=url)
    app.worker_main(["worker", "--pool=prefork", f"--concurrency={PROCESSES}", "--loglevel=ERROR"])


class Canvas(Queued):
    """Signatures made beforehand; timed are `apply_async` and `get`."""

    def __init__(self, url: str) -> None:
        app.conf.update(broker_url=url, result_backend=url)

    def declare(self, graph: Graph) -> Any:
        match graph.shape:
            case "chain":
                return chain(source.s(), *(step.s() for _ in range(graph.size - 1)))
            case "growth":
                return chain(numbers.s(graph.size), each.s())
        return chord([source.s() for _ in range(graph.size)], gather.s())

    def submit(self, declared: Any) -> Any:
        return declared.apply_async()

    def wait(self, submitted: Any) -> int:
        value: int = submitted.get()
        return value
