"""Random runs and random histories: whatever the shard does, the machine would have done, and both end up the same."""

from contextlib import closing
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.redis._connection import Link
from executors.redis._reopen import reopen
from executors.redis._shard import Shard
from executors.redis._wire import Granted, Outcome
from flows import _machine as machine
from flows import _reopening
from flows._state import COMPLETED, Commands
from flows._verbs import End
from tests.executors.redis.servers import VALKEY, installed, shared
from tests.executors.redis.shards import Followed, Loop, ended, records_of, shard_on
from tests.flows.naive_run import Dag, dags

FAST = settings(max_examples=max(12, settings().max_examples * 3 // 5))
ENDINGS = (
    *(End.COMPLETED, End.COMPLETED, End.COMPLETED, End.FAILED, End.RETRY, End.RETRY),
    *(End.SKIPPED, End.CANCELLED, End.RELEASED, End.LOST),
)

deeds = st.sampled_from(("work", "work", "work", "work", "claim", "late", "time", "die", "extend", "cancel"))
steps = st.tuples(deeds, st.integers(0, 1000), st.integers(0, 31))
LEFT_BEHIND = {"meta", "stops", "events", "ended", "queues"}


def outcome_of(followed: Followed, grant: Granted, pick: int) -> Outcome:
    """How an attempt ends; those of the library's own work in their own ways."""
    payload = b'{"of":%d,"at":%d}' % (grant.job, pick)
    if grant.job in followed.run.gated:
        end = (End.PASSED, End.PASSED, End.SKIPPED, End.FAILED, End.RELEASED)[pick % 5]
    else:
        end = ENDINGS[pick % len(ENDINGS)]
    if end in (End.RELEASED, End.PASSED):
        payload = b""
    if end is End.COMPLETED and pick % 3 == 0:
        payload = b""
    return ended(grant, end, payload, after=10.0 * (pick % 4 == 1), counted=pick % 7 != 0)


class History:
    """Deeds done to a run in a shard and in the machine."""

    def __init__(self, shard: Shard, dag: Dag, gated: int, delayed: int) -> None:
        self.shard = shard
        self.followed = Followed(self.shard, dag, gated=gated, delayed=delayed)
        self.loop = Loop(self.shard, ("q0", "q1", "flows:control"))

    def do(self, deed: str, pick: int, detail: int) -> None:
        followed = self.followed
        if deed in ("work", "claim", "late"):
            self.exchange(deed, pick, detail)
        elif deed == "time":
            followed.pass_time((1.0, 10.5)[detail % 2])
        elif deed == "die":
            followed.pass_time(31.0)
            self.rescue()
        elif deed == "extend":
            self.extend(pick)
        elif pick % 4 == 0:
            self.cancel()
        followed.compare()

    def exchange(self, deed: str, pick: int, detail: int) -> None:
        followed = self.followed
        held = [grant for grant, _ in followed.leases.values()]
        if deed == "finish":
            outcomes = [outcome_of(followed, grant, 0) for grant in held]
        else:
            outcomes = [outcome_of(followed, grant, pick + place) for place, grant in enumerate(held)]
            outcomes = outcomes[: 1 + detail % 4] if deed != "claim" else []
        if deed == "late":
            outcomes += [outcome_of(followed, grant, pick) for grant in followed.old[-2:]]
        limit, suspects = (1, 2, 64, 64)[pick % 4], detail % 3 != 0
        queues = ("q0", "q1", "flows:control") if detail % 5 else ("q0", "flows:control")
        answer = self.loop(*outcomes, limit=limit, suspects=suspects, queues=queues)
        if detail & 4:  # its reply was lost
            assert self.loop.again(*outcomes, limit=limit, suspects=suspects, queues=queues)._replace(headers={}) == (
                answer._replace(headers={})
            )
        refused = [place for place, outcome in enumerate(outcomes) if not followed.settle(outcome)]
        assert list(answer.refused) == refused
        followed._swept()
        followed.wake(queues)
        followed.claimed(answer, limit, queues, suspects)

    def rescue(self) -> None:
        followed = self.followed
        lost = [job for job, (_, until) in followed.leases.items() if until <= followed.clock]
        assert self.shard.rescue().taken == len(lost)
        while self.shard.sweep(followed.run_id):
            pass
        # In which order it took those that it settled is its own affair.
        ordinals = [record[15] for record in records_of(self.shard, followed.run_id, followed.dag.size)]
        order = sorted(lost, key=ordinals.__getitem__)
        for job in order:
            grant, _ = followed.leases.pop(job)
            followed.old.append(grant)
        self.followed_lost(order)

    def followed_lost(self, jobs: list[int]) -> None:
        out = Commands()
        for job in jobs:
            self.followed._lose(job, out, None)
        self.followed._note(out)
        self.followed._swept()

    def extend(self, pick: int) -> None:
        followed = self.followed
        held = [grant for grant, _ in followed.leases.values()][pick % 3 :]
        over = followed.old[-1:] if pick % 2 else []
        asked = [*held, *over]
        refused, stopped = self.shard.extend([(grant.run_id, grant.job, grant.fence) for grant in asked], 30_000_000)
        assert list(refused) == list(range(len(held), len(asked)))
        assert list(stopped) == (list(range(len(held))) if followed.run.cancelling else [])
        for grant in held:
            followed.leases[grant.job] = (grant, followed.clock + 30.0)

    def cancel(self) -> None:
        followed = self.followed
        assert self.shard.cancel(followed.run_id, "enough")
        if followed.run.open:
            machine.cancel(followed.run, Commands())
            followed.suspects &= {job for job in followed.suspects if followed.run.state[job] == 1}
        followed._swept()

    def finish(self) -> None:
        """The run must come to its end, whatever state it is in; and leave nothing behind."""
        followed = self.followed
        for _ in range(20 * followed.dag.size + 20):
            if not followed.run.open:
                break
            followed.pass_time(10.5)
            self.exchange("finish", 2, 31)
            followed.compare()
        assert not followed.run.open
        assert self.loop().grants == []

    def reopen(self, pick: int) -> None:
        """Begin again, with a job or with what failed."""
        followed, run = self.followed, self.followed.run
        own = {job for job in followed.payloads if run.state[job] != COMPLETED}
        job, anew = (None, False) if pick % 3 == 0 else (pick % followed.dag.size, True)
        if job is None:
            jobs = _reopening.harmed_by(run, _reopening.failures(run, followed.shape.roots, own), own)
        else:
            jobs, _ = _reopening.downstream(run, job)
        assert reopen(self.shard, followed.run_id, job, anew=anew) == bool(jobs)
        if jobs:
            out = Commands()
            for one in jobs:
                followed.payloads.pop(one, None)
            _reopening.reopen(run, jobs, followed.gates & jobs, out)
            followed._note(out)
            followed._swept()
        followed.compare()

    def clear(self) -> None:
        self.followed.pass_time(2e6)
        while self.shard.retire():
            pass
        self.shard.close_loop(self.loop.name)
        keys = self.shard.server.call("KEYS", "*")
        left = {key.decode().partition(":")[2].partition(":")[2] for key in keys}
        assert {name for name in left if not name.endswith(":wake")} <= LEFT_BEHIND


Steps = list[tuple[Any, ...]]


def follow(kind: str, dag: Dag, gated: int, delayed: int, chunk: int, history: Steps, again: Steps) -> None:
    server = shared(kind)
    server.ask("FLUSHALL")
    shard = shard_on(server, chunk=chunk)
    with closing(cast("Link", shard.server)):
        tell(History(shard, dag, gated & delayed & 0b10101, delayed & 0b1001001), history, again)


def tell(told: History, history: Steps, again: Steps) -> None:
    told.followed.compare()
    for step in history:
        told.do(*step)
    told.finish()
    for pick, *_ in again:
        told.reopen(pick)
        for step in history[:5]:
            told.do(*step)
        told.finish()
    told.clear()


told_of = given(
    dag=dags(),
    gated=st.integers(0, 511),
    delayed=st.integers(0, 511),
    chunk=st.sampled_from((500, 1, 3)),
    history=st.lists(steps, max_size=20),
    again=st.lists(st.tuples(st.integers(0, 1000)), max_size=2),
)


@FAST
@told_of
def test_the_shard_does_what_the_machine_says(**drawn: Any) -> None:
    follow(VALKEY, **drawn)


@pytest.mark.slow
@settings(max_examples=60)
@told_of
@pytest.mark.parametrize("kind", installed())
def test_so_it_does_on_each_kind_of_server(kind: str, **drawn: Any) -> None:
    follow(kind, **drawn)
