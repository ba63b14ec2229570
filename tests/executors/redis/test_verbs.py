"""What each verb of a shard answers, and what it leaves on the server: by the letter, a case at a time."""

import json
import struct
from typing import Any

import pytest
import redis

from executors.redis._layout import name_of
from executors.redis._shard import Shard
from executors.redis._wire import Granted
from flows._state import ACTIVE, CANCELLED, COMPLETED, DELAYED, FAILED
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, course_of, ended, forget, new_run, shape_of, shard_on, states_of
from tests.flows.naive_run import Dag, Edge

SUBMITTED, STARTED, RETRYING, RELEASED, LOST, ENDED = 1, 2, 8, 9, 10, 13
NOBODY = 4294967295
MINUTE = 60_000_000


@pytest.fixture
def shard(valkey: Server) -> Shard:
    return shard_on(valkey)


def loose(count: int) -> Dag:
    return Dag(("fail",) * count, ())


def put(shard: Shard, dag: Dag, *, timeout: float = 0.0, run_id: str = "", **given: Any) -> str:
    fields = {name: given.pop(name) for name in ("keep", "keep_failed", "name", "header", "fast") if name in given}
    new = new_run(shape_of(dag, given.pop("queues", ["q"]), **given), timeout=timeout, run_id=run_id, **fields)
    return shard.put_run(new).run_id


def set_clock(shard: Shard, micros: int) -> None:
    shard.server.call("HSET", shard.keys.meta, "shift", micros)


def told(shard: Shard) -> list[tuple[str, int, int, int]]:
    """All events: the run, the kind, the job, the attempt."""
    found = []
    for _, fields in shard.server.call("XRANGE", shard.keys.of("events"), "-", "+"):
        assert fields[0] == b"at"
        assert float(fields[1]) > 0
        for run, packed in zip(fields[2::2], fields[3::2], strict=True):
            found += [(run.decode(), *one) for one in struct.iter_unpack("<BIH", packed)]
    return found


def stops(shard: Shard) -> list[bytes]:
    return [fields[0] for _, fields in shard.server.call("XRANGE", shard.keys.of("stops"), "-", "+")]


def test_what_happens_is_told_in_its_order(shard: Shard) -> None:
    dag = Dag(("fail", "fail", "ignore", "fail"), (Edge(0, 1), Edge(2, 3)))
    run = put(shard, dag, keep=10**12, keep_failed=10**12)
    loop = Loop(shard, ["q"])
    first, other = loop().grants
    (again,) = loop(ended(first, End.RETRY, b"{}"), ended(other, End.RELEASED), limit=1).grants
    assert (again.job, again.attempt) == (0, 2)
    (second,) = loop(ended(again, End.FAILED, b"{}")).grants
    (last,) = loop(ended(second, End.FAILED, b"{}")).grants
    loop(ended(last))
    what = [one[1:] for one in told(shard) if one[0] == run]
    assert what[:5] == [(SUBMITTED, NOBODY, 0), (STARTED, 0, 1), (STARTED, 2, 1), (RETRYING, 0, 1), (RELEASED, 2, 1)]
    assert what[5:8] == [(STARTED, 0, 2), (FAILED, 0, 2), (FAILED, 1, 0)]
    assert what[8:] == [
        *[(STARTED, 2, 1), (FAILED, 2, 1), (STARTED, 3, 1), (COMPLETED, 3, 1), (ENDED, NOBODY, 0)],
    ]


def test_leases_are_extended_or_over_or_stopped_by_number(shard: Shard) -> None:
    kept, stopped = put(shard, loose(3), queues=["q0", "q1"]), put(shard, loose(1), queues=["q0"])
    loop = Loop(shard, ["q0", "q1"])
    grants = {(grant.run_id, grant.job): grant for grant in loop().grants}
    shard.cancel(stopped, "enough")
    loop(ended(grants[kept, 1]), limit=0)
    held = [grants[kept, 0], grants[kept, 1], grants[stopped, 0], grants[kept, 2]]
    leases = [(grant.run_id, grant.job, grant.fence) for grant in held]
    leases.insert(1, (kept, 2, grants[kept, 2].fence - 1))
    leases.append(("nobody", 0, 1))
    assert shard.extend(leases, 10 * MINUTE) == ([1, 2, 5], [3])
    set_clock(shard, 9 * MINUTE)
    assert shard.rescue().taken == 0
    set_clock(shard, 11 * MINUTE)
    assert shard.rescue().taken == 3


