"""Limits of queues over a whole fleet: places, rates, pauses."""

import pytest

from executors.redis._shard import Shard
from executors.redis._wire import RATED, Answer
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, shape_of, shard_on
from tests.flows.naive_run import Dag


def run_of(shard: Shard, size: int, limits: str, *queues: str) -> str:
    new = new_run(shape_of(Dag(("fail",) * size, ()), queues or ("q0",)))._replace(limits=limits)
    return shard.put_run(new).run_id


@pytest.fixture
def shard(valkey: Server) -> Shard:
    return shard_on(valkey)


def set_clock(shard: Shard, seconds: float) -> None:
    shard.server.call("HSET", shard.keys.meta, "shift", int(seconds * 1e6))


def jobs(answer: Answer) -> list[int]:
    return [grant.job for grant in answer.grants]


def test_places_are_taken_over_the_whole_fleet_and_come_back(shard: Shard) -> None:
    run_of(shard, 6, "q0\t2\t0\t0")
    one, two = Loop(shard, ("q0",), "a"), Loop(shard, ("q0",), "b")
    first = one()
    assert jobs(first) == [0, 1]
    assert not first.more
    assert jobs(two()) == []
    shard.server.call("UNLINK", shard.keys.queue("q0", "wake"))
    second = one(ended(first.grants[0]), limit=1)
    assert jobs(second) == [2]
    assert jobs(one(ended(first.grants[1], End.RELEASED), limit=0)) == []
    assert shard.server.call("EXISTS", shard.keys.queue("q0", "wake")), "others hear of a place that came back"
    assert jobs(two()) == [3]
    set_clock(shard, 31)
    shard.rescue()
    assert len(two().grants) == 2, "those of lost leases came back"


def test_places_are_not_claimed_to_wait(shard: Shard) -> None:
    run_of(shard, 6, "q0\t5\t0\t0")
    loop = Loop(shard, ("q0",))
    loop.seq += 1
    answer = shard.exchange(
        loop.name, loop.seq, (), ("q0",), limit=6, at_once=1, suspects=True, worker="w", lease=30_000_000
    )
    assert jobs(answer) == [0]


def test_limits_are_those_stated_last_and_may_be_lifted(shard: Shard) -> None:
    run_of(shard, 6, "q0\t1\t0\t0")
    loop = Loop(shard, ("q0",))
    assert len(loop().grants) == 1
    run_of(shard, 1, "q0\t3\t0\t0")
    assert len(loop().grants) == 2
    run_of(shard, 1, "q0\t0\t0\t0")
    assert len(loop().grants) == 5
    assert not shard.server.call("EXISTS", shard.keys.of("limits"))


def test_a_paused_queue_hands_out_nothing(shard: Shard) -> None:
    run_of(shard, 2, "q0\t1\t0\t0", "q0", "q1")
    shard.pause("q0", paused=True)
    shard.pause("q0", paused=True)
    loop = Loop(shard, ("q0", "q1"))
    answer = loop()
    assert jobs(answer) == [1]
    assert not answer.more
    run_of(shard, 1, "q0\t2\t0\t0")
    assert jobs(loop()) == [], "a pause is not lifted by limits"
    shard.server.call("UNLINK", shard.keys.queue("q0", "wake"))
    shard.pause("q0", paused=False)
    assert shard.server.call("EXISTS", shard.keys.queue("q0", "wake"))
    assert len(loop().grants) == 2


def test_a_rate_counts_starts_within_any_period(shard: Shard) -> None:
    run_of(shard, 8, "q0\t0\t2\t10000000")
    loop = Loop(shard, ("q0",))
    first = loop()
    assert jobs(first) == [0, 1]
    assert all(grant.flags & RATED for grant in first.grants)
    assert not first.more
    assert 9e6 < first.due - first.now <= 10e6
    set_clock(shard, 4)
    for grant in first.grants:
        shard.began(grant.run_id, grant.job, grant.fence)
    set_clock(shard, 10.5)
    waiting = loop(*map(ended, first.grants))
    assert jobs(waiting) == []
    assert 3e6 < waiting.due - waiting.now < 3.6e6
    set_clock(shard, 14.5)
    second = loop()
    assert jobs(second) == [2, 3]
    back = loop(ended(second.grants[0], End.RELEASED))
    assert len(back.grants) == 1, "what did not start gives its place back"


def test_starts_that_nobody_told_count_by_the_settle(shard: Shard) -> None:
    run_of(shard, 4, "q0\t0\t1\t10000000")
    loop = Loop(shard, ("q0",))
    set_clock(shard, 100)
    first = loop()
    set_clock(shard, 105)
    answer = loop(ended(first.grants[0])._replace(started=2e6, ended=1e6))
    assert jobs(answer) == []
    assert 7.5e6 < answer.due - answer.now < 8.5e6
    set_clock(shard, 113.5)
    assert len(loop().grants) == 1


def test_a_suspect_takes_a_place_too(shard: Shard) -> None:
    run_of(shard, 2, "q0\t1\t0\t0")
    loop = Loop(shard, ("q0",))
    loop()
    set_clock(shard, 31)
    shard.rescue()
    assert len(loop().grants) == 1
