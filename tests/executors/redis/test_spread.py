"""A namespace over three shards of a cluster: the suite, and what only several shards can do wrong."""

import asyncio
import dataclasses
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from redis.crc import key_slot

import flows
from executors._store import StaleCallError
from executors._stored import writing
from executors.redis import RedisExecutor, _spread
from executors.redis._connection import Link
from executors.redis._keys import Keys
from executors.redis._part import placed
from executors.redis._scripts import OFTEN, script
from executors.redis._shard import Shard
from executors.redis._spread import SpreadStore
from executors.redis._store import RedisStore
from executors.redis._url import parse
from executors.redis._waiting import Hub
from flows._handlers import perform
from flows._verbs import Grant, Want
from flows.errors import UnavailableError, UnsupportedError
from flows.testing import ExecutorConformance
from flows.testing._conformance_kit import Where
from tests.executors.redis.groups import Cluster, cluster, until
from tests.executors.redis.servers import Server
from tests.executors.redis.test_conformance import supervised
from tests.executors.redis.test_store import put
from tests.executors.shelf import inside

SHARDS = 3
QUEUE = "spread"
SOON = 60.0
names = itertools.count(1)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@flows.task(name="spread-double", queue=QUEUE)
def double(x: int) -> int:
    return 2 * x


@flows.task(name="spread-total", queue=QUEUE)
def total(*numbers: int) -> int:
    return sum(numbers)


@flows.task(name="spread-broken", queue=QUEUE)
def broken() -> None:
    raise ValueError("never")


def doubled(count: int) -> Any:
    return total(*[double(number).out for number in range(count)])


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
    capabilities = ExecutorConformance.capabilities - {"embedded", "limits", "sharing"}
    concurrency = 50
    test_a_long_chain = None  # type: ignore[assignment]  # 10,000 round trips say no more here

    @pytest.fixture
    def executor(self, url: str) -> Iterator[RedisExecutor]:
        executor = RedisExecutor(url)
        with supervised(executor, self.concurrency):
            yield executor
        executor.close()

    def test_of_a_flow_s_ended_runs_the_newest_are_kept(self, executor: Where) -> None:
        with pytest.raises(UnsupportedError, match="keep_count= counts the runs of one shard"):
            flows.submit(double(1), executor=executor, keep_count=2)


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
    with pytest.raises(UnsupportedError, match="idempotency_key= shares its result"):
        flows.submit(double.using(idempotency_key="k")(1), executor=executor)
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


class Spread:
    """Three shards on one server, and a worker of all of them."""

    def __init__(self, there: Server) -> None:
        address = dataclasses.replace(parse(there.url), namespace="spread", shards=SHARDS)
        self.links = [Link(address, number) for number in range(SHARDS)]
        shards = [Shard(link, Keys("spread", number)) for number, link in enumerate(self.links)]
        self.stores = [RedisStore(shard.server, "spread", shard=shard) for shard in shards]  # type: ignore[arg-type]
        stops = [Hub(shard.server, shard.keys.of("stops")) for shard in shards]  # type: ignore[arg-type]
        self.store = SpreadStore(self.links, stops, lease_seconds=30.0)
        self.granted: Counter[tuple[str, int]] = Counter()
        self.perform = inside(writing(perform))
        self.seq = 0

    def round(self, grants: list[Grant], limit: int) -> list[Grant]:
        """Do what is held, and claim, however often that must be said."""
        settles = [self.perform(grant, self.store.clock) for grant in grants]
        self.seq += 1
        want = Want(limit, queues=frozenset((QUEUE, "flows:control")))
        while True:
            try:
                reply = self.store.exchange("loop", self.seq, settles, want, "w")
                break
            except UnavailableError:
                continue
        assert reply is self.store.exchange("loop", self.seq, settles, want, "w")
        assert not reply.refused
        self.granted.update((grant.run.id, grant.job) for grant in reply.grants)
        return list(reply.grants)

    def close(self) -> None:
        self.store.close_loop("loop")
        for link in self.links:
            link.close()


