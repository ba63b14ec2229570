"""What comes along with an exchange, and what is left where runs end: by the letter."""

import json
from typing import Any

import pytest

from executors.redis._shard import Shard
from flows._state import COMPLETED
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, records_of, shape_of, shard_on
from tests.executors.redis.test_verbs import loose, put, set_clock
from tests.flows.naive_run import Dag, Edge


@pytest.fixture
def shard(valkey: Server) -> Shard:
    return shard_on(valkey)


def test_how_a_run_ends_is_told_and_says_how_long_it_is_kept(shard: Shard) -> None:
    given: dict[str, Any] = {"keep": 5_000_000, "keep_failed": 7_000_000, "queues": ["q"]}
    done, failed, cancelled = (put(shard, loose(1), **given) for _ in range(3))
    loop = Loop(shard, ["q"])
    grants = {grant.run_id: grant for grant in loop().grants}
    loop(ended(grants[done]), ended(grants[failed], End.FAILED, b"{}"), ended(grants[cancelled], End.CANCELLED))
    states = {done: b"completed", failed: b"failed", cancelled: b"cancelled"}
    (entry,) = shard.server.call("XRANGE", shard.keys.of("ended"), "-", "+")
    assert dict(zip(entry[1][::2], entry[1][1::2], strict=True)) == {one.encode(): how for one, how in states.items()}
    for run, how in states.items():
        state, at = shard.server.call("HMGET", shard.keys.run(run), "state", "ended")
        assert state == how
        kept = float(shard.server.call("ZSCORE", shard.keys.of("retire"), run)) - float(at)
        assert kept == (5_000_000 if run == done else 7_000_000)
        assert shard.server.call("ZSCORE", shard.keys.of("n:told"), run) == at
    assert shard.server.call("EXISTS", shard.keys.of("unswept")) == 0
    assert shard.server.call("ZRANGE", shard.keys.of("runs"), 0, -1) == [one.encode() for one in states]


def test_a_forgetful_call_is_short(shard: Shard) -> None:
    for _ in range(6):
        put(shard, loose(1))
    loop = Loop(shard, ["q"])
    loop(*map(ended, loop().grants))
    set_clock(shard, 31_000_000)
    assert shard.retire(30)
    assert shard.server.call("ZCARD", shard.keys.of("runs")) == 4, "about twenty keys are a run"
    assert not shard.retire(1000)
    assert shard.server.call("ZCARD", shard.keys.of("runs")) == 0


def test_who_has_nothing_to_wait_for_is_told_no_time(shard: Shard) -> None:
    new = new_run(shape_of(loose(3), ["q"]))._replace(limits="q\t1\t0\t0")
    shard.put_run(new)
    loop = Loop(shard, ["q"])
    assert loop().due < 0
    assert loop().due < 0, "a place comes back with a settle, and not with time"
    put(shard, loose(2), queues=["q0", "q1"], delay_ms=[9_000, 4_000])
    other = Loop(shard, ["q0", "q1"])
    answer = other()
    assert 3e6 < answer.due - answer.now <= 4e6, "the sooner of two queues"
    assert 8e6 < (answer := other(queues=["q0"])).due - answer.now <= 9e6
    set_clock(shard, 5_000_000)
    answer = other()
    assert [grant.job for grant in answer.grants] == [1]
    assert 3e6 < answer.due - answer.now <= 4e6


def test_data_comes_along_as_far_as_there_is_room(shard: Shard) -> None:
    dag = Dag(("fail",) * 3, (Edge(0, 2), Edge(1, 2)))
    row = len(json.dumps(["job-2", 0, "x" * 20]))
    for short in (0, 1):
        shard.inline = row + 30 - short
        run = put(shard, dag)
        loop = Loop(shard, ["q"])
        first = loop().grants
        (grant,) = loop(ended(first[0], payload=b"1" * 10), ended(first[1], payload=b"2" * 20)).grants
        assert grant.run_id == run
        assert grant.apart == bool(short)
        if not short:
            assert [(one.child, one.state, one.payload) for one in grant.inputs] == [
                (0, COMPLETED, b"1" * 10),
                (1, COMPLETED, b"2" * 20),
            ]
        loop(ended(grant))


@pytest.mark.parametrize(("children", "parents", "apart"), [(60, 20, False), (256, 1, False), (257, 1, True)])
def test_many_take_from_many(shard: Shard, children: int, parents: int, apart: bool) -> None:
    edges = [Edge(child, children + parent) for parent in range(parents) for child in range(children)]
    put(shard, Dag(("fail",) * (children + parents), tuple(edges)))
    shard.inline = 1 << 30
    grants = [grant for _ in range(children // 64 + 1) for grant in Loop(shard, ["q"])().grants]
    outcomes = [ended(grant, payload=b"%d" % grant.job) for grant in grants]
    loop = Loop(shard, ["q"], "other")
    assert loop(*outcomes, limit=0).refused == ()
    while shard.sweep():
        pass
    taken = loop().grants
    assert [grant.job for grant in taken] == list(range(children, children + parents))
    for grant in taken:
        assert grant.apart == apart
        if not apart:
            assert [(one.child, one.payload) for one in grant.inputs] == [
                (child, b"%d" % child) for child in range(children)
            ]


def test_somebody_else_hears_of_a_job_that_became_ready_in_a_queue_of_his(shard: Shard) -> None:
    put(shard, Dag(("fail",) * 3, (Edge(0, 1), Edge(0, 2))), queues=["q0", "q1", "q2"])
    loop = Loop(shard, ["q0"])
    (grant,) = loop().grants
    wake = [shard.keys.queue(queue, "wake") for queue in ("q0", "q1", "q2")]
    shard.server.call("UNLINK", *wake)
    assert loop(ended(grant)).grants == []
    assert [shard.server.call("EXISTS", key) for key in wake] == [0, 1, 1]


def test_each_worker_has_a_number_in_a_run_and_is_told_its_header(shard: Shard) -> None:
    run = put(shard, loose(3), header=b"{1}", keep=10**12)
    one, two = Loop(shard, ["q"], "one"), Loop(shard, ["q"], "two")
    assert [loop(limit=1).headers for loop in (one, two, one)] == [{run: b"{1}"}, {run: b"{1}"}, {}]
    assert [record[18] for record in records_of(shard, run, 3)] == [1, 2, 1]
