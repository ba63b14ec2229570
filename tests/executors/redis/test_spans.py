"""Spans of attempts link to each other across workers."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors.redis import RedisExecutor
from flows import each
from tests.executors.redis.servers import Server
from tests.recorded import Spans, attributes, id_of, links_of, record, spans

__all__ = ["record", "spans"]

LEFT, RIGHT = "spans-left", "spans-right"
SOON = 20.0

pytestmark = pytest.mark.slow


@flows.task(name="spans-numbers", queue=LEFT)
def numbers(count: int) -> list[int]:
    return list(range(count))


@flows.task(name="spans-double", queue=RIGHT)
async def double(x: int) -> int:
    return 2 * x


@flows.task(name="spans-total", queue=LEFT)
def total(values: list[int], *more: int) -> int:
    return sum(values) + sum(more)


@flows.task(name="spans-unsteady", queue=RIGHT, attempts=2)
def unsteady(x: int) -> int:
    if flows.current().attempt == 1:
        raise ValueError("not yet")
    return x


@flows.flow
def across(count: int = 3) -> Any:
    source = numbers(count)
    doubled = each(double, source.out)
    return total.using(id="sum")(doubled.out, unsteady(source.out[1]).out)


@pytest.fixture
def executor(valkey: Server) -> Iterator[RedisExecutor]:
    one = RedisExecutor(valkey.url)
    yield one
    one.close()


def took(*spans: Any) -> list[tuple[str, int]]:
    return [("dependency", id_of(span)) for span in spans]


def worker(executor: RedisExecutor, queue: str) -> flows.Worker:
    return flows.Worker(executor, queues=[queue], name=f"of-{queue}", grace=1)


def test_what_an_attempt_takes_is_linked_to_whichever_worker_made_it(executor: RedisExecutor, spans: Spans) -> None:
    with worker(executor, LEFT), worker(executor, RIGHT):
        run = flows.execute(across(), executor=executor)
        assert run.value == 7
        before = {job: spans.of(job)[-1] for job in ("spans-double[0]", "spans-unsteady", "sum")}
        (source,), items = spans.of("spans-numbers"), [spans.of(f"spans-double[{number}]")[0] for number in range(3)]
        first, second = spans.of("spans-unsteady")
        assert [links_of(item) for item in items] == [took(source)] * 3
        assert (links_of(first), links_of(second)) == (
            took(source),
            [("previous_attempt", id_of(first)), *took(source)],
        )
        assert sorted(links_of(*spans.of("sum"))) == sorted(took(*items, second))
        assert {attributes(span)["messaging.client.id"] for span in (source, *items)} == {f"of-{LEFT}", f"of-{RIGHT}"}
        assert len({span.context.trace_id for span in spans.all if span.context}) == 1
    with worker(executor, LEFT), worker(executor, RIGHT):  # others, who have seen nothing of it
        assert run.rerun("spans-numbers").wait(SOON).value == 7
    (leaf,) = spans.of("spans-numbers")[1:]
    assert links_of(leaf) == [("previous_attempt", id_of(source))]
    before = {job: spans.of(job)[-1] for job in before}
    source, items = leaf, [spans.of(f"spans-double[{number}]")[-1] for number in range(3)]
    spans.exporter.clear()
    with worker(executor, LEFT), worker(executor, RIGHT):  # others, who have made none of the attempts so far
        assert run.rerun("spans-unsteady").wait(SOON).value == 7
    again = spans.of("spans-unsteady")
    assert links_of(again[0]) == [("previous_attempt", id_of(before["spans-unsteady"])), *took(source)]
    latest = [("previous_attempt", id_of(before["sum"])), *took(*items, again[-1])]
    assert sorted(links_of(*spans.of("sum"))) == sorted(latest)


def test_links_stop_at_what_an_sdk_keeps_and_the_count_goes_on(executor: RedisExecutor, spans: Spans) -> None:
    with worker(executor, LEFT), worker(executor, RIGHT):
        flows.execute(total(each(double, numbers(150).out).out), executor=executor)
    (span,) = spans.of("spans-total")
    assert len(links_of(span)) == 128
    assert attributes(span)["flows.dependency.count"] == 150


def test_what_is_not_traced_or_does_not_count_keeps_no_span(executor: RedisExecutor, valkey: Server) -> None:
    with worker(executor, LEFT), worker(executor, RIGHT):
        run = flows.execute(across(), executor=executor)
    executor.store.shard.run("spans", run.id, struct.pack("<Id8s", 0, 1.0, b"a zombie"))  # its settle would be refused
    assert not valkey.ask("EXISTS", f"{{flows:0}}:r:{run.id}:t")
