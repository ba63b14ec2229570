"""RedisStore: flows packed, claimed, performed and settled over a real server, one exchange loop at a time."""

import itertools
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import flows
from executors._store import StaleCallError
from executors._stored import pack, read, writing
from executors.redis._connection import Link
from executors.redis._layout import name_of
from executors.redis._outcomes import outcome_of
from executors.redis._store import RedisStore
from executors.redis._url import parse
from flows._handlers import perform
from flows._verbs import End, Grant, Reply, Settle, Want
from flows.executor import RunOptions
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import states_of
from tests.executors.shelf import inside

numbers = itertools.count(1)


@pytest.fixture
def store(valkey: Server) -> Iterator[RedisStore]:
    link = Link(parse(valkey.url))
    yield RedisStore(link, "test")
    link.close()


def put(store: RedisStore, flow: flows.Flow[Any], **options: Any) -> str:
    plan = flows.plan(flow)
    run_id = f"run-{next(numbers)}"
    given = {"key": None, "trace_id": run_id} | options
    return store.put_run(pack(plan, RunOptions(run_id, **given))).run_id


class Worker:
    """One exchange loop, and hands that perform all that it is granted before it calls again."""

    def __init__(self, store: RedisStore, name: str = "w") -> None:
        self.store, self.name, self.seq = store, f"{name}{next(numbers)}", 0
        self.perform = inside(writing(perform))

    def call(self, *settles: Settle, limit: int = 64) -> Reply:
        self.seq += 1
        return self.again(*settles, limit=limit)

    def again(self, *settles: Settle, limit: int = 64) -> Reply:
        want = Want(limit, queues=frozenset(("default", "flows:control")))
        return self.store.exchange(self.name, self.seq, settles, want, self.name)

    def settled(self, grant: Grant) -> Settle:
        return self.perform(grant, self.store.clock)

    def run_dry(self, *settles: Settle) -> None:
        reply = self.call(*settles)
        while reply.grants or reply.more:
            reply = self.call(*map(self.settled, reply.grants))


def value_of(store: RedisStore, run_id: str, job: int) -> Any:
    stored = store.shard.server.call("HGET", store.shard.keys.run(run_id, "v:0"), name_of(job))
    return None if stored is None else read(stored)


@flows.task
def double(x: int) -> int:
    return 2 * x


@flows.task
def total(parts: list[int], text: str = "") -> int:
    return sum(parts) + len(text)


@flows.task(attempts=3, backoff=flows.Backoff.fixed(0))
def flaky(tries: list[int]) -> int:
    attempt = flows.current().attempt
    if attempt < 3:
        raise ValueError(f"attempt {attempt}")
    return attempt


def test_a_flow_is_worked_off(store: RedisStore) -> None:
    @flows.flow
    def sums(count: int) -> Any:
        return total([double(x).out for x in range(count)])

    for count in (0, 1, 3, 40):
        run_id = put(store, sums(count))
        Worker(store).run_dry()
        assert value_of(store, run_id, count) == count * (count - 1)


def test_two_workers_share_a_run_and_results_too_large_to_come_along(store: RedisStore) -> None:
    @flows.task
    def long(x: int) -> str:
        return str(x) * 5000

    @flows.task
    def lengths(parts: list[str]) -> int:
        return sum(map(len, parts))

    @flows.flow
    def sums() -> Any:
        return lengths([long(x).out for x in range(4)])

    run_id = put(store, sums())
    one, two = Worker(store), Worker(store)
    first, second = one.call(limit=2), two.call(limit=2)
    one.call(*map(one.settled, first.grants), limit=0)
    (last,) = two.call(*map(two.settled, second.grants)).grants
    settle = two.settled(last)
    assert json.loads(settle.value) == 20_000
    two.run_dry(settle)
    assert value_of(store, run_id, 4) == 20_000


def test_attempts_are_counted_and_end(store: RedisStore) -> None:
    @flows.flow
    def tried() -> Any:
        return flaky([])

    run_id = put(store, tried())
    worker = Worker(store)
    worker.run_dry()
    assert value_of(store, run_id, 0) == 3
    assert store.shard.server.call("HLEN", store.shard.keys.run(run_id, "a")) == 2


def test_a_reply_that_was_lost_is_given_again(store: RedisStore) -> None:
    @flows.flow
    def sums() -> Any:
        return total([double(1).out, double(2).out], text="abc")

    put(store, sums())
    worker = Worker(store)
    granted = worker.call().grants
    settles = [worker.settled(grant) for grant in granted]
    first = worker.call(*settles)
    store._headers.drop(first.grants[0].run.id)
    second = worker.again(*settles)
    assert [(grant.job, grant.fence) for grant in second.grants] == [(grant.job, grant.fence) for grant in first.grants]
    assert json.loads(worker.settled(second.grants[0]).value) == 9
    assert worker.call(*settles, limit=0).refused == []
    worker.seq -= 2
    with pytest.raises(StaleCallError):
        worker.again()


def test_a_lease_that_was_lost_is_refused(store: RedisStore) -> None:
    @flows.flow
    def alone() -> Any:
        return double(21)

    run_id = put(store, alone())
    zombie, other = Worker(store), Worker(store)
    (lost,) = zombie.call().grants
    assert store.extend([lost]) == []
    store.shard.server.call("HSET", store.shard.keys.meta, "shift", 31_000_000)
    assert store.rescue() == 1
    assert store.extend([lost]) == [lost]
    late = zombie.settled(lost)
    assert zombie.call(late, limit=0).refused == [late]
    (again,) = other.call().grants
    assert (again.suspect, again.attempt) == (True, 1)
    other.run_dry(other.settled(again))
    assert value_of(store, run_id, 0) == 42


def test_a_cancelled_run_tells_those_who_extend(store: RedisStore) -> None:
    @flows.flow
    def pair() -> Any:
        return double(1), double(2)

    run_id = put(store, pair())
    worker = Worker(store)
    (grant,) = worker.call(limit=1).grants
    store.cancel(run_id, "enough")
    store.cancel(run_id, "again")
    assert store.extend([grant]) == []
    assert grant.run.state.cancelling
    assert not worker.call(worker.settled(grant)).grants
    assert sorted(states_of(store.shard, run_id, 2)) == [4, 7]
    with pytest.raises(flows.UnknownRunError):
        store.cancel("nobody", "enough")


def test_the_clock_is_the_servers(store: RedisStore, valkey: Server) -> None:
    def tell() -> float:
        return float(valkey.ask("TIME")[0])

    assert abs(store.clock() - tell()) < 5.0
    store.shard.server.call("HSET", store.shard.keys.meta, "shift", 100_000_000)
    assert 90.0 < Worker(store).call().now - tell() < 110.0


@pytest.mark.parametrize("ahead", [-5.0, 0.0, 0.01, 5.0])
def test_how_long_an_attempt_took_does_not_depend_on_whose_clock_is_ahead(ahead: float) -> None:
    grant: Any = SimpleNamespace(run=SimpleNamespace(id="r"), job=0, fence=1)
    outcome = outcome_of(Settle(grant, End.COMPLETED, b"1", 100.0 + ahead, 100.03 + ahead), 100.03)
    assert outcome.started - outcome.ended == pytest.approx(30_000)
    assert outcome.ended >= 0