@pytest.fixture
def spread(valkey: Server) -> Iterator[Spread]:
    one = Spread(valkey)
    yield one
    one.close()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_lost_on_the_way_each_job_is_done_once(
    spread: Spread, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(seed)
    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 0.0)
    for part in spread.store.parts:

        def shaky(*call: Any, real: Any = part.exchange) -> Any:
            fate = draw.random()
            if fate < 0.2:
                raise UnavailableError("lost on the way there")
            reply = real(*call)
            if fate < 0.4:
                raise UnavailableError("lost on the way back")
            return reply

        monkeypatch.setattr(part, "exchange", shaky)
    flow: Any = doubled(6)
    runs = [(store, put(store, flow)) for store in spread.stores for _ in range(3)]
    held: list[Grant] = []
    for _ in range(2_000):
        done = [grant for grant in held if draw.random() < 0.5]
        held = [grant for grant in held if grant not in done] + spread.round(done, draw.randrange(6))
        assert sum(grant.suspect for grant in held) <= 1
        if all(store.shard.server.call("HGET", store.shard.keys.run(run), "state") for store, run in runs):
            break
    assert spread.granted == {(run, job): 1 for _, run in runs for job in range(7)}
    states = {store.shard.server.call("HGET", store.shard.keys.run(run), "state") for store, run in runs}
    assert states == {b"completed"}
    assert not spread.store._of, "what is settled is forgotten"
    with pytest.raises(StaleCallError):
        spread.store.exchange("loop", spread.seq - 1, [], Want(0), "w")


@pytest.mark.parametrize("limit", [1, 4])
def test_a_shard_with_much_to_do_does_not_keep_the_worker_from_the_others(spread: Spread, limit: int) -> None:
    large, few, other = (put(store, doubled(size)) for store, size in zip(spread.stores, (200, 3, 3), strict=True))
    held: list[Grant] = []
    for _ in range(25):
        held = spread.round(held, limit)
    assert all(spread.granted[run, 3] for run in (few, other))
    assert sum(count for (run, _), count in spread.granted.items() if run == large) < 100
    for _ in range(250):
        held = spread.round(held, 64)
    assert spread.granted[large, 200] == 1


def test_a_shard_that_is_away_costs_the_others_nothing(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*call: Any) -> Any:
        raise UnavailableError("away")

    flow: Any = doubled(3)
    first, lost, other = (put(store, flow) for store in spread.stores)
    with monkeypatch.context() as patch:
        patch.setattr(spread.store.parts[1], "exchange", away)
        held: list[Grant] = []
        for _ in range(20):
            held = spread.round(held, 2)
    assert spread.granted == {(run, job): 1 for run in (first, other) for job in range(4)}
    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 0.0)
    spread.store._away_until[1] = 1e-9
    for _ in range(20):
        held = spread.round(held, 2)
    assert spread.granted[lost, 3] == 1


def test_what_was_granted_by_an_answer_that_was_lost_long_ago_is_held_only_if_it_still_is(
    spread: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = spread.store.parts[0]
    real = part.exchange

    def unanswered(*call: Any) -> Any:
        real(*call)
        raise UnavailableError("lost on the way back")

    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 0.0)
    run, other = put(spread.stores[0], doubled(2)), put(spread.stores[1], doubled(1))
    with monkeypatch.context() as patch:
        patch.setattr(part, "exchange", unanswered)
        (held,) = spread.round([], 8)
        assert held.run.id == other
        keys = spread.stores[0].shard.keys
        spread.links[0].call("HSET", keys.meta, "shift", 31_000_000)
        assert spread.stores[0].rescue() == 2
    granted = spread.round([held], 8)
    assert sorted(grant.run.id for grant in granted if not grant.suspect) == [other]
    suspects = [grant for grant in granted if grant.suspect]
    assert [grant.run.id for grant in suspects] in ([], [run]), "at most one at a time, and anew"
    for _ in range(20):
        granted = spread.round(granted, 8)
    assert spread.granted == {(run, 0): 1, (run, 1): 1, (run, 2): 1, (other, 0): 1, (other, 1): 1}