def test_leaves_of_a_staged_run_that_are_late_come_when_they_are_due(shard: Shard) -> None:
    delays = [0] * 550 + [10_000 + 1_000 * (job % 2) for job in range(50)]
    run = put(shard, loose(600), delay_ms=delays, keep=10**12)
    while shard.sweep(run):
        pass
    loop = Loop(shard, ["q"])
    assert {grant.job for _ in range(10) for grant in loop(limit=64).grants} == set(range(550))
    assert states_of(shard, run, 600)[550:] == [DELAYED] * 50
    assert not shard.server.call("EXISTS", shard.keys.run(run, "late"))
    assert shard.server.call("ZCARD", shard.keys.queue("q", "due")) == 50
    answer = loop()
    assert answer.grants == []
    assert 9e6 < answer.due - answer.now <= 10e6
    set_clock(shard, 10_500_000)
    assert {grant.job for grant in loop(limit=64).grants} == set(range(550, 600, 2))
    set_clock(shard, 11_500_000)
    assert {grant.job for grant in loop(limit=64).grants} == set(range(551, 600, 2))


def test_a_staged_run_brings_its_limits_its_deadline_and_what_is_long(shard: Shard) -> None:
    new = new_run(shape_of(loose(600), ["q"]), timeout=100.0, size=3000)._replace(limits="q\t2\t0\t0")
    run = shard.put_run(new).run_id
    loop = Loop(shard, ["q"])
    assert len(loop(limit=5).grants) == 2
    assert shard.server.call("HLEN", shard.keys.run(run, "b")) == 600
    assert len(stops(shard)) == 1
    (told_at,) = stops(shard)
    assert shard.server.call("ZSCORE", shard.keys.of("deadlines"), run) == told_at[1:]
    assert shard.rescue().deadline == float(told_at[1:])
    assert not shard.server.call("KEYS", "*:s:*")


def test_a_stage_that_has_expired_is_nobodys_run(shard: Shard) -> None:
    with pytest.raises(redis.ResponseError, match="GONE"):
        shard.run("publish", "run", "", "print", 0, "", "stage", "0:0", 1)
    assert shard.server.call("KEYS", "*:r:*") == []


def test_only_the_first_deadline_of_all_is_announced(shard: Shard) -> None:
    late = put(shard, loose(1), timeout=200.0)
    put(shard, loose(1), timeout=300.0)
    soon = put(shard, loose(1), timeout=100.0)
    at = {run: shard.server.call("ZSCORE", shard.keys.of("deadlines"), run) for run in (late, soon)}
    assert stops(shard) == [b"@" + at[late], b"@" + at[soon]]
    assert shard.rescue().deadline == float(at[soon])
    loop = Loop(shard, ["q"])
    loop(*map(ended, loop().grants))
    assert shard.rescue().deadline is None
    assert shard.server.call("ZCARD", shard.keys.of("deadlines")) == 0


def test_cancelling_says_what_it_found(shard: Shard) -> None:
    assert shard.run("cancel", "nobody", "why", 500) == -1
    run = put(shard, loose(3), keep=10**12, keep_failed=10**12)
    assert shard.run("cancel", run, "why", 500) == 1
    assert shard.run("cancel", run, "again", 500) == 0
    assert states_of(shard, run, 3) == [CANCELLED] * 3
    assert shard.server.call("HMGET", shard.keys.run(run), "state", "reason") == [b"cancelled", b"why"]
    assert stops(shard) == [run.encode()]
    assert shard.server.call("EXISTS", shard.keys.queue("q", "ring")) == 0
    large = put(shard, loose(20), keep=10**12)
    assert shard.run("cancel", large, "why", 8) == 2
    assert shard.run("cancel", large, "why", 8) == 2
    assert states_of(shard, large, 20) == [CANCELLED] * 8 + [1] * 12
    assert shard.run("sweep", large, 8) == 1
    assert states_of(shard, large, 20) == [CANCELLED] * 16 + [1] * 4
    while shard.sweep():
        pass
    assert states_of(shard, large, 20) == [CANCELLED] * 20
    assert shard.run("cancel", large, "why", 8) == 0


