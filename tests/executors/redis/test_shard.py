"""One shard on a server of each kind: what the random histories do not reach."""

import hashlib
import json
from collections.abc import Iterator

import pytest
import redis

from executors.redis import _shard
from executors.redis._inputs import Payloads, inputs_of
from executors.redis._scripts import Script, names, script
from executors.redis._shard import Shard
from executors.redis._wire import Outcome
from flows._state import CANCELLED, COMPLETED, WAITING
from flows._verbs import End
from flows.errors import UnavailableError
from tests.executors.redis.groups import until
from tests.executors.redis.servers import Server, installed, server, shared
from tests.executors.redis.shards import Loop, course_of, ended, forget, new_run, shape_of, shard_on, states_of
from tests.flows.naive_run import Dag, Edge

CHAIN = Dag(("fail", "fail"), (Edge(0, 1),))


def fan_in(leaves: int) -> Dag:
    return Dag(("fail",) * (leaves + 1), tuple(Edge(leaf, leaves) for leaf in range(leaves)))


@pytest.fixture(params=installed())
def shard(request: pytest.FixtureRequest) -> Iterator[Shard]:
    there = shared(request.param)
    there.ask("FLUSHALL")
    yield shard_on(there)
    there.ask("FLUSHALL")


def work_off(loop: Loop, payload: bytes = b"", limit: int = 64) -> int:
    """Complete all there is; how many jobs that were."""
    outcomes: list[Outcome] = []
    count = 0
    while True:
        answer = loop(*outcomes, limit=limit)
        if not answer.grants and not answer.more:
            return count
        count += len(answer.grants)
        outcomes = [ended(grant, payload=payload) for grant in answer.grants]


def test_a_large_run_is_staged_and_leaves_nothing(shard: Shard) -> None:
    run = new_run(shape_of(fan_in(600), ["q"]), key="k")
    assert shard.put_run(run).run_id == run.run_id
    assert shard.put_run(run).run_id == run.run_id  # sent twice
    assert [key for key in shard.server.call("KEYS", "*") if shard.server.call("TTL", key) != -1] == []
    assert work_off(Loop(shard, ["q"]), payload=b"12") == 601
    assert states_of(shard, run.run_id, 601) == [COMPLETED] * 601
    forget(shard, 20)
    assert [key for key in shard.server.call("KEYS", "*") if run.run_id.encode() in key] == []


@pytest.mark.parametrize("leaves", [2, 600])
def test_of_many_submits_under_one_key_one_is_the_run(shard: Shard, leaves: int) -> None:
    shape = shape_of(fan_in(leaves), ["q"])
    first, second = new_run(shape, key="k", key_ttl=60_000_000), new_run(shape, key="k")
    assert shard.put_run(first) == shard.put_run(second) == (first.run_id, "print")
    assert [key for key in shard.server.call("KEYS", "*") if second.run_id.encode() in key] == []
    assert work_off(Loop(shard, ["q"])) == leaves + 1
    forget(shard)
    assert shard.put_run(second).run_id == first.run_id  # the key outlives its run
    assert 50 < shard.server.call("TTL", shard.keys.key("k")) <= 60


def test_a_call_that_comes_late_changes_nothing(shard: Shard) -> None:
    run = new_run(shape_of(CHAIN, ["q"]))
    shard.put_run(run)
    loop = Loop(shard, ["q"])
    (grant,) = loop().grants
    loop(ended(grant), limit=0)
    loop.seq = 1
    with pytest.raises(redis.ResponseError, match="STALE"):
        loop.again(limit=0)
    assert states_of(shard, run.run_id, 2) == [COMPLETED, WAITING]


