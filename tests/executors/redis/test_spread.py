"""A namespace over three shards of a cluster: the suite, and what only several shards can do wrong."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from redis.crc import key_slot

import flows
from executors.redis import RedisExecutor
from executors.redis._part import placed
from executors.redis._scripts import OFTEN, script
from flows.errors import UnavailableError, UnsupportedError
from flows.testing import ExecutorConformance
from tests.executors.redis.groups import Cluster, cluster, until
from tests.executors.redis.spreads import QUEUE, SHARDS, double, doubled, names
from tests.executors.redis.test_conformance import supervised

SOON = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@flows.task(name="spread-broken", queue=QUEUE)
def broken() -> None:
    raise ValueError("never")


@pytest.fixture(scope="module")
def group() -> Iterator[Cluster]:
    with cluster() as one:
        yield one


@pytest.fixture
def url(group: Cluster) -> str:
    """An address of a namespace that nobody has used."""
    return f"{group.url}?namespace=spread-{next(names)}&shards={SHARDS}"


@pytest.fixture
def executor(url: str) -> Iterator[RedisExecutor]:
    one = RedisExecutor(url)
    yield one
    one.close()


class TestSpread(ExecutorConformance):
    capabilities = ExecutorConformance.capabilities - {"embedded", "limits"}
    concurrency = 50
    test_a_long_chain = None  # type: ignore[assignment]  # 10,000 round trips say no more here

    @pytest.fixture
    def executor(self, url: str) -> Iterator[RedisExecutor]:
        executor = RedisExecutor(url)
        with supervised(executor, self.concurrency):
            yield executor
        executor.close()


def test_runs_are_spread_and_found_and_listed_together(executor: RedisExecutor, url: str) -> None:
    keyed = [flows.submit(doubled(number), executor=executor, key=f"key-{number}") for number in range(12)]
    others = [flows.submit(broken(), executor=executor) for _ in range(12)]
    for run, key in [*[(run, run.key) for run in keyed], *[(run, run.id) for run in others]]:
        shard = executor.parts[placed(key or "", SHARDS)].store.shard
        assert shard.server.call("EXISTS", shard.keys.run(run.id))
    assert {placed(run.key or "", SHARDS) for run in keyed} == {0, 1, 2}
    again = RedisExecutor(url)
    assert all(flows.get(run.id, executor=again).key == run.key for run in keyed), "found though placed by another name"
    assert flows.submit(doubled(3), executor=again, key="key-3").id == keyed[3].id
    with pytest.raises(flows.IdempotencyConflictError):
        flows.submit(doubled(4), executor=again, key="key-3")
    with pytest.raises(flows.UnknownRunError):
        flows.get("nobody", executor=again)
    seen: list[str] = []
    page = again.runs(limit=5)
    while page.cursor is not None:
        seen += [one.id for one in page.runs]
        page = again.runs(limit=5, cursor=page.cursor)
    seen += [one.id for one in page.runs]
    assert sorted(seen) == sorted(run.id for run in (*keyed, *others))
    (queue,) = again.queues()
    assert (queue.name, queue.waiting) == (QUEUE, sum(max(1, number) for number in range(12)) + 12)
    again.pause_queue(QUEUE)
    assert again.queues()[0].paused
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        with pytest.raises(flows.WaitTimeoutError):
            keyed[0].wait(0.5)
        until(lambda: again.queues()[0].workers == 1, "the worker is known", SOON)
        again.resume_queue(QUEUE)
        for run in others:
            assert run.wait(SOON).state == "failed"
        assert [run.wait(SOON).value for run in keyed] == [number * (number - 1) for number in range(12)]
    dead: list[str] = []
    letters = again.dead_letters(limit=5)
    while letters.cursor is not None:
        dead += [one.run for one in letters.letters]
        letters = again.dead_letters(limit=5, cursor=letters.cursor)
    dead += [one.run for one in letters.letters]
    assert sorted(dead) == sorted(run.id for run in others)
    assert again.drop_dead_letters(others[0].id) == 1
    assert again.queues()[0].dead == 11
    assert len(again.prune(keep=5, flow="spread-broken").runs) == 7
    assert len(again.runs(flow="spread-broken").runs) == 5
    assert len({finding.name for finding in again.doctor() if finding.name.startswith("reachable")}) == SHARDS
    again.close()


def test_what_is_submitted_together_goes_to_its_shards_and_each_of_them_has_the_functions(
    executor: RedisExecutor,
) -> None:
    async def submitted() -> list[flows.Run[Any]]:
        flows_ = [double(number) if number % 2 else doubled(number) for number in range(24)]
        return await asyncio.gather(
            *[flows.asubmit(flow, executor=executor, key=f"many-{number}") for number, flow in enumerate(flows_)]
        )

    runs = asyncio.run(submitted())
    assert {placed(run.key or "", SHARDS) for run in runs} == {0, 1, 2}
    for run in runs:
        shard = executor.parts[placed(run.key or "", SHARDS)].store.shard
        assert shard.server.call("EXISTS", shard.keys.run(run.id))
    with flows.Worker(executor, queues=[QUEUE], grace=1):
        values = [run.wait(SOON).value for run in runs]
    assert values == [2 * number if number % 2 else number * (number - 1) for number in range(24)]
    for part in executor.parts:
        for name in OFTEN:
            made = script(name).library
            assert made is not None
            assert part.link.call("FUNCTION", "LIST", "LIBRARYNAME", made.name), f"{name} in shard {part.number}"


def test_what_shards_cannot_do_together_is_refused(executor: RedisExecutor, url: str) -> None:
    queue = flows.Queue("spread-limited", concurrency=2)
    limited = flows.task(lambda: None, name="spread-limited", queue=queue)
    with pytest.raises(UnsupportedError, match="queue 'spread-limited' has a limit, which 3 shards cannot keep"):
        flows.submit(limited(), executor=executor)
    with pytest.raises(UnsupportedError, match="queue 'spread-limited' has a limit"):
        flows.Worker(executor, queues=[queue]).start()
    flows.submit(double(1), executor=executor).cancel("enough")
    other = RedisExecutor(url.replace("&shards=3", "&shards=2"))
    with pytest.raises(UnsupportedError, match="has '3' shards, not 2"):
        flows.submit(double(1), executor=other)
    other.close()


@pytest.mark.timeout(300)
def test_a_node_that_dies_holds_up_its_own_runs_only_until_its_replica_takes_over() -> None:
    with cluster() as group:
        executor = RedisExecutor(f"{group.url}?namespace=dies&shards={SHARDS}&lease=10s")
        with flows.Worker(executor, queues=[QUEUE], concurrency=4, grace=1):
            assert flows.execute(doubled(4), executor=executor).value == 12
            dies = group.holder_of(key_slot(b"{dies:0}"))
            runs = [flows.submit(doubled(30), executor=executor) for _ in range(12)]
            with dies.client() as probe:  # what its replica does not have dies with it
                probe.set("{dies:0}:probe", 1, ex=60)
                assert probe.wait(1, 20_000) == 1
            dies.kill()
            until(lambda: all(map(has_ended, runs)), "all of them end", 3 * SOON)
            assert [run.value for run in runs] == [30 * 29] * 12
        executor.close()


def has_ended(run: flows.Run[Any]) -> bool:
    """Whoever asks hears within 2 s that the server is away."""
    try:
        return run.wait(0.5).state == "completed"
    except (flows.WaitTimeoutError, UnavailableError):
        return False