def test_a_pause_says_whether_it_changed_anything_and_keeps_the_limits(shard: Shard) -> None:
    assert [shard.run("pause", "q", on) for on in (0, 1, 1, 0, 0)] == [0, 1, 0, 1, 0]
    assert shard.server.call("EXISTS", shard.keys.of("limits")) == 0
    shard.run("state", "q\t3\t2\t5000000")
    assert [shard.run("pause", "q", on) for on in (1, 0)] == [1, 1]
    assert shard.server.call("HGET", shard.keys.of("limits"), "q") == b"0 3 2 5000000"
    assert shard.server.call("ZRANGE", shard.keys.queue("q", "wake"), 0, -1) == [b"1"]


def test_a_handler_reports_while_its_attempt_lasts(shard: Shard) -> None:
    run = put(shard, loose(1))
    (grant,) = Loop(shard, ["q"])().grants
    about = run, 0, grant.fence
    assert shard.run("report", *about, "progress", b'{"done":1}', 2) == 1
    assert shard.server.call("HGETALL", shard.keys.run(run, "p")) == [name_of(0), b'{"done":1}']
    (_, fields) = shard.server.call("XREVRANGE", shard.keys.of("events"), "+", "-", "COUNT", 1)[0]
    assert fields[2:] == [run.encode(), struct.pack("<BIH", 16, 0, 1) + b'{"done":1}']
    assert [shard.run("report", *about, "log", text, 2) for text in (b"one", b"two", b"three")] == [1, 1, 0]
    lines = [shard.server.call("HGET", shard.keys.run(run, "g"), name_of(0) + name_of(place)) for place in range(3)]
    assert lines == [b"one", b"two", None]
    for other in ((run, 0, grant.fence - 1), ("nobody", 0, grant.fence)):
        assert shard.run("report", *other, "log", b"late", 9) == 0
    Loop(shard, ["q"])(ended(grant))
    assert shard.run("report", *about, "log", b"late", 9) == 0


def test_a_result_is_filed_by_its_owner_while_its_attempt_lasts(shard: Shard) -> None:
    run, other = put(shard, loose(2), keep=10**12), put(shard, loose(1), keep=10**12)
    loop = Loop(shard, ["q"])
    grants = {(grant.run_id, grant.job): grant for grant in loop().grants}
    nobody = ("", "")
    mine = shard.reserve(run, 0, "job-0", "key", "digest", nobody)
    assert mine == [run.encode(), b"job-0", b"digest", 0, b"", ACTIVE]
    assert shard.server.call("SMEMBERS", shard.keys.run(run, "k")) == [b"key"]
    for _ in range(2):
        theirs = shard.reserve(other, 0, "job-0", "key", "other", nobody)
        assert theirs == [run.encode(), b"job-0", b"digest", 0, b"", ACTIVE]
    waiting = shard.keys.of("h:key:waiting")
    assert shard.server.call("SMEMBERS", waiting) == [other.encode() + b":" + name_of(0)]
    assert 86_000 < shard.server.call("TTL", waiting) <= 86_400

    def file(run_id: str, grant: Granted, name: str, fence: int = 0) -> Any:
        return shard.file(run_id, grant.job, fence or grant.fence, name, "key", b"value", 100.0)

    first, second, third = grants[run, 0], grants[run, 1], grants[other, 0]
    assert file(run, second, "job-1") is None, "it is another job's"
    assert file(other, third, "job-0") is None, "it is another run's"
    assert file(run, first, "job-0", first.fence - 1) is None, "its attempt is another's"
    loop(ended(third, End.RELEASED, after=600.0), limit=0)
    assert file(run, first, "job-0") == b"value"
    assert 90 < shard.server.call("TTL", shard.keys.of("h:key")) <= 100
    assert shard.server.call("EXISTS", waiting, shard.keys.run(run, "k")) == 0
    (again,) = loop().grants
    assert again.run_id == other, "it waited, and looks again at once"
    assert shard.reserve(other, 0, "job-0", "key", "other", nobody)[3:] == [1, b"value", ACTIVE]
    shard.reserve(run, 1, "job-1", "late", "digest", nobody)
    loop(ended(second))
    assert shard.file(run, 1, second.fence, "job-1", "late", b"value", 100.0) is None, "it is settled"


