"""Runs in a shard are opened again: lists, races, crashes."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import flows
from executors._stored import read, writing
from executors.redis import _reopen
from executors.redis._connection import Link
from executors.redis._inputs import Payloads, ends_of, job_id
from executors.redis._store import RedisStore
from executors.redis._url import parse
from flows._control import control
from flows._handlers import perform
from flows._verbs import Grant, Settle
from flows.errors import RunError
from tests.executors.redis.followed import Followed
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import course_of
from tests.executors.redis.test_stateful import Following
from tests.executors.redis.test_store import Worker, put
from tests.executors.shelf import inside

SAID: dict[str, Any] = {"items": [1, 2], "bad": set(), "names": []}


@flows.task(name="redis-again-items")
def items() -> Any:
    return list(SAID["items"])


@flows.task(name="redis-again-factor")
def factor() -> Any:
    return 10


@flows.task(name="redis-again-times")
def times(item: Any, by: Any) -> Any:
    if item in SAID["bad"]:
        raise ValueError(item)
    return item * by


@flows.task(name="redis-again-total")
def total(results: Any) -> Any:
    return sum(results)


@pytest.fixture
def store(valkey: Server) -> Iterator[RedisStore]:
    SAID.update(items=[1, 2], bad=set(), names=[])
    link = Link(parse(valkey.url))
    yield RedisStore(link, "test")
    link.close()


class Hands(Worker):
    def settled(self, grant: Grant) -> Settle:
        SAID["names"].append(grant.run.plan.ids[grant.job])
        return inside(writing(control if grant.control else perform))(grant, self.store.clock)


def work(store: RedisStore) -> str:
    run = put(store, flows_of_lists())
    Hands(store).run_dry()
    return run


def flows_of_lists() -> Any:
    by = factor()
    return total(flows.each(lambda item: times(item, by), items().out))


def again(store: RedisStore, run: str, job: int | None, *, anew: bool) -> None:
    before = openings(store, run)
    assert store.reopen(SimpleNamespace(id=run), job, anew=anew)
    assert openings(store, run) == before + 1
    assert not course_of(store.shard, run)[6]
    Hands(store).run_dry()


def openings(store: RedisStore, run: str) -> int:
    return int(store.shard.server.call("HGET", store.shard.keys.run(run), "openings") or 1)


def told(store: RedisStore, run: str) -> Any:
    """The value of the run's root, which is its last own job."""
    course = course_of(store.shard, run)
    assert course[6], "it has ended"
    assert course[0] == 0
    (end,) = ends_of(store.shard, run, [course[14] - 1], Payloads())
    return read(end.payload) if end.state == 4 and end.payload else end.state


def test_an_item_that_failed_is_tried_again(store: RedisStore) -> None:
    SAID["bad"] = {2}
    run = work(store)
    assert told(store, run) == 5
    SAID["bad"] = set()
    again(store, run, None, anew=False)
    assert told(store, run) == 30


@pytest.mark.parametrize("items_now", [[5], [1, 2, 3], [7, 8]])
def test_a_list_is_expanded_anew(store: RedisStore, items_now: list[int]) -> None:
    run = work(store)
    assert told(store, run) == 30
    SAID["items"] = items_now
    source = next(job for job in range(4) if _name(store, run, job) == "redis-again-items")
    again(store, run, source, anew=True)
    assert told(store, run) == 10 * sum(items_now)
    SAID["names"].clear()
    again(store, run, source, anew=True)
    assert told(store, run) == 10 * sum(items_now)
    of_items = {name.partition("[")[2] for name in SAID["names"] if "[" in name}
    assert of_items == {f"{place}]" for place in range(len(items_now))}


def test_a_call_makes_jobs_of_as_many_items_as_it_has_room_for(store: RedisStore) -> None:
    store.shard.chunk, SAID["items"] = 4, list(range(40))
    run, hands, most = put(store, flows_of_lists()), Hands(store), 0
    reply = hands.call()
    while reply.grants or reply.more:
        before = course_of(store.shard, run)[0]
        reply = hands.call(*map(hands.settled, reply.grants))
        most = max(most, course_of(store.shard, run)[0] - before)
    assert most <= 4
    assert told(store, run) == 10 * sum(range(40))


def test_what_the_items_share_is_done_again(store: RedisStore) -> None:
    run = work(store)
    shared = next(job for job in range(4) if _name(store, run, job) == "redis-again-factor")
    again(store, run, shared, anew=True)
    assert told(store, run) == 30


def test_of_two_at_once_one_comes_too_late(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    SAID["bad"] = {2}
    run = work(store)
    SAID["bad"] = set()
    staged = _reopen._staged

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(_reopen, "_staged", staged)
        assert store.reopen(SimpleNamespace(id=run), None, anew=False)
        return staged(*arguments)

    monkeypatch.setattr(_reopen, "_staged", late)
    with pytest.raises(RunError, match="somebody else"):
        store.reopen(SimpleNamespace(id=run), None, anew=False)
    Hands(store).run_dry()
    assert told(store, run) == 30
    assert not [key for key in store.shard.server.call("KEYS", "*") if b":s:" in key]


def test_a_crash_on_the_way_changes_nothing(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    SAID["bad"] = {2}
    run = work(store)
    run_script = store.shard.run

    def crash(name: str, *arguments: Any) -> Any:
        if name == "reopen":
            raise KeyboardInterrupt
        return run_script(name, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(store.shard, "run", crash)
        with pytest.raises(KeyboardInterrupt):
            store.reopen(SimpleNamespace(id=run), None, anew=False)
    assert told(store, run) == 5
    SAID["bad"] = set()
    again(store, run, None, anew=False)
    assert told(store, run) == 30


def _name(store: RedisStore, run: str, job: int) -> str:
    return job_id(store.shard, run, job)


def test_an_item_that_takes_a_job_by_two_edges_does_so_again(valkey: Server) -> None:
    followed = Followed(Link(parse(valkey.url)), 500, 8192)
    other = factor.using(id="other")()
    followed.put(flows.plan(flows.each(lambda item: times(item, [flows.optional(other.out), other.out]), [1, 2])))
    machine = Following()
    machine.followed = followed
    machine.finish()
    (run,) = followed.runs.values()
    followed.reopen(run, "other", anew=True)
    followed.compare()
    machine.finish()
    followed.compare()
    followed.close()
    followed.link.close()
