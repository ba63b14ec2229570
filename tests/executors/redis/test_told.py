"""Who is told what: tokens for queues in which there is something to find, spans, places of a rate, ends of runs."""

import struct
from typing import Any

import pytest

from executors.redis._shard import Shard
from flows._state import COMPLETED, FAILED, SKIPPED
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, records_of, shape_of, shard_on, sparse_of, states_of
from tests.flows.naive_run import Dag, Edge

PERIOD = "10000000"
STARTED = 19
"""Where a record says when its attempt began; when it ended follows."""
CAUSE = 4
"""Where a job's counters name the child that decided; what failed first follows."""


@pytest.fixture
def shard(valkey: Server) -> Shard:
    return shard_on(valkey)


def wide(shard: Shard, size: int, limits: str = "") -> str:
    new = new_run(shape_of(Dag(("fail",) * size, ()), ("q",)))._replace(limits=limits)
    return shard.put_run(new).run_id


def forget_token(shard: Shard) -> None:
    shard.server.call("UNLINK", shard.keys.queue("q", "wake"))


def is_token_left(shard: Shard) -> bool:
    return bool(shard.server.call("EXISTS", shard.keys.queue("q", "wake")))


def test_others_hear_of_what_a_claim_leaves_and_of_nothing_else(shard: Shard) -> None:
    wide(shard, 3)
    loop = Loop(shard, ("q",))
    forget_token(shard)
    assert len(loop(limit=2).grants) == 2
    assert is_token_left(shard)
    forget_token(shard)
    assert len(loop(limit=2).grants) == 1
    assert not is_token_left(shard)


def test_nobody_hears_of_a_paused_queue(shard: Shard) -> None:
    wide(shard, 2)
    shard.pause("q", paused=True)
    forget_token(shard)
    assert not Loop(shard, ("q",))().grants
    assert not is_token_left(shard)


def test_others_hear_of_a_place_that_a_job_leaves(shard: Shard) -> None:
    wide(shard, 2, "q\t1\t0\t0")
    loop = Loop(shard, ("q",))
    (grant,) = loop().grants
    forget_token(shard)
    loop(ended(grant), limit=0)
    assert is_token_left(shard)


def test_a_rate_that_is_stated_anew_counts_what_has_started_unless_there_was_none(shard: Shard) -> None:
    wide(shard, 9, f"q\t0\t2\t{PERIOD}")
    loop = Loop(shard, ("q",))
    assert len(loop().grants) == 2
    wide(shard, 1, f"q\t0\t3\t{PERIOD}")
    assert len(loop().grants) == 1
    wide(shard, 1, "q\t4\t0\t0")
    wide(shard, 1, f"q\t0\t2\t{PERIOD}")
    assert len(loop().grants) == 2


def test_an_attempt_that_failed_has_started_too(shard: Shard) -> None:
    wide(shard, 2, f"q\t0\t1\t{PERIOD}")
    loop = Loop(shard, ("q",))
    (grant,) = loop().grants
    assert not loop(ended(grant, End.FAILED, b"{}")).grants


def test_starts_are_forgotten_once_all_are_known_and_nobody_looks_again(shard: Shard) -> None:
    wide(shard, 2, f"q\t0\t2\t{PERIOD}")
    loop = Loop(shard, ("q",))
    grants = loop().grants
    left = []
    for grant in grants:
        loop(ended(grant), limit=0)
        left.append(shard.server.call("PTTL", shard.keys.queue("q", "starts")) > 0)
    assert left == [False, True]


def test_a_run_that_is_to_fail_fast_says_so_only_where_it_has_cut_something_short(shard: Shard) -> None:
    told = []
    for size in (1, 3):
        edges = tuple(Edge(job, size - 1) for job in range(size - 1))
        new = new_run(shape_of(Dag(("fail",) * size, edges), ("q",)), fast=1)
        run_id = shard.put_run(new).run_id
        loop = Loop(shard, ("q",))
        first, *others = loop().grants
        loop(ended(first, End.FAILED, b"{}"), limit=0)
        loop(*map(ended, others), limit=0)
        told.append(shard.server.call("HMGET", shard.keys.run(run_id), "state", "reason"))
        assert states_of(shard, run_id, size)[-1] == FAILED
    assert told == [[b"failed", None], [b"failed", b"fail_fast:2"]]


def test_a_span_is_taken_down_for_who_has_the_lease(shard: Shard) -> None:
    run_id = wide(shard, 2)
    first, second = Loop(shard, ("q",))().grants
    wrong = struct.pack("<Id8s", second.job, second.fence + 1, b"a zombie")
    shard.run("spans", run_id, struct.pack("<Id8s", first.job, first.fence, b"its span") + wrong)
    assert shard.server.call("GET", shard.keys.run(run_id, "t")) == b"its span"


def test_nothing_is_moved_into_a_run_that_is_visible(shard: Shard) -> None:
    run_id = wide(shard, 1)
    assert shard.run("move", run_id, "nowhere", 3600, "run") == 0
    assert shard.server.call("ZSCORE", shard.keys.of("retire"), run_id) is None


