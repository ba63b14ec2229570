"""A worker's store over three shards: lost calls, nodes that are away, and what only several shards can do wrong."""

import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from executors._store import StaleCallError
from executors.redis import _spread
from executors.redis._crowds import is_crowded_out
from executors.redis._shard import Shard
from flows._state import COMPLETED, WAITING
from flows._verbs import Grant, Want
from flows.errors import UnavailableError
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import states_of
from tests.executors.redis.spreads import QUEUE, Spread, double, doubled
from tests.executors.redis.test_store import put

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


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
    while spread.store._indebted():  # the last settles were taken, and their answers were lost
        assert not spread.round([], 1)
    assert spread.granted == {(run, job): 1 for _, run in runs for job in range(7)}
    states = {store.shard.server.call("HGET", store.shard.keys.run(run), "state") for store, run in runs}
    assert states == {b"completed"}
    assert not spread.store._of, "what is settled is forgotten"
    with pytest.raises(StaleCallError):
        spread.store.exchange(spread.loop, spread.seq - 1, [], Want(0), "w")


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

    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 600.0)
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


def test_what_is_owed_to_a_shard_that_is_away_keeps_the_worker_from_no_other(
    spread: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def away(*call: Any) -> Any:
        nonlocal calls
        calls += 1
        raise UnavailableError("away")

    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 600.0)
    first, lost, other = (put(store, doubled(3)) for store in spread.stores)
    held = spread.round([], 2)
    while not any(grant.run.id == lost for grant in held):
        held = spread.round(held, 2)
    with monkeypatch.context() as patch:
        patch.setattr(spread.store.parts[1], "exchange", away)
        for _ in range(20):
            held = spread.round(held, 2)
        assert calls == 1, "who does not answer is left alone for a while"
        assert {run for run, job in spread.granted if job == 3} == {first, other}
        (owes,) = spread.store._indebted()
        assert owes == 1
        spread.seq += 1
        for _ in range(2):  # a worker that ends wants all of it answered
            with pytest.raises(UnavailableError):
                spread.store.exchange(spread.loop, spread.seq, [], Want(0), "w")
        spread.seq += 1
    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 0.0)
    spread.store._away_until[1] = 1e-9
    for _ in range(20):
        held = spread.round(held, 2)
    assert spread.granted == {(run, job): 1 for run in (first, lost, other) for job in range(4)}


def test_who_ends_pays_what_it_owes(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*call: Any) -> Any:
        raise UnavailableError("away")

    run = put(spread.stores[1], doubled(1))
    (grant,) = spread.round([], 1)
    with monkeypatch.context() as patch:
        patch.setattr(spread.store.parts[1], "exchange", away)
        assert spread.round([grant], 1) == []
    spread.store.close_loop(spread.loop)
    assert states_of(spread.stores[1].shard, run, 2) == [COMPLETED, WAITING]


def test_all_nodes_away_is_an_outage(spread: Spread, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*call: Any) -> Any:
        raise UnavailableError("away")

    monkeypatch.setattr(_spread, "AGAIN_SECONDS", 600.0)
    put(spread.stores[1], doubled(1))
    put(spread.stores[2], doubled(1))
    with monkeypatch.context() as patch:
        for part in spread.store.parts:
            patch.setattr(part, "exchange", away)
        for _ in range(2):
            with pytest.raises(UnavailableError):
                spread.store.exchange(spread.loop, 1, [], Want(8, queues=frozenset((QUEUE,))), "w")
    spread.store._away_until[2] = 1e-9  # one of them is asked again, and is back
    assert len(spread.store.exchange(spread.loop, 1, [], Want(8, queues=frozenset((QUEUE,))), "w").grants) == 1


def test_of_a_flow_s_ended_runs_the_newest_of_all_shards_are_kept(spread: Spread) -> None:
    shards = [store.shard for store in spread.stores]
    runs = []
    for number in range(9):
        flow: Any = double(number)
        run = put(spread.stores[number % 2], flow, keep_count=3)
        (grant,) = spread.round([], 1)
        assert grant.run.id == run
        spread.round([grant], 0)
        runs.append(run)
    assert {run for shard in shards for run in newest_of(shard)} == set(runs[3:]), "each by itself keeps three"
    assert not is_crowded_out(shards, shards[0], runs[-3], "spread-double", 3)
    assert is_crowded_out(shards, shards[1], runs[-4], "spread-double", 3), "whoever looks sees that its time is over"
    spread.store.rescue()
    assert {run for shard in shards for run in newest_of(shard)} == set(runs[-3:])
    for shard in shards[:2]:
        shard.server.call("HSET", shard.keys.meta, "shift", 31_000_000)
        while shard.retire():
            pass
    left = [
        run for shard, run in zip(itertools.cycle(shards[:2]), runs) if shard.server.call("EXISTS", shard.keys.run(run))
    ]
    assert left == runs[-3:]


def test_runs_that_are_too_many_go_though_the_first_look_at_them_failed(
    spread: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for number in range(4):
        flow: Any = double(number)
        runs.append(put(spread.stores[number % 2], flow, keep_count=1))
        spread.round(spread.round([], 1), 0)
    server = spread.store.parts[2].shard.server
    call = server.call

    def away(command: str, *rest: Any) -> Any:
        if command == "ZCARD":
            raise UnavailableError("away")
        return call(command, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(server, "call", away)
        with pytest.raises(UnavailableError):
            spread.store.rescue()
    spread.store.rescue()
    assert [run for store in spread.stores for run in newest_of(store.shard)] == runs[-1:]


def newest_of(shard: Shard) -> list[str]:
    return [run.decode() for run in shard.server.call("ZRANGE", shard.keys.of("n:spread-double"), 0, -1)]


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
