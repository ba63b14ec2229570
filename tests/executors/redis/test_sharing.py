"""Results under job-level keys, in a shard."""

from collections.abc import Iterator
from typing import Any, cast

import pytest

import flows
from executors._leasing._sharing import Sharing
from executors._stored import writing
from executors.redis._connection import Link
from executors.redis._layout import name_of
from executors.redis._store import RedisStore
from executors.redis._url import parse
from flows._handlers import perform
from flows._verbs import End, FailedSettle, Grant, ReplayedSettle, Settle
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import forget, states_of
from tests.executors.redis.test_store import Worker, put
from tests.executors.shelf import inside


@flows.task(name="redis-sharing-pay", idempotency_key="k")
def pay(value: Any = 1) -> Any:
    return value


@pytest.fixture
def store(valkey: Server) -> Iterator[RedisStore]:
    link = Link(parse(valkey.url))
    yield RedisStore(link, "test")
    link.close()


def start(store: RedisStore, job: flows.Job[Any], **options: Any) -> str:
    return put(store, cast(Any, job), **options)


def lapse(store: RedisStore, seconds: int) -> None:
    store.shard.server.call("HSET", store.shard.keys.meta, "shift", seconds * 1_000_000)


def performed(store: RedisStore, grant: Grant) -> Settle:
    return inside(writing(perform))(grant, store.clock)


def test_a_crash_between_filing_and_settling_replays_the_result(store: RedisStore) -> None:
    run, worker, sharing = start(store, pay("paid")), Worker(store), Sharing(cast(Any, store))
    (grant,) = worker.call().grants
    assert sharing.before(grant, store.clock) is None
    sharing.after(performed(store, grant))  # and the worker dies
    lapse(store, 31)
    assert store.rescue() == 1
    (again,) = worker.call().grants
    settle = sharing.before(again, store.clock)
    assert isinstance(settle, ReplayedSettle)
    assert settle.value == b'"paid"'
    worker.call(settle)
    assert states_of(store.shard, run, 1) == [4]


def test_a_zombie_files_nothing_and_the_first_filing_counts(store: RedisStore) -> None:
    start(store, pay())
    worker, sharing = Worker(store), Sharing(cast(Any, store))
    (zombie,) = worker.call().grants
    sharing.before(zombie, store.clock)
    lapse(store, 31)
    store.rescue()
    (newest,) = worker.call().grants
    assert sharing.before(newest, store.clock) is None
    assert store.file("k", zombie, b'"zombie"') == b'"zombie"'
    assert store.file("k", newest, b'"newest"') == b'"newest"'
    assert store.file("k", newest, b'"again"') == b'"newest"'


def test_others_wait_for_the_owner_and_look_again_at_once(store: RedisStore) -> None:
    first, second = start(store, pay()), start(store, pay())
    worker, sharing = Worker(store), Sharing(cast(Any, store))
    owner, other = worker.call().grants
    assert sharing.before(owner, store.clock) is None
    wait = sharing.before(other, store.clock)
    assert wait is not None
    assert wait.end is End.RELEASED
    assert isinstance(wait, FailedSettle)
    wait.after = 600.0
    assert worker.call(wait).grants == []
    paid = sharing.after(performed(store, owner))
    (again,) = worker.call(paid).grants
    replay = sharing.before(again, store.clock)
    assert isinstance(replay, ReplayedSettle)
    worker.call(replay)
    origin = store.shard.server.call("HGET", store.shard.keys.run(second, "o"), name_of(0))
    assert origin.decode() == replay.origin
    assert first in replay.origin
    assert states_of(store.shard, first, 1) == states_of(store.shard, second, 1) == [4]


def test_who_is_gone_owns_nothing(store: RedisStore) -> None:
    start(store, pay(), keep=0.0, keep_failed=0.0)
    worker, sharing = Worker(store), Sharing(cast(Any, store))
    (owner,) = worker.call().grants
    sharing.before(owner, store.clock)
    worker.call(Settle(owner, End.CANCELLED, None, store.clock(), store.clock()))
    forget(store.shard)
    assert not store.shard.server.call("EXISTS", store.shard.keys.of("h:k"))
    start(store, pay(2))
    (other,) = worker.call().grants
    assert sharing.before(other, store.clock) is None