def test_long_rows_of_a_small_run_are_there(shard: Shard) -> None:
    shape = shape_of(Dag(("fail", "fail"), ()), ("q",))
    run_id = shard.put_run(new_run(shape, size=3000)).run_id
    rows = shard.server.call("HVALS", shard.keys.run(run_id, "b"))
    assert sorted(map(len, rows)) == [len(b'["job-0", 0, ""]') + 3000] * 2


@pytest.mark.slow
def test_a_line_that_is_too_long_to_be_read_is_added_to(valkey: Server) -> None:
    shard = shard_on(valkey, chunk=1)
    size = 511
    edges = tuple(Edge(job, size) for job in range(size))
    run_id = shard.put_run(new_run(shape_of(Dag(("fail",) * (size + 1), edges), ("q",)))).run_id
    loop = Loop(shard, ("q",))
    grants = [grant for _ in range(9) for grant in loop().grants]
    assert len(grants) == size
    for first, last in ((0, 505), (505, size)):
        loop(*map(ended, grants[first:last]), limit=0)
    while shard.sweep(run_id):
        pass
    (root,) = loop().grants
    loop(ended(root), limit=0)
    assert set(states_of(shard, run_id, size + 1)) == {COMPLETED}


@pytest.mark.parametrize("end", [End.COMPLETED, End.FAILED])
def test_a_run_is_kept_as_its_end_asks_and_its_key_by_the_servers_own_clock(shard: Shard, end: End) -> None:
    shard.server.call("HINCRBY", shard.keys.meta, "shift", 50_000_000)
    given: dict[str, Any] = {"keep": 60_000_000, "keep_failed": 3_600_000_000, "key_ttl": 600_000_000, "timeout": 900.0}
    run_id = shard.put_run(new_run(shape_of(Dag(("fail",), ()), ("q",)), key="kept", **given)).run_id
    loop = Loop(shard, ("q",))
    (grant,) = loop().grants
    answer = loop(ended(grant, end, b"{}")._replace(started=2e6, ended=1e6), limit=0)
    told = int(shard.server.call("HGET", shard.keys.run(run_id), "ended"))
    goes_at = float(shard.server.call("ZSCORE", shard.keys.of("retire"), run_id))
    assert goes_at - told == (60_000_000 if end is End.COMPLETED else 3_600_000_000)
    assert 300_000 < shard.server.call("PTTL", shard.keys.of("k:kept")) <= 600_000
    assert records_of(shard, run_id, 1)[0][STARTED:] == (told - 2_000_000, told - 1_000_000)
    assert answer.now == told
    assert not shard.server.call("EXISTS", shard.keys.of("deadlines"))


def test_what_failed_first_is_named_from_however_far_above(shard: Shard) -> None:
    edges = (Edge(0, 1), Edge(1, 2), Edge(2, 3))
    run_id = shard.put_run(new_run(shape_of(Dag(("fail",) * 4, edges), ("q",)), keep_failed=10**12)).run_id
    loop = Loop(shard, ("q",))
    (grant,) = loop().grants
    loop(ended(grant, End.FAILED, b"{}"), limit=0)
    assert states_of(shard, run_id, 4) == [FAILED] * 4
    told = sparse_of(shard, run_id, range(1, 4))
    assert [told[job][CAUSE : CAUSE + 2] for job in range(1, 4)] == [(0, 0), (1, 0), (2, 0)]


def test_a_failure_is_the_cause_of_what_a_skipped_child_would_only_have_skipped(shard: Shard) -> None:
    edges = (Edge(0, 2), Edge(1, 2))
    run_id = shard.put_run(new_run(shape_of(Dag(("fail",) * 3, edges), ("q",)), keep_failed=10**12)).run_id
    loop = Loop(shard, ("q",))
    first, second = loop().grants
    loop(ended(first, End.SKIPPED, b"{}"), limit=0)
    assert sparse_of(shard, run_id, [2])[2][CAUSE] == 0
    loop(ended(second, End.FAILED, b"{}"), limit=0)
    assert states_of(shard, run_id, 3) == [SKIPPED, FAILED, FAILED]
    assert sparse_of(shard, run_id, [2])[2][CAUSE] == 1


def test_a_job_of_which_something_has_been_said_hears_the_rest_too(shard: Shard) -> None:
    run_id = shard.put_run(
        new_run(shape_of(Dag(("skip", "fail", "fail"), (Edge(0, 2), Edge(1, 2))), ("q",)), keep=10**12)
    ).run_id
    loop = Loop(shard, ("q",))
    first, second = loop().grants
    loop(ended(first, End.FAILED, b"{}"), limit=0)
    loop(ended(second), limit=0)
    assert states_of(shard, run_id, 3) == [FAILED, COMPLETED, SKIPPED]


def test_a_job_that_took_the_result_of_another_has_no_end_of_its_own(shard: Shard) -> None:
    run_id = shard.put_run(new_run(shape_of(Dag(("fail",), ()), ("q",)), keep=10**12)).run_id
    loop = Loop(shard, ("q",))
    (grant,) = loop().grants
    loop(ended(grant, End.REPLAYED, struct.pack("<I5s", 5, b"other") + b"1"), limit=0)
    (record,) = records_of(shard, run_id, 1)
    assert (record[9], record[STARTED + 1]) == (COMPLETED, 0)
