"""The plain exchange and the whole machine come to the same, and most calls are plain."""

import itertools
import random
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import pytest

from executors.redis import _scripts, _wire
from executors.redis._keys import Keys
from executors.redis._scripts import Script
from executors.redis._shard import Shard
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, course_of, ended, new_run, records_of, shape_of, shard_on
from tests.executors.redis.test_functions import called
from tests.executors.scripted import random_dag
from tests.flows.naive_run import Dag, Edge

CHAIN = Dag(("fail",) * 5, tuple(Edge(job, job + 1) for job in range(4)))
SMALL = Dag(("fail",) * 4, tuple(Edge(job, 3) for job in range(3)))
LONG = Dag(("fail",) * 40, tuple(Edge(job, job + 1) for job in range(39)))
FAN_IN = Dag(("fail",) * 301, tuple(Edge(job, 300) for job in range(300)))
FAN_OUT = Dag(("fail",) * 120, tuple(Edge(0, job) for job in range(1, 120)))
LINKS = Dag(("fail",) * 60, tuple(Edge(job, job + 1) for job in range(59)))
FENCE, STARTED, FINISHED = 16, 19, 20
"""Of a record: what is made of the time."""
POSITION, ENDED = 11, 6
"""Of a run's course: a cursor, which is at rest, and whether it has ended."""


class Machine(Shard):
    """A second namespace, in which the machine does it all."""

    @cached_property
    def exchanging(self) -> Script:
        header, body = _scripts._read("exchange")
        with pytest.MonkeyPatch.context() as patch:
            read = _scripts._read
            alone = header | {"first": []}
            patch.setattr(_scripts, "_read", lambda name: (alone, body) if name == "exchange" else read(name))
            made: Script = _scripts.script.__wrapped__("exchange")
            return made._replace(library=None)

    def run(self, name: str, *arguments: Any) -> Any:
        if name == "exchange":
            return self.exchanging.on(self.server, self.keys.meta, *arguments)
        return super().run(name, *arguments)


def told(answer: _wire.Answer) -> list[object]:
    """An answer without what is made of the time."""
    grants = [grant._replace(fence=0) for grant in answer.grants]
    return [answer.refused, answer.due < 0, grants, answer.headers]


def more(shard: Shard, answer: _wire.Answer, queues: Sequence[str]) -> bool:
    """Whether more could be claimed; the answer says so, and for each queue there is a token."""
    left = [queue for queue in queues if shard.server.call("EXISTS", shard.keys.queue(queue, "ring"))]
    assert answer.more or not left
    assert all(shard.server.call("ZCARD", shard.keys.queue(queue, "wake")) for queue in left)
    return answer.more


def stands(shard: Shard, sizes: dict[str, int]) -> list[object]:
    """How all runs stand, and what is in their queues, without times."""
    found: list[object] = []
    for run_id, size in sizes.items():
        kept = [part for place, part in enumerate(course_of(shard, run_id)) if place != POSITION]
        records = [
            [part for place, part in enumerate(record) if place not in (FENCE, STARTED, FINISHED)]
            for record in records_of(shard, run_id, size)
        ]
        found.append([kept, records, shard.server.call("HGET", shard.keys.run(run_id), "state")])
    for queue in ("q0", "q1"):
        ring = shard.server.call("ZRANGE", shard.keys.queue(queue, "ring"), 0, -1)
        lanes = [shard.server.call("LRANGE", shard.keys.of(f"j:{lane.decode()}"), 0, -1) for lane in ring]
        leases = set(shard.server.call("ZRANGE", shard.keys.queue(queue, "leases"), 0, -1))
        found.append([ring, lanes, leases])
    return [*found, *[set(shard.server.call("ZRANGE", shard.keys.of(key), 0, -1)) for key in ("runs", "retire")]]