def test_who_stands_for_another_takes_over_its_key(shard: Shard) -> None:
    run, other, third = (put(shard, loose(1), keep=10**12) for _ in range(3))
    assert len(Loop(shard, ["q"])().grants) == 3
    shard.reserve(run, 0, "job-0", "key", "digest", ("", ""))
    for instead in ((run, "job-1"), (third, "job-0")):
        assert shard.reserve(other, 0, "job-0", "key", "other", instead)[0] == run.encode()
    assert shard.reserve(other, 0, "job-0", "key", "other", (run, "job-0"))[:3] == [other.encode(), b"job-0", b"other"]
    assert not shard.server.call("EXISTS", shard.keys.of("h:key:waiting"))
    shard.server.call("HSET", shard.keys.of("h:key"), "run", "gone")
    assert shard.reserve(third, 0, "job-0", "key", "third", ("", ""))[5] == -1


def test_dead_letters_are_taken_off_by_name(shard: Shard) -> None:
    run = put(shard, Dag(("ignore",) * 3, ()), keep_failed=10**12, queues=["q0", "q1"])
    loop = Loop(shard, ["q0", "q1"])
    outcomes = [ended(grant, End.FAILED if grant.job < 2 else End.COMPLETED, b"{}") for grant in loop().grants]
    loop(*outcomes)
    names = [name_of(job) + struct.pack("<H", job % 2) for job in range(3)]

    def dead() -> list[int]:
        return [shard.server.call("ZCARD", shard.keys.of(key)) for key in ("dead", "q:q0:dead", "q:q1:dead")]

    assert dead() == [2, 1, 1]
    assert shard.run("exhume", run, b"".join(names), 0) == 0, "they are dead letters"
    assert shard.run("exhume", "nobody", b"".join(names), 1) == 0
    assert dead() == [2, 1, 1]
    assert shard.run("exhume", run, names[1], 1) == 1
    assert dead() == [1, 1, 0]
    assert shard.server.call("SMEMBERS", shard.keys.run(run, "f")) == [names[0]]
    assert shard.run("exhume", run, b"".join(names), 1) == 1
    assert dead() == [0, 0, 0]


def test_a_run_is_forgotten_a_few_keys_at_a_time(shard: Shard) -> None:
    run = put(shard, Dag(("ignore",) * 1030, ()), name="named", queues=["q0", "q1"], priority=[0, 7] * 515)
    kept = put(shard, loose(1), name="named", keep=10**12, queues=["q0"])
    loop = Loop(shard, ["q0", "q1"])
    grants = loop(limit=64).grants
    while grants:
        failing = [one.run_id == run and one.job < 120 for one in grants]
        ends = [End.FAILED if fails else End.COMPLETED for fails in failing]
        grants = loop(*[ended(one, end, b"{}") for one, end in zip(grants, ends, strict=True)]).grants
    assert course_of(shard, run)[6] == 1
    assert not shard.retire(), "who waits for it has a while to read it"
    set_clock(shard, 31_000_000)
    calls = 0
    while shard.retire(1):
        calls += 1
    assert calls >= 4
    keys = {key.decode().partition("}:")[2] for key in shard.server.call("KEYS", "*")}
    assert not {key for key in keys if run in key}
    assert "dead" not in keys
    assert shard.server.call("ZRANGE", shard.keys.of("n:named"), 0, -1) == [kept.encode()]
    assert shard.server.call("ZRANGE", shard.keys.of("runs"), 0, -1) == [kept.encode()]
    assert shard.server.call("SMEMBERS", shard.keys.of("names")) == [b"named"]