def test_lower_numbers_first_then_turns_then_the_order_of_release(shard: Shard) -> None:
    loose = Dag(("fail",) * 40, ())
    urgent = new_run(shape_of(Dag(("fail",) * 3, ()), ["q"], priority=[0, 0, 5]))
    slow = [new_run(shape_of(loose, ["q"], priority=[5] * 40)) for _ in range(2)]
    for run in (*slow, urgent):
        shard.put_run(run)
    loop, got = Loop(shard, ["q"]), []
    for _ in range(3):
        got += [(grant.run_id, grant.job) for grant in loop(limit=40).grants]
    one, two = slow
    turns = [(one.run_id, job) for job in range(32)] + [(two.run_id, job) for job in range(32)] + [(urgent.run_id, 2)]
    turns += [(one.run_id, job) for job in range(32, 40)] + [(two.run_id, job) for job in range(32, 40)]
    assert got[:2] == [(urgent.run_id, 0), (urgent.run_id, 1)]
    assert sorted(got[2:]) == sorted(turns)
    assert got[2:34] == turns[:32]  # a turn is 32 jobs long
    assert got.index((two.run_id, 0)) < got.index((one.run_id, 39))


def test_lifo_jobs_are_first(shard: Shard) -> None:
    run = new_run(shape_of(Dag(("fail",) * 4, ()), ["q"], lifo=[0, 1, 0, 1]))
    shard.put_run(run)
    assert [grant.job for grant in Loop(shard, ["q"])().grants] == [3, 1, 0, 2]


def test_what_is_large_is_read_apart(shard: Shard) -> None:
    run = new_run(shape_of(fan_in(700), ["q"]))
    shard.put_run(run)
    loop = Loop(shard, ["q"])
    outcomes: list[Outcome] = []
    while not (answer := loop(*outcomes)).grants or answer.grants[-1].job != 700:
        outcomes = [ended(grant, payload=b'"%d"' % grant.job * (grant.job % 3)) for grant in answer.grants]
    (grant,) = answer.grants
    assert (grant.row, grant.inputs) == (None, ())
    found = inputs_of(shard, run.run_id, 700, Payloads())
    assert [(one.child, one.state) for one in found] == [(job, COMPLETED) for job in range(700)]
    assert [one.payload for one in found] == [b'"%d"' % job * (job % 3) or b"null" for job in range(700)]
    alone = new_run(shape_of(Dag(("fail",), ()), ["q"]), size=9000)
    shard.put_run(alone)
    assert [grant.row for grant in loop(ended(grant)).grants] == [None]


def test_the_root_that_fails_ends_a_run_that_is_to_fail_fast(shard: Shard) -> None:
    dag = Dag(("fail", "fail", "ignore", "fail"), (Edge(0, 1), Edge(2, 3)))
    run = new_run(shape_of(dag, ["q"]), fast=1)
    shard.put_run(run)
    loop = Loop(shard, ["q"])
    first, other = loop().grants
    loop(ended(first, End.FAILED, b"{}"))
    course = course_of(shard, run.run_id)
    assert (course[0], bool(course[5])) == (1, True)
    assert shard.extend([(run.run_id, other.job, other.fence)], 30_000_000) == ([], [0])
    loop(ended(other))
    told = shard.server.call("HMGET", shard.keys.run(run.run_id), "state", "reason")
    assert told == [b"failed", b"fail_fast:1"]


def test_a_deadline_cancels(shard: Shard) -> None:
    run = new_run(shape_of(CHAIN, ["q"]), timeout=100.0)
    shard.put_run(run)
    taken, deadline = shard.rescue()
    (grant,) = (answer := Loop(shard, ["q"])()).grants
    assert (taken, deadline) == (0, answer.deadlines[run.run_id])
    assert 99e6 < (deadline or 0.0) - answer.now <= 100e6
    shard.server.call("HSET", shard.keys.meta, "shift", 101_000_000)
    answer = Loop(shard, ["q"])(ended(grant, End.RELEASED))
    assert answer.deadlines == {run.run_id: deadline}, "nobody has looked yet"
    assert shard.rescue() == (0, None)
    loop = Loop(shard, ["q"])
    assert loop(*map(ended, answer.grants)).grants == []
    told = shard.server.call("HMGET", shard.keys.run(run.run_id), "state", "reason")
    assert told == [b"cancelled", b"timeout"]


def test_a_server_that_has_forgotten_its_scripts_is_told_them(shard: Shard) -> None:
    loop = Loop(shard, ["q"])
    for _ in range(3):
        shard.put_run(new_run(shape_of(CHAIN, ["q"])))
        shard.server.call("SCRIPT", "FLUSH")
        assert len(loop().grants) == 1


