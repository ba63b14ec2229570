"""Scripts one by one: who may not do a thing changes nothing by trying, and is told so."""

import json
import struct
from typing import Any

import pytest
import redis

from executors.redis._layout import name_of
from executors.redis._shard import Shard
from executors.redis._wire import Granted
from flows._state import CANCELLED, FAILED, WAITING
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, shape_of, shard_on, states_of, stored
from tests.flows.naive_run import Dag, Edge

PAIR = Dag(("fail", "fail"), ())
CHAIN = Dag(("fail", "fail"), (Edge(0, 1),))


@pytest.fixture
def shard(valkey: Server) -> Shard:
    return shard_on(valkey)


def put(shard: Shard, dag: Dag = PAIR, **options: Any) -> str:
    return shard.put_run(new_run(shape_of(dag, ["q"]), **options)).run_id


def everything(shard: Shard) -> dict[bytes, Any]:
    """All that is stored, but for the shard's clock and marks."""
    return {key: value for key, value in stored(shard).items() if not key.endswith(b":meta")}


def set_clock(shard: Shard, seconds: float) -> None:
    shard.server.call("HSET", shard.keys.meta, "shift", int(seconds * 1e6))


def strangers(shard: Shard, run_id: str, grant: Granted) -> list[tuple[str, int, int]]:
    """Run, job and fence of those who have no lease of the job."""
    return [("nobody", grant.job, grant.fence), (run_id, grant.job, grant.fence + 1), (run_id, 1, grant.fence)]


@pytest.mark.parametrize("over", [False, True])
def test_whoever_has_no_lease_changes_nothing(shard: Shard, over: bool) -> None:
    run_id = put(shard)
    loop = Loop(shard, ["q"])
    (grant,) = loop(limit=1).grants
    shard.reserve(run_id, 0, "job-0", "k", "d", ("", ""))
    shard.reserve(run_id, 1, "job-1", "other", "d", ("", ""))
    asked = strangers(shard, run_id, grant)
    if over:
        loop(ended(grant), limit=0)
        asked = [(run_id, grant.job, grant.fence)]
    before = everything(shard)
    for run, job, fence in asked:
        assert not shard.stow(run, job, fence, [b"1", b"2"])
        assert shard.run("report", run, job, fence, "progress", "0.5", 9) == 0
        assert shard.run("report", run, job, fence, "log", "line", 9) == 0
        assert shard.file(run, job, fence, f"job-{job}", "other" if job else "k", b"7", 60.0) is None
        assert shard.began(run, job, fence) > 0
        assert shard.extend([(run, job, fence)], 10**9) == ([0], [])
    assert everything(shard) == before


def test_whoever_has_the_lease_is_heard(shard: Shard) -> None:
    run_id = put(shard)
    (grant,) = Loop(shard, ["q"])(limit=1).grants
    held = run_id, grant.job, grant.fence
    told = [shard.run("report", *held, "log", text, 2) for text in ("one", "two", "three")]
    assert told == [1, 1, 0], "as many lines as there may be"
    assert shard.run("report", *held, "progress", "0.5", 2) == 1
    name, key = name_of(grant.job), shard.keys.run
    lines = [shard.server.call("HGET", key(run_id, "g"), name + bytes([line, 0, 0, 0])) for line in range(3)]
    assert lines == [b"one", b"two", None]
    assert shard.server.call("HGET", key(run_id, "p"), name) == b"0.5"
    (_, fields) = shard.server.call("XREVRANGE", shard.keys.of("events"), "+", "-", "COUNT", 1)[0]
    assert fields[2] == run_id.encode()
    assert fields[3] == bytes([16, 0, 0, 0, 0, 1, 0]) + b"0.5"
    set_clock(shard, 29)
    assert shard.extend([held], 30_000_000) == ([], [])
    set_clock(shard, 58)
    assert shard.rescue()[0] == 0
    set_clock(shard, 60)
    assert shard.rescue()[0] == 1


# Keys of jobs


