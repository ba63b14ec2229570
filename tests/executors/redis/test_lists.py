"""Lists in a shard: items become jobs as the dictionary store has them, number for number."""

import itertools
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from executors._stored import pack, writing
from executors.redis import _moulds
from executors.redis._connection import Link
from executors.redis._keys import Keys
from executors.redis._layout import EXTRA, SPARSE, name_of
from executors.redis._shard import Shard
from executors.redis._store import RedisStore
from executors.redis._url import parse
from flows._control import control
from flows._handlers import perform
from flows._verbs import Grant, Settle, Want
from flows.executor import RunOptions
from tests.executors.redis.servers import VALKEY, Server, shared
from tests.executors.redis.shards import abandon, course_of, forget, records_of
from tests.executors.shelf import Shelf, inside
from tests.executors.test_stored_runs import LUCK, _luck
from tests.flows.naive_lists import flow_of, listed, lone, scopes

write_perform, write_control = inside(writing(perform)), writing(control)
numbers = itertools.count(1)


class Beside:
    """A run in a shard, and the same on a shelf: each job is performed once, and settled in both."""

    def __init__(self, server: Server, flow: flows.Flow[Any], seed: int, chunk: int, inline: int) -> None:
        self.link = Link(parse(server.url))
        shard = Shard(self.link, Keys("test"), chunk=chunk, inline=inline)
        self.store = RedisStore(self.link, "test", shard=shard)
        self.run_id = f"list{next(numbers)}"
        packed = pack(flows.plan(flow), RunOptions(self.run_id, None, self.run_id, keep=0.0, keep_failed=0.0))
        self.shelf = Shelf(packed)
        assert self.store.put_run(packed).run_id == self.run_id
        self.order, self.seq = random.Random(seed), 0
        self.active: dict[int, Grant] = {}

    def exchange(self, *settles: Settle) -> list[Grant]:
        self.seq += 1
        want = Want(100, queues=frozenset(("default", "flows:control")))
        reply = self.store.exchange("loop", self.seq, settles, want, "w")
        assert not reply.refused
        return list(reply.grants)

    def claim(self, *settles: Settle) -> None:
        granted = self.exchange(*settles)
        while self.store.shard.sweep(self.run_id):
            pass
        more = self.exchange()
        while more:
            granted += more
            more = self.exchange()
        ours = {grant.job: grant for grant in granted}
        theirs = {grant.job: grant for grant in self.shelf.claim()}
        assert ours.keys() == theirs.keys()
        for job, grant in ours.items():
            other = theirs[job]
            assert grant.control == other.control
            assert grant.attempt == other.attempt
            assert grant.run.plan.ids[job] == self.shelf.id_of(job)
            mine, its = list(grant.run.inputs), list(other.run.inputs)  # type: ignore[attr-defined]
            assert [one[:2] for one in mine] == [one[:2] for one in its]
            assert [one.payload for one in mine] == [one.payload for one in its]
            self.active[job] = grant
        self.compare()

    def play(self) -> None:
        self.claim()
        while self.shelf.state.open:
            job = self.order.choice(sorted(self.active))
            grant = self.active.pop(job)
            take = write_control if grant.control else write_perform
            settle = take(grant, self.store.clock)
            self.shelf.settle(settle)
            self.claim(settle)

    def compare(self) -> None:
        state = self.shelf.state
        records = records_of(self.store.shard, self.run_id, state.size)
        records += [(0,) * 21] * (state.size - len(records))
        for job, record in enumerate(records):
            if job >= self.store_own and not record[2] & 128:
                assert job not in self.shelf.place
                continue
            said = (record[9], record[14], record[15])
            assert said == (state.state[job], state.pending[job], state.ordinal[job]), job
            assert record[12] or record[16:] == (0.0, 0, 0, 0.0, 0.0), "of what nobody has begun nothing is known"
        course = course_of(self.store.shard, self.run_id)
        assert (course[0], course[1], course[2]) == (state.open, state.turn, state.size)
        key = self.store.shard.keys.run(self.run_id, "x")
        for job, record in enumerate(records):
            if record[10] & SPARSE:
                extra = EXTRA.unpack(self.link.call("HGET", key, name_of(job)))
                meant = [column.get(job, 0) for column in (state.dooms, state.skips, state.cancels, state.conts)]
                assert list(extra[:4]) == meant
                assert (extra[4], extra[6]) == (state.cause.get(job, -1), state.cut.get(job, 0))
                assert extra[7] == state.lists.get(job, -1)
                assert extra[8] == state.begun.get(job, 0)

    @property
    def store_own(self) -> int:
        return len(self.shelf.packed.rows)


@pytest.fixture(autouse=True)
def _lucky(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "fn", lambda values: _luck(values))
    monkeypatch.setattr(lone, "fn", lambda value: _luck(value))


@pytest.mark.slow
@settings(
    max_examples=settings().max_examples * 3 // 5,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    scopes(),
    st.integers(0, 1000),
    st.sampled_from([0, 15, 40]),
    st.sampled_from((500, 1, 3)),
    st.sampled_from((8192, 0)),
    st.sampled_from((200, 1)),
)
def test_items_become_jobs_and_end_as_on_the_shelf(
    steps: Any, seed: int, harm: int, chunk: int, inline: int, stowed: int
) -> None:
    LUCK.update(seed=seed, harm=harm)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_moulds, "AT_ONCE", stowed)
        beside_the_shelf(steps, seed, chunk, inline)


def beside_the_shelf(steps: Any, seed: int, chunk: int, inline: int) -> None:
    server = shared(VALKEY)
    server.ask("FLUSHALL")
    beside = Beside(server, flow_of(steps), seed, chunk, inline)
    try:
        beside.play()
        forget(beside.store.shard)
        assert not [key for key in beside.link.call("KEYS", "*") if b":r:" in key or b":j:" in key]
    finally:
        abandon(beside.store)
        beside.link.close()