def compared(shard: Shard, dags: list[Dag], seed: int) -> None:
    """Have both do the same, step by step."""
    both, rng = (shard, Machine(shard.server, Keys("machine"))), random.Random(seed)
    sizes: dict[str, int] = {}
    for dag in dags:
        run_id = f"run{len(sizes)}"
        given = {"priority": [rng.choice((0, 0, 1)) for _ in range(dag.size)]} if seed % 3 == 0 else {}
        for one in both:
            one.put_run(new_run(shape_of(dag, ["q0", "q1"][: 1 + seed % 2], **given), run_id=run_id))
        sizes[run_id] = dag.size
    loops = [[Loop(one, queues, f"w{number}") for one in both] for number, queues in enumerate((["q0", "q1"], ["q1"]))]
    held: list[list[list[_wire.Granted]]] = [[[], []], [[], []]]
    for step in itertools.count():
        number = step % 5 % 2
        count = rng.randint(0, len(held[number][0]))
        picked = sorted(rng.sample(range(len(held[number][0])), count)) if rng.random() < 0.8 else []
        limit, size = rng.choice((0, 1, 2, 7, 64)), rng.choice((0, 1, 30))
        answers = []
        for loop, mine in zip(loops[number], held[number], strict=True):
            settles = [ended(mine[place], End.COMPLETED, b"7" * size) for place in picked]
            answers.append(loop(*settles, limit=limit))
            mine[:] = [grant for place, grant in enumerate(mine) if place not in picked] + answers[-1].grants
        assert told(answers[0]) == told(answers[1])
        if limit and more(shard, answers[0], loops[number][0].queues):
            assert answers[1].more, "the machine may say so for nothing"
        assert stands(both[0], sizes) == stands(both[1], sizes)
        if all(course_of(shard, run_id)[ENDED] for run_id in sizes):
            return
        assert step < 2_000


@pytest.mark.parametrize("seed", [0, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8)]])
def test_the_plain_exchange_does_what_the_machine_does(valkey: Server, seed: int) -> None:
    rng = random.Random(seed)
    shapes = [[CHAIN, CHAIN], [FAN_IN], [FAN_OUT, CHAIN], *([random_dag(rng) for _ in range(4)] for _ in range(3))]
    shapes += [[LINKS], [LINKS]]
    compared(shard_on(valkey), shapes[seed], seed)


def test_what_is_plain_is_looked_at_once(valkey: Server) -> None:
    shard = shard_on(valkey)
    for dag in (CHAIN, FAN_IN):
        shard.put_run(new_run(shape_of(dag, ["q0"])))
    loop = Loop(shard, ["q0"])
    valkey.ask("CONFIG", "RESETSTAT")
    answer = loop()
    while answer.grants:
        answer = loop(*[ended(grant) for grant in answer.grants])
    assert called(valkey, "del") == {"del": loop.seq - 1}, "the last job has its way, and the machine would begin anew"


def test_a_link_of_a_chain_and_its_end_have_a_way_of_their_own(valkey: Server) -> None:
    shard = shard_on(valkey)
    shard.put_run(new_run(shape_of(CHAIN, ["q0"])))
    loop = Loop(shard, ["q0"])
    valkey.ask("CONFIG", "RESETSTAT")
    answer = loop()
    while answer.grants:
        answer = loop(ended(answer.grants[0], payload=b"7"))
    assert called(valkey, "del", "zrange") == {"del": 1, "zrange": 1}, "for the first claim"


def test_the_lost_answer_to_a_link_is_given_again_and_nothing_done_twice(valkey: Server) -> None:
    shard = shard_on(valkey)
    run_id = shard.put_run(new_run(shape_of(CHAIN, ["q0"]))).run_id
    loop = Loop(shard, ["q0"])
    answer = loop()
    while answer.grants:
        settled = ended(answer.grants[0], payload=b"7")
        answer = loop(settled)
        stood = stands(shard, {run_id: CHAIN.size})
        again = loop.again(settled)
        assert [one[:5] for one in again.grants] == [one[:5] for one in answer.grants], "the fence included"
        assert [[end.payload for end in one.inputs] for one in again.grants] == [[b"7"]] * len(answer.grants)
        assert stands(shard, {run_id: CHAIN.size}) == stood
    assert course_of(shard, run_id)[ENDED]


def test_what_a_call_has_opened_is_none_of_the_next_one(valkey: Server) -> None:
    """A run has had its turn, as its last job makes others ready in two lanes at once, and nobody stands in line."""
    shard, length = shard_on(valkey), 32
    edges = [Edge(job, job + 1) for job in range(length)] + [Edge(length - 1, length + 1)]
    dag = Dag(("fail",) * (length + 2), tuple(edges))
    run = new_run(shape_of(dag, ["q0"], priority=[0] * (length + 1) + [1]))
    shard.put_run(run)
    loop = Loop(shard, ["q0"])
    granted: list[int] = []
    grants = loop(limit=1).grants
    while grants:
        (grant,) = grants
        granted.append(grant.job)
        answer = loop(ended(grant), limit=1)
        assert not answer.refused
        grants = answer.grants
        assert len(granted) < 100
    assert granted == list(range(length + 2))