def test_a_key_is_its_owner_s_until_that_has_filed_and_everybody_s_after(shard: Shard) -> None:
    first, second = put(shard), put(shard)
    grants = {(grant.run_id, grant.job): grant for grant in Loop(shard, ["q"])().grants}

    def reserve(run: str, job: int, instead: tuple[str, str] = ("", "")) -> list[Any]:
        return shard.reserve(run, job, f"job-{job}", "k", f"digest {run} {job}", instead)

    def file(run: str, job: int, value: bytes) -> bytes | None:
        return shard.file(run, job, grants[run, job].fence, f"job-{job}", "k", value, 60.0)

    mine = [first.encode(), b"job-0", f"digest {first} 0".encode(), 0, b"", 3]
    assert reserve(first, 0) == mine
    assert reserve(first, 0) == mine, "asked twice"
    for run, job in ((first, 1), (second, 0)):
        assert reserve(run, job) == mine
        assert file(run, job, b"8") is None
    waiting = shard.server.call("SMEMBERS", shard.keys.of("h:k:waiting"))
    assert set(waiting) == {f"{first}:".encode() + name_of(1), f"{second}:".encode() + name_of(0)}
    assert 86_000 < shard.server.call("TTL", shard.keys.of("h:k:waiting")) <= 86_400
    theirs = [second.encode(), b"job-0", f"digest {second} 0".encode(), 0, b"", 3]
    assert reserve(second, 0, (first, "job-1")) == mine, "only from who has it"
    assert reserve(second, 0, (second, "job-0")) == mine
    assert reserve(second, 0, (first, "job-0")) == theirs
    assert set(shard.server.call("SMEMBERS", shard.keys.of("h:k:waiting"))) == {f"{first}:".encode() + name_of(1)}
    assert file(first, 0, b"7") is None
    assert file(second, 0, b"7") == b"7"
    assert file(second, 0, b"9") == b"7", "what was filed first counts"
    assert 50_000 < shard.server.call("PTTL", shard.keys.of("h:k")) <= 60_000
    assert not shard.server.call("EXISTS", shard.keys.of("h:k:waiting"))
    assert not shard.server.call("EXISTS", shard.keys.run(second, "k")), "nothing is left to give back"
    filed = [second.encode(), b"job-0", f"digest {second} 0".encode(), 1, b"7", 3]
    assert reserve(first, 0, (second, "job-0")) == filed
    shard.server.call("HSET", shard.keys.of("h:gone"), "run", "nobody", "name", "job-0", "row", 0, "digest", "d")
    assert shard.reserve(first, 0, "job-0", "gone", "d", ("", "")) == [b"nobody", b"job-0", b"d", 0, b"", -1]


# Queues


def test_a_queue_is_paused_once_and_says_whether_that_changed_anything(shard: Shard) -> None:
    limits = shard.keys.of("limits")

    def stated() -> bytes | None:
        found: bytes | None = shard.server.call("HGET", limits, "q")
        return found

    assert shard.run("pause", "q", 0) == 0
    assert (shard.run("pause", "q", 1), shard.run("pause", "q", 1), stated()) == (1, 0, b"1 0 0 0")
    shard.server.call("UNLINK", shard.keys.queue("q", "wake"))
    assert (shard.run("pause", "q", 0), shard.run("pause", "q", 0), stated()) == (1, 0, None)
    assert shard.server.call("ZCARD", shard.keys.queue("q", "wake")) == 1
    for text in ("q\t3\t0\t0", "q\t0\t5\t7000000", "q\t3\t5\t7000000"):
        shard.run("state", text)
        kept = text.replace("\t", " ")[2:].encode()
        assert (shard.run("pause", "q", 1), stated()) == (1, b"1 " + kept)
        shard.run("state", text)
        assert stated() == b"1 " + kept, "who knows the limits does not end the pause"
        assert (shard.run("pause", "q", 0), stated()) == (1, b"0 " + kept)


