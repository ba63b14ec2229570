"""Whatever is done to a store on a server and to the model in memory, each step is right and they stand alike."""

import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import flows
from executors._store import StaleCallError
from executors.redis._connection import Link
from executors.redis._url import parse
from flows._state import CONTROL_QUEUE
from flows._verbs import Want
from tests.executors.columns import plan_of
from tests.executors.redis.followed import KEPT, Followed
from tests.executors.redis.model import HOUR
from tests.executors.redis.servers import OLDEST, installed, shared
from tests.executors.scripted import random_dag
from tests.flows.naive_lists import flow_of, scope

QUEUES = ("default", "q0", "q1")
LEFT_BEHIND = {"meta", "stops", "events", "ended", "queues", "limits"}
OPEN_RUNS = 3

picks = st.integers(0, 1 << 16)
loops = st.sampled_from(("one", "two"))


class Following(RuleBasedStateMachine):
    """Workers, operators and time, at work on a few runs."""

    way: Callable[[], Any]

    @initialize(chunk=st.sampled_from((500, 1, 3)), inline=st.sampled_from((8192, 0)), seed=picks)
    def begin(self, chunk: int, inline: int, seed: int) -> None:
        self.followed = Followed(type(self).way(), chunk, inline)
        self.submit(seed)

    @precondition(lambda self: self.open_runs() < OPEN_RUNS)
    @rule(seed=picks)
    def submit(self, seed: int) -> None:
        """A flow of any shape; every other one has lists and conditions."""
        draw = random.Random(seed)
        # What fails and what is cancelled when the root fails is told apart by what had been swept: all, or a chunk.
        whole = self.followed.shard.chunk >= 500
        given = {"fail_fast": whole and draw.random() < 0.2, "timeout": draw.choice((None, None, None, 2500))}
        if draw.random() < 0.5:
            self.followed.put(flows.plan(flow_of(scope(draw))), **given)
            return
        limited = flows.Queue("q1", concurrency=draw.choice((None, None, 1, 2)))
        dag = random_dag(draw, 9)
        delay = draw.choice((0.0, 0.0, HOUR / 3))
        options = {"priority": draw.randrange(2), "lifo": draw.random() < 0.3, "attempts": draw.choice((1, 3))}
        self.followed.put(plan_of(dag, queues=["q0", limited], delay=delay, **options), **given)

    @rule(loop=loops, pick=picks, count=st.integers(0, 8), limit=st.sampled_from((64, 64, 1, 2, 0)), lost=st.booleans())
    def work(self, loop: str, pick: int, count: int, limit: int, lost: bool) -> None:
        """Some attempts end, and jobs are claimed; now and then the reply is lost, and the call comes again."""
        if pick % 8 == 0:
            self.followed.replace()
        self.exchange(loop, pick, count, limit, QUEUES, is_lost=lost and pick % 3 == 0)

    @rule(loop=loops, pick=picks)
    def finish_what_is_held(self, loop: str, pick: int) -> None:
        self.exchange(loop, pick, 64, 64, QUEUES)

    @rule(loop=loops, pick=picks, queue=st.sampled_from(QUEUES))
    def work_on_one_queue(self, loop: str, pick: int, queue: str) -> None:
        self.exchange(loop, pick, 1, 3, (queue,))

    @rule(pick=picks)
    def come_late(self, pick: int) -> None:
        """A copy of an older call; the result of an attempt that is over, or that others have taken over."""
        followed, want = self.followed, Want(0, queues=frozenset(QUEUES))
        if followed.seqs["one"] > 1:
            with pytest.raises(StaleCallError):
                followed.store.exchange("one", followed.seqs["one"] - 1, (), want)
        for both in followed.past[pick % 10 :][:1]:
            if not both[1].control:
                followed.exchange("one", [followed.settles(both, pick)], want)

    @rule(part=st.sampled_from((0.1, 0.35, 0.5)))
    def pass_time(self, part: float) -> None:
        self.followed.pass_time(round(part * HOUR))

    @rule()
    def lose_workers(self) -> None:
        self.followed.pass_time(HOUR + 10)
        self.followed.rescue()

    @rule()
    def rescue(self) -> None:
        self.followed.rescue()

    @rule(pick=picks)
    def extend(self, pick: int) -> None:
        self.followed.extend(pick)

    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        runs = [run for run in self.followed.runs.values() if pick % 3 or not run.memory.ended]
        if runs:
            self.followed.cancel(runs[pick % len(runs)])

    @rule(pick=picks, anew=st.booleans(), named=st.booleans())
    def reopen(self, pick: int, anew: bool, named: bool) -> None:
        """Retry or rerun a run, ended or not, from the beginning or from a job."""
        runs = [run for run in self.followed.runs.values() if run.memory.ended or pick % 7 == 0]
        if runs and self.open_runs() <= OPEN_RUNS:
            run = runs[pick % len(runs)]
            names = [name for job, name in enumerate(run.memory.plan.ids) if job not in run.memory.plan.gone]
            named = named or anew
            self.followed.reopen(run, names[pick // 7 % len(names)] if named else None, anew=anew and named)

    @rule(queue=st.sampled_from(("q0", "q1")), paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        self.followed.pause(queue, paused=paused)

    @invariant()
    def they_stand_alike(self) -> None:
        self.followed.compare()

    def teardown(self) -> None:
        """All runs come to their end, whatever state they are in; and leave nothing behind."""
        followed = self.followed
        try:
            if sys.exc_info()[0] is None:
                self.finish()
                self.clear()
        finally:
            followed.close()

    def clear(self) -> None:
        followed = self.followed
        followed.pass_time(2 * KEPT)
        while followed.shard.retire():
            pass
        for loop in followed.seqs:
            followed.shard.close_loop(loop)
        keys = followed.link.call("KEYS", "*")
        left = {key.decode().partition(":")[2].partition(":")[2] for key in keys}
        assert {name for name in left if not name.endswith(":wake")} <= LEFT_BEHIND

    def finish(self) -> None:
        followed = self.followed
        for queue in QUEUES:
            followed.pause(queue, paused=False)
        for _ in range(500):
            if not self.open_runs():
                return
            followed.pass_time(HOUR / 2)
            followed.extend(0)
            self.exchange("one", 0, 64, 64, QUEUES)
            followed.compare()
        raise AssertionError("they do not end")

    def exchange(
        self, loop: str, pick: int, count: int, limit: int, queues: tuple[str, ...], *, is_lost: bool = False
    ) -> None:
        followed = self.followed
        held = list(followed.held.items())
        chosen = held[pick % (len(held) or 1) :][:count]
        settles = [followed.settles((theirs, ours), pick + place) for place, (ours, theirs) in enumerate(chosen)]
        suspects = not any(ours.suspect for ours in followed.held if ours not in [one for one, _ in chosen])
        want = Want(limit, queues=self.queues(queues), suspects=suspects, at_once=limit)
        followed.exchange(loop, settles, want, is_lost=is_lost)
        followed.past += [(theirs, ours) for ours, theirs in chosen]
        del followed.past[:-10]

    def open_runs(self) -> int:
        return sum(not run.memory.ended for run in self.followed.runs.values())

    @staticmethod
    def queues(queues: tuple[str, ...]) -> frozenset[str]:
        return frozenset({*queues, CONTROL_QUEUE})


def follow(kind: str, **options: Any) -> None:
    machine = type("Following", (Following,), {"way": staticmethod(lambda: Link(parse(shared(kind).url)))})
    given = settings(deadline=None, suppress_health_check=list(HealthCheck), report_multiple_bugs=False, **options)
    run_state_machine_as_test(machine, settings=given)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", installed())
def test_the_store_does_what_the_model_says(kind: str) -> None:
    few, many = (10, 10) if settings().max_examples < 50 else (60, 300)
    follow(kind, max_examples=few if kind == OLDEST else many, stateful_step_count=50)
