"""Whose turn it is: runs of equal priority take turns of 32 jobs, over as many calls as that takes."""

from typing import Any

import pytest

from executors.redis._shard import Shard
from executors.redis._wire import Granted
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, shape_of, shard_on
from tests.executors.redis.test_plain import Machine
from tests.flows.naive_run import Dag, Edge

SMALL = Dag(("fail",) * 4, tuple(Edge(job, 3) for job in range(3)))
CHAIN = Dag(("fail",) * 80, tuple(Edge(job, job + 1) for job in range(79)))


@pytest.fixture(params=["plainly", "by the whole machine"])
def shard(valkey: Server, request: pytest.FixtureRequest) -> Shard:
    shard = shard_on(valkey)
    return shard if request.param == "plainly" else Machine(shard.server, shard.keys)


def put(shard: Shard, dag: Dag, **options: Any) -> str:
    return shard.put_run(new_run(shape_of(dag, ["q"]), **options)).run_id


def jobs(grants: list[Granted], runs: list[str]) -> list[tuple[int, int]]:
    return [(runs.index(grant.run_id), grant.job) for grant in grants]


def test_a_small_run_is_finished_before_another_is_begun(shard: Shard) -> None:
    runs = [put(shard, SMALL) for _ in range(5)]
    loop = Loop(shard, ["q"])
    grants = loop(limit=3).grants
    assert jobs(grants, runs) == [(0, 0), (0, 1), (0, 2)]
    for run in range(4):
        grants = loop(*map(ended, grants), limit=4).grants
        assert jobs(grants, runs) == [(run, 3), *[(run + 1, job) for job in range(3)]]
    assert jobs(loop(*map(ended, grants), limit=4).grants, runs) == [(4, 3)]


def test_a_long_one_goes_behind_the_others_when_its_turn_is_over(shard: Shard) -> None:
    runs = [put(shard, CHAIN) for _ in range(3)]
    loop = Loop(shard, ["q"])
    grants, taken = loop(limit=1).grants, []
    while grants:
        taken += jobs(grants, runs)
        grants = loop(*map(ended, grants), limit=1).grants
    spans = [(0, 32), (32, 64), (64, 80)]
    assert taken == [(run, job) for first, last in spans for run in range(3) for job in range(first, last)]


def test_what_is_urgent_goes_before_a_turn_that_goes_on(shard: Shard) -> None:
    later = shard.put_run(new_run(shape_of(CHAIN, ["q"], priority=[3] * 80))).run_id
    loop = Loop(shard, ["q"])
    (first,) = loop(limit=1).grants
    urgent = put(shard, SMALL)
    grants = loop(ended(first), limit=2).grants
    assert [grant.run_id for grant in grants] == [urgent, urgent]
    assert {grant.run_id for grant in loop(limit=2).grants} == {urgent, later}