def test_a_time_to_look_again_is_told_where_a_rate_keeps_something_back(shard: Shard) -> None:
    loop = Loop(shard, ["q"])
    shard.run("state", "q\t1\t0\t0")
    put(shard, Dag(("fail",) * 3, ()))
    answer = loop()
    assert (len(answer.grants), answer.due) == (1, -1.0), "places come back with a settle"
    answer = loop(ended(answer.grants[0], End.RELEASED))
    assert answer.due == -1.0
    loop(ended(answer.grants[0], End.RELEASED), limit=0)
    shard.run("state", "q\t0\t2\t7000000")
    one = loop(limit=1)
    assert (len(one.grants), one.due) == (1, -1.0), "the rate has room"
    two = loop(limit=2)
    assert (len(two.grants), two.due) == (1, two.now + 7e6), "nothing has begun"
    (first,) = one.grants
    at = shard.began(first.run_id, first.job, first.fence)
    assert loop().due == at + 7e6
    shard.pause("q", paused=True)
    assert loop().due == -1.0
    shard.pause("q", paused=False)
    loop(ended(two.grants[0], End.RELEASED), limit=0)
    assert loop().grants, "who has not begun has taken nothing from the rate"
    set_clock(shard, 8)
    assert len(loop().grants) == 1
    assert loop().due == -1.0, "nothing is left to start"


def test_it_is_told_that_a_queue_has_more(shard: Shard) -> None:
    loop, other = Loop(shard, ["q"]), Loop(shard, ["none", "q"])
    put(shard, Dag(("fail",) * 5, ()))
    put(shard, Dag(("fail",) * 2, ()))
    assert [(len(answer.grants), answer.more) for answer in (loop(limit=0), loop(limit=4), other(limit=1))] == [
        *((0, False), (4, True), (1, True))
    ]
    assert shard.server.call("ZCARD", shard.keys.queue("q", "wake")) == 1, "and others may look"
    assert [(len(answer.grants), answer.more) for answer in (loop(limit=1), loop(limit=1), loop(limit=1))] == [
        *((1, True), (1, True), (0, False))
    ]


def test_runs_take_turns_over_calls_too(shard: Shard) -> None:
    runs = [put(shard, Dag(("fail",) * 64, ())) for _ in range(2)]
    loop = Loop(shard, ["q"])
    turns = [{grant.run_id for grant in loop(limit=32).grants} for _ in range(4)]
    assert turns == [{runs[0]}, {runs[1]}] * 2


def test_what_a_settle_makes_ready_is_claimed_by_that_call_if_it_may_be(shard: Shard) -> None:
    dag = Dag(("fail",) * 6, tuple(Edge(0, job) for job in range(1, 6)))
    shard.put_run(new_run(shape_of(dag, ["q", "other"], lifo=[0, 0, 0, 0, 1, 0])))
    loop = Loop(shard, ["q"])
    (grant,) = loop().grants
    assert [one.job for one in loop(ended(grant)).grants] == [4, 2], "the newest first, and none of another queue"
    assert shard.server.call("ZCARD", shard.keys.queue("other", "wake")) == 1, "whose workers are told"
    assert [one.job for one in loop(queues=["other"]).grants] == [1, 3, 5]
    shard.put_run(new_run(shape_of(dag, ["q"])))
    (grant,) = loop().grants
    assert [one.job for one in loop(ended(grant), limit=2).grants] == [1, 2]
    assert [one.job for one in loop().grants] == [3, 4, 5]


def test_of_many_leases_those_that_are_over_are_told_by_their_numbers(shard: Shard) -> None:
    run_id = put(shard)
    held = [(run_id, grant.job, grant.fence) for grant in Loop(shard, ["q"])().grants]
    gone = run_id, 0, 1
    assert shard.extend([*held, gone], 30_000_000) == ([2], [])
    assert shard.extend([gone, held[1], gone, held[0]], 30_000_000) == ([0, 2], [])
    shard.cancel(run_id, "why")
    assert shard.extend([gone, *held], 30_000_000) == ([0], [1, 2])


# Cancels, sweeps