def test_each_queue_that_has_something_has_one_token(shard: Shard) -> None:
    wake = [shard.keys.queue(queue, "wake") for queue in ("q0", "q1")]
    shard.put_run(new_run(shape_of(Dag(("fail",) * 4, ()), ["q0", "q1"])))
    assert [shard.server.call("ZCARD", key) for key in wake] == [1, 1]
    for key in wake:
        shard.server.call("ZPOPMIN", key)
    loop = Loop(shard, ["q0", "q1"])
    loop(limit=1)
    assert [shard.server.call("ZCARD", key) for key in wake] == [1, 1]  # more was found than taken
    for key in wake:
        shard.server.call("ZPOPMIN", key)
    loop(limit=3)
    assert [shard.server.call("ZCARD", key) for key in wake] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", installed())
def test_a_full_server_refuses_submits_and_drains(kind: str) -> None:
    with server(kind, maxmemory_policy="noeviction") as there:
        shard = shard_on(there)
        run = new_run(shape_of(fan_in(60), ["q"]), keep=0)
        shard.put_run(run)
        loop = Loop(shard, ["q"])
        answer = loop(limit=20)
        there.ask("CONFIG", "SET", "maxmemory", "1")
        before = shard.server.call("DBSIZE")
        for leaves in (3, 600):
            with pytest.raises((UnavailableError, redis.ResponseError)):
                shard.put_run(new_run(shape_of(fan_in(leaves), ["q"])))
        assert shard.server.call("DBSIZE") == before
        while answer.grants:
            answer = loop(*[ended(grant, payload=b"1") for grant in answer.grants], limit=20)
        assert states_of(shard, run.run_id, 61) == [COMPLETED] * 61
        shard.rescue()
        assert not shard.retire()