def test_a_worker_is_told_a_header_once_unless_it_is_long(shard: Shard) -> None:
    short, exact = put(shard, loose(2), header=b"{1}"), put(shard, loose(1), header=b"x" * 4096)
    long = put(shard, loose(1), header=b"x" * 4097)
    loop = Loop(shard, ["q"])
    assert loop(limit=1).headers == {short: b"{1}"}
    told_now = loop().headers
    assert {run: header for run, header in told_now.items() if header} == {exact: b"x" * 4096}
    assert not told_now.get(long)
    assert put(shard, loose(1), header=b"{2}") in Loop(shard, ["q"], "other")().headers


def test_a_worker_lives_for_as_long_as_it_said(shard: Shard) -> None:
    shard.run("beat", "w", "q0\nq1", 90_000_000)
    seconds, micros = shard.server.call("TIME")
    (name, until) = shard.server.call("ZRANGE", shard.keys.of("workers"), 0, -1, "WITHSCORES")
    assert name == b"w"
    assert 0 <= int(seconds) * 10**6 + int(micros) + 90_000_000 - float(until) < 60e6
    assert shard.server.call("HGETALL", shard.keys.of("served")) == [b"w", b"q0\nq1"]


def test_earlier_attempts_are_kept_for_a_run_that_is_there(shard: Shard) -> None:
    run = put(shard, loose(1))
    fields = [part for number in range(1000) for part in (f"f{number}", f"v{number}")]
    assert shard.run("keep", run, *fields) == shard.run("keep", "nobody", *fields) == 1
    assert shard.server.call("HLEN", shard.keys.run(run, "a")) == 1000
    assert shard.server.call("HGET", shard.keys.run(run, "a"), "f999") == b"v999"
    assert not shard.server.call("EXISTS", shard.keys.run("nobody", "a"))


def test_the_first_attempt_is_remembered_and_attempts_are_filed(shard: Shard) -> None:
    run = put(shard, loose(1), attempts=[3])
    loop = Loop(shard, ["q"])
    (grant,) = loop().grants
    assert grant.since == 0
    set_clock(shard, MINUTE)
    (again,) = (second := loop(ended(grant, End.RETRY, b"one"))).grants
    assert again.since == second.now - 2.0, "it said that it had begun two microseconds ago"
    set_clock(shard, 2 * MINUTE)
    (last,) = loop(ended(again, End.RETRY, b"two", counted=False)).grants
    assert (last.attempt, last.since) == (2, again.since)
    filed = {
        field: (*struct.unpack("<BHHdd", value[:21]), value[21:])
        for field, value in _pairs(shard.server.call("HGETALL", shard.keys.run(run, "a")))
    }
    assert sorted(filed) == [name_of(0) + struct.pack("<H", number) for number in range(2)]
    assert [value[:3] + value[5:] for _, value in sorted(filed.items())] == [
        (FAILED, 1, 1, b"one"),
        (FAILED, 2, 1, b"two"),
    ]


def _pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize("payload", [b"killed", b"7"])
def test_what_a_lost_worker_said_and_nobody_can_read_is_quoted_as_it_is(shard: Shard, payload: bytes) -> None:
    run = put(shard, loose(1), keep_failed=10**12)
    loop = Loop(shard, ["q"])
    for _ in range(3):
        (grant,) = loop().grants
        loop(ended(grant, End.LOST, payload), limit=0)
    assert shard.server.call("HGET", shard.keys.run(run, "v:0"), name_of(0)) == payload


def test_a_job_that_loses_its_worker_again_and_again_fails_by_what_the_last_one_said(shard: Shard) -> None:
    run = put(shard, loose(1), keep_failed=10**12)
    loop = Loop(shard, ["q"])
    payload = json.dumps({"type": "Killed", "message": "signal 9", "traceback": "t", "job": "job-0"}).encode()
    for _ in range(3):
        (grant,) = loop().grants
        assert loop(ended(grant, End.LOST, payload), limit=0).refused == ()
    said = json.loads(shard.server.call("HGET", shard.keys.run(run, "v:0"), name_of(0)))
    assert (said["type"], said["traceback"], said["job"]) == ("LeaseLostError", "", "job-0")
    assert "lost its worker 3 times" in said["message"]
    assert "signal 9" in said["message"]
    assert [one[1] for one in told(shard)].count(LOST) == 3
    assert states_of(shard, run, 1) == [FAILED]
    forget(shard)