def test_a_cancel_says_what_it_did(shard: Shard) -> None:
    many = put(shard, Dag(("fail",) * 9, ()))
    assert shard.run("cancel", "nobody", "why", 500) == -1
    assert shard.run("cancel", many, "why", 4) == 2
    assert shard.run("cancel", many, "again", 4) == 2
    assert shard.run("sweep", many, 4) == 1
    assert shard.run("sweep", "", 4) == 1
    assert shard.run("sweep", "", 500) == 0
    assert shard.run("cancel", many, "again", 4) == 0
    assert shard.run("sweep", many, 500) == 0
    assert shard.server.call("HGET", shard.keys.run(many), "reason") == b"why"
    one = put(shard)
    (grant,) = Loop(shard, ["q"])(limit=1).grants
    assert shard.run("cancel", one, "why", 500) == 1
    assert shard.extend([(one, grant.job, grant.fence)], 30_000_000) == ([], [0])
    assert shard.run("cancel", one, "again", 500) == 0


def test_a_run_that_is_to_fail_fast_is_marked_in_chunks(valkey: Server) -> None:
    shard = shard_on(valkey, chunk=1)
    run_id = put(shard, Dag(("fail",) * 4, ()), fast=1)
    loop = Loop(shard, ["q"])
    (grant,) = loop(limit=1).grants
    loop(ended(grant, End.FAILED, b"{}"), limit=0)
    while shard.sweep():
        pass
    assert states_of(shard, run_id, 4) == [FAILED, CANCELLED, CANCELLED, CANCELLED]
    assert not shard.server.call("EXISTS", shard.keys.of("unswept"))


def test_a_run_is_not_opened_again_from_a_stage_that_has_expired(shard: Shard) -> None:
    run_id = put(shard)
    loop = Loop(shard, ["q"])
    loop(*[ended(grant) for grant in loop().grants], limit=0)
    before = everything(shard)
    with pytest.raises(redis.ResponseError, match="GONE the stage of run"):
        shard.run("reopen", run_id, "nowhere", 1, "c:0", "", b"", -1, b"", 0)
    assert shard.run("reopen", run_id, "nowhere", 2, "c:0", "", b"", -1, b"", 0) == 0, "others were faster"
    assert shard.run("reopen", "nobody", "nowhere", 1, "c:0", "", b"", -1, b"", 0) == -1
    assert everything(shard) == before


def test_each_chunk_of_a_job_s_edges_has_its_own_codes(valkey: Server) -> None:
    shard = shard_on(valkey, chunk=1)
    kinds = ("value", "optional", "order", "optional")
    run_id = put(shard, Dag(("fail",) * 5, tuple(Edge(0, job, kind) for job, kind in enumerate(kinds, 1))))
    loop = Loop(shard, ["q"])
    (grant,) = loop().grants
    loop(ended(grant, End.FAILED, b"{}"), limit=0)
    while shard.sweep(run_id):
        pass
    assert states_of(shard, run_id, 5) == [FAILED, FAILED, WAITING, FAILED, WAITING]


def test_runs_are_forgotten_a_few_keys_at_a_time(shard: Shard) -> None:
    runs = {put(shard, key="k" * number) for number in range(3)}
    loop = Loop(shard, ["q"])
    loop(*[ended(grant) for grant in loop().grants], limit=0)
    assert not shard.retire(), "who waits for a run has a while to read it"
    set_clock(shard, 31)
    left = []
    while True:
        more = shard.retire(20)
        left.append(sum(shard.server.call("EXISTS", shard.keys.run(run_id)) for run_id in runs))
        if not more:
            break
    assert left == [2, 1, 0], "one run a call"
    keys = shard.server.call("KEYS", "*")
    assert not [key for key in keys if any(run_id.encode() in key for run_id in runs)]
    for index in ("retire", "runs", "open", "unswept", "deadlines", "n:told"):
        assert not shard.server.call("EXISTS", shard.keys.of(index))


# Events


def test_a_run_tells_what_happened_in_order(shard: Shard) -> None:
    run_id = put(shard, CHAIN)
    loop = Loop(shard, ["q"])
    (grant,) = loop().grants
    (grant,) = loop(ended(grant, End.RETRY, b"{}")).grants
    (grant,) = loop(ended(grant, End.RELEASED)).grants
    (grant,) = loop(ended(grant)).grants
    loop(ended(grant, End.FAILED, b"{}"))
    told: list[tuple[int, int, int]] = []
    for _, fields in shard.server.call("XRANGE", shard.keys.of("events"), "-", "+"):
        assert (fields[0], fields[2]) == (b"at", run_id.encode())
        told += struct.iter_unpack("<BIH", fields[3])
    run = 2**32 - 1
    assert told == [
        *((1, run, 0), (2, 0, 1), (8, 0, 1), (2, 0, 2), (9, 0, 2), (2, 0, 2)),
        *((4, 0, 2), (2, 1, 1), (5, 1, 1), (13, run, 0)),
    ]