@pytest.mark.slow
def test_scripts_touch_no_slot_but_that_of_their_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster, with a first line that has undeclared slots refused."""

    def strict(name: str) -> Script:
        text = b"#!lua\n" + script(name).text
        return script(name)._replace(text=text, sha=hashlib.sha1(text).hexdigest())

    monkeypatch.setattr(_shard, "script", strict)
    with server(cluster_enabled="yes") as there:
        there.ask("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until(lambda: "cluster_state:ok" in str(there.ask("CLUSTER", "INFO")), "the cluster is up")
        shard = Shard(_Direct(there), shard_on(there).keys)
        run = new_run(shape_of(fan_in(600), ["q"], delay_ms=[0] * 600 + [1]), key="k", timeout=5.0)
        shard.put_run(new_run(shape_of(CHAIN, ["q"])))
        shard.put_run(run)
        loop = Loop(shard, ["q"])
        (grant, *_) = loop(limit=30).grants
        shard.extend([(grant.run_id, grant.job, grant.fence)], 1)
        shard.server.call("HSET", shard.keys.meta, "shift", 31_000_000)
        assert shard.rescue()[0] == 30
        assert shard.cancel(run.run_id, "enough")
        loop(limit=2)
        forget(shard)
        assert {"exchange", "put_run", "publish", "extend", "rescue", "cancel", "sweep", "retire"} <= set(names())


def test_nothing_of_a_cancelled_run_is_granted_before_all_is_marked(valkey: Server) -> None:
    """Delayed jobs and suspects stay in their lines until a chunk reaches them."""
    size = 60
    shard = shard_on(valkey, chunk=20)
    run = new_run(shape_of(Dag(("fail",) * size, ()), ["q"], delay_ms=[0] * 40 + [10_000] * 20), keep=10**12)
    shard.put_run(run)
    loop = Loop(shard, ["q"])
    assert len(loop(limit=40).grants) == 40
    shard.server.call("HSET", shard.keys.meta, "shift", 31_000_000)
    assert shard.rescue().taken == 40, "forty suspects, and twenty whose delay is over"
    assert shard.run("cancel", run.run_id, "enough", 5) == 2
    assert states_of(shard, run.run_id, size).count(CANCELLED) < size
    for _ in range(size):
        answer = loop(limit=4)
        assert answer.grants == []
        if not answer.more:
            break
    assert states_of(shard, run.run_id, size) == [CANCELLED] * size
    assert course_of(shard, run.run_id)[6] == 1


def test_a_lost_reply_is_given_again_without_what_is_gone(valkey: Server) -> None:
    """A worker was cut off for so long that one of its runs has ended and is forgotten, and another has gone on."""
    shard = shard_on(valkey)
    alone = shape_of(Dag(("fail",), ()), ["q"])
    for name in ("gone", "kept", "taken"):
        shard.put_run(new_run(alone, run_id=name, keep=0 if name == "gone" else 10**12))
    loop = Loop(shard, ["q"])
    first = loop()
    kept = next(grant for grant in first.grants if grant.run_id == "kept")
    shard.extend([(kept.run_id, kept.job, kept.fence)], 10**9)
    shard.server.call("HSET", shard.keys.meta, "shift", 31_000_000)
    shard.cancel("gone", "enough")
    assert shard.rescue()[0] == 2
    assert [grant.run_id for grant in Loop(shard, ["q"], "other")().grants] == ["taken"]
    forget(shard)
    second = loop.again()
    assert second.grants == [kept]
    assert list(second.headers) == ["kept"]
    assert (second.now, second.due, second.refused) == (first.now, first.due, ())
    assert loop(ended(kept)).refused == ()


def test_of_the_ended_runs_of_a_name_the_newest_are_kept(valkey: Server) -> None:
    shard, shape = shard_on(valkey), shape_of(CHAIN, ["q"])
    for number in range(4):
        shard.put_run(new_run(shape, run_id=f"a{number}", keep=10**12, name="a"))
    shard.put_run(new_run(shape, run_id="b", keep=10**12, name="b", keep_count=1))
    assert work_off(Loop(shard, ["q"])) == 10
    last = new_run(shape, run_id="last", keep=10**12, name="a", keep_count=2)
    shard.put_run(last)
    work_off(Loop(shard, ["q"]))
    forget(shard)
    assert set(shard.server.call("ZRANGE", shard.keys.of("runs"), 0, -1)) == {b"a3", b"b", b"last"}
    assert shard.server.call("ZRANGE", shard.keys.of("n:a"), 0, -1) == [b"a3", b"last"]
    shard.server.call("HSET", shard.keys.meta, "shift", 2 * 10**12)
    forget(shard)
    assert shard.server.call("EXISTS", shard.keys.of("n:a"), shard.keys.of("n:b")) == 0


class _Direct:
    """Commands to one node, whatever it says of slots."""

    def __init__(self, there: Server) -> None:
        self._client = there.client()

    def call(self, *command):
        return self.calls([command])[0]

    def calls(self, commands):
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command, NEVER_DECODE=True)
        return pipe.execute()


def test_rows_and_failures_are_told_by_name(shard: Shard) -> None:
    """A job that lost three workers fails under its own name, which those quote that fail for its sake."""
    run = new_run(shape_of(Dag(("fail", "ignore", "fail"), (Edge(0, 1), Edge(1, 2))), ["q"]))
    shard.put_run(run)
    loop = Loop(shard, ["q"])
    for turn in range(3):
        assert len(loop().grants) == 1
        shard.server.call("HSET", shard.keys.meta, "shift", 31_000_000 * (turn + 1))
        assert shard.rescue() == (1, None)
    (grant,) = loop().grants
    (told,) = grant.inputs
    assert (grant.job, told.first) == (2, 5)
    assert json.loads(told.payload or b"")["job"] == "job-0"


def test_what_nobody_has_a_handler_for_fails_after_a_day(valkey: Server) -> None:
    shard = shard_on(valkey)
    run = new_run(shape_of(Dag(("fail",), ()), ("q0",)))
    shard.put_run(run)
    loop = Loop(shard, ("q0",))
    for day in (0.0, 0.9, 1.1):
        shard.server.call("HSET", shard.keys.meta, "shift", int(day * 86_400 * 1e6))
        (grant,) = loop().grants
        assert grant.attempt == 1
        loop(ended(grant, End.RELEASED, b'{"type":"UnknownTaskError"}'), limit=0)
    assert states_of(shard, run.run_id, 1) == [5]