# Submitting


def test_the_delays_of_a_large_run_begin_when_it_is_submitted(shard: Shard) -> None:
    size = 700
    shape = shape_of(Dag(("fail",) * size, ()), ["q"], delay_ms=[10_000] * (size - 1) + [0])
    run_id = shard.put_run(new_run(shape)).run_id
    assert shard.server.call("EXISTS", shard.keys.of("unswept"))
    submitted = int(shard.server.call("HGET", shard.keys.run(run_id), "submitted"))
    while shard.sweep():
        pass
    assert not shard.server.call("EXISTS", shard.keys.of("unswept"), shard.keys.run(run_id, "late"))
    loop = Loop(shard, ["q"])
    answer = loop()
    assert [grant.job for grant in answer.grants] == [size - 1]
    assert answer.due == submitted + 10e6
    set_clock(shard, 11)
    jobs: set[int] = set()
    while answer := loop(limit=500):
        jobs |= {grant.job for grant in answer.grants}
        if not answer.grants and not answer.more:
            break
    assert jobs == set(range(size - 1))


def test_of_a_name_no_more_ended_runs_are_kept_than_it_says(shard: Shard) -> None:
    runs = []
    loop = Loop(shard, ["q"])
    for number in range(3):
        set_clock(shard, number)
        runs.append(put(shard, keep=10**12, keep_failed=10**12, keep_count=2))
        loop(*[ended(grant) for grant in loop().grants], limit=0)
    dues = [float(shard.server.call("ZSCORE", shard.keys.of("retire"), run_id)) for run_id in runs]
    assert [due < dues[-1] - 10**11 for due in dues] == [True, False, False]
    named = shard.server.call("ZRANGE", shard.keys.of("n:told"), 0, -1)
    assert named == [run_id.encode() for run_id in runs[1:]]


def test_a_stage_that_has_expired_is_said_and_the_run_is_not_there(shard: Shard) -> None:
    with pytest.raises(redis.ResponseError, match="GONE the stage of run r has expired"):
        shard.run("publish", "r", "", "print", 0, "", "0:0")
    with pytest.raises(redis.ResponseError, match="GONE the stage of run r has expired"):
        shard.run("move", "r", "nowhere", 3600, "run")
    shard.run("retire", 200)
    shard.server.call("HSET", shard.keys.meta, "shift", 2 * 3600 * 1_000_000)
    assert not shard.retire()
    assert everything(shard) == {}


def test_attempts_of_a_run_that_is_gone_are_not_kept(shard: Shard) -> None:
    assert shard.run("keep", "nobody", "field", "value") == 1
    assert everything(shard) == {}
    run_id = put(shard)
    fields = [part for number in range(1000) for part in (f"f{number}", number)]
    assert shard.run("keep", run_id, *fields) == 1
    assert shard.server.call("HLEN", shard.keys.run(run_id, "a")) == 1000


# Endings


def test_a_job_nobody_can_do_goes_round_for_a_day_and_then_fails(shard: Shard) -> None:
    run_id = put(shard, CHAIN)
    loop = Loop(shard, ["q"])
    (grant,) = loop(limit=1).grants
    for hours, state in ((0, 1), (23, 1), (25, 5)):
        set_clock(shard, hours * 3600)
        answer = loop(ended(grant, End.RELEASED, b'{"no":1}'), limit=1)
        if state == 1:
            (grant,) = answer.grants
            assert grant.attempt == 1
    told = shard.server.call("HGET", shard.keys.run(run_id), "state")
    assert told == b"failed"
    value = shard.server.call("HGET", shard.keys.run(run_id, "v:0"), name_of(0))
    assert json.loads(value) == {"no": 1}
