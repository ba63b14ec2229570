"""Reopening over random graphs and random ends, against its definition."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import _machine as machine
from flows import _reopening as reopening
from flows._state import (
    ACTIVE,
    CANCELLED,
    COMPLETED,
    FAILED,
    ORDER_ONLY,
    SHARED,
    SKIPPED,
    STATE_NAMES,
    WAITING_CHILDREN,
    Commands,
    RunState,
)
from tests.flows.naive_run import Dag, Edge, columns, dags

HARMS = ("failed", "skipped", "cancelled")
MANY = settings(max_examples=settings().max_examples * 6 // 5)


class Over:
    """A run that has ended somehow.

    Attributes:
        own: Jobs that ended with an error of their own.
    """

    def __init__(self, dag: Dag, seed: int) -> None:
        self.dag, self.run, self.own = dag, columns(dag), set[int]()
        machine.begin(self.run, Commands())
        self.play(random.Random(seed), 0.4)

    def play(self, chance: random.Random, failing: float) -> None:
        run = self.run
        machine.sweep(run, 1000, Commands())
        while waiting := [job for job, state in enumerate(run.state) if state < ACTIVE and state != WAITING_CHILDREN]:
            job = chance.choice(waiting)
            machine.grant(run, [job])
            end = chance.choice((FAILED, FAILED, CANCELLED)) if chance.random() < failing else COMPLETED
            if end == FAILED:
                self.own.add(job)
            run.made[job] = run.lost[job] = 1
            machine.settle(run, job, end, Commands())
            machine.sweep(run, 1000, Commands())
            if failing and chance.random() < 0.05:
                machine.cancel(run, Commands())
                machine.sweep(run, 1000, Commands())

    def says(self, child: int) -> list[tuple[int, str]]:
        """Dependent -> what the end of *child* says to it."""
        end = STATE_NAMES[self.run.state[child]]
        return [(edge.dependent, self.dag.says(edge, end)) for edge in self.dag.out_of(child)]

    def harmed(self, child: int) -> set[int]:
        spared = self.own | {job for job, state in enumerate(self.run.state) if state == COMPLETED}
        if child in spared - self.own:
            return set()
        return {dependent for dependent, word in self.says(child) if word in HARMS} - spared

    def counters(self) -> list[tuple[int, int, int, int, int]]:
        """What the counters of each job must be: a function of its children's states."""
        ended = [state >= COMPLETED for state in self.run.state]
        into: list[list[str]] = [[] for _ in ended]
        for child, over in enumerate(ended):
            for dependent, word in (
                self.says(child) if over else [(one.dependent, "") for one in self.dag.out_of(child)]
            ):
                into[dependent].append(word)
        return [tuple(words.count(word) for word in ("", *HARMS, "go")) for words in into]  # type: ignore[misc]

    def check_counters(self) -> None:
        run = self.run
        columns_of = (run.dooms, run.skips, run.cancels, run.conts)
        kept = [(run.pending[job], *(counts.get(job, 0) for counts in columns_of)) for job in range(run.size)]
        assert kept == self.counters()
        assert all(0 not in counts.values() for counts in columns_of)


overs = st.builds(Over, dags(), st.integers(0, 2**32))


@MANY
@given(overs, st.data())
def test_what_a_retry_begins_with_is_what_failed_by_itself_and_was_felt(over: Over, data: st.DataObject) -> None:
    run, size = over.run, over.dag.size
    roots = data.draw(st.sets(st.integers(0, size - 1), min_size=1))
    felt: set[int] = set()
    for job in reversed(range(size)):  # edges lead to higher numbers
        if (job in roots and run.state[job] != COMPLETED) or over.harmed(job) & felt:
            felt.add(job)
    expected = [job for job in range(size) if run.state[job] == CANCELLED or (job in over.own and job in felt)]
    assert reopening.failures(run, roots, over.own) == expected


@MANY
@given(overs, st.data())
def test_what_a_failure_has_harmed_is_done_again_and_nothing_that_completed(over: Over, data: st.DataObject) -> None:
    some = data.draw(st.sets(st.integers(0, over.dag.size - 1)))
    expected = set(some)
    for job in range(over.dag.size):
        if job in expected:
            assert set(reopening.harmed(over.run, job, over.own)) == over.harmed(job)
            expected |= over.harmed(job)
    assert reopening.harmed_by(over.run, some, over.own) == expected


@MANY
@given(overs, st.data())
def test_reopened_counters_and_causes_are_what_the_childrens_states_say(over: Over, data: st.DataObject) -> None:
    run, size = over.run, over.dag.size
    job = data.draw(st.integers(0, size - 1))
    rerun = data.draw(st.booleans())
    jobs = reopening.downstream(run, job)[0] if rerun else reopening.harmed_by(run, [job], over.own)
    gated = data.draw(st.sets(st.integers(0, size - 1)))
    told = {
        dependent: [(child, word) for child in range(size) for one, word in over.says(child) if one == dependent]
        for dependent in range(size)
    }
    before = dict(run.cause)
    reopening.reopen(run, jobs, gated, Commands())
    touched = {one for one in range(size) if any(child in jobs and word != "done" for child, word in told[one])}
    for one in range(size):
        if one not in touched | jobs:
            assert run.cause.get(one) == before.get(one)
            continue
        left = [(child, word) for child, word in told[one] if child not in jobs and word != "done"]
        dooms = [child for child, word in left if word == "failed"]
        assert run.cause.get(one) == next(iter(dooms + [child for child, _ in left]), None)
    assert not run.cancelling
    assert run.gated == gated & jobs
    assert all(run.ordinal[one] == 0 for one in jobs)
    assert not jobs & {*run.made, *run.lost}
    assert jobs & {*run.cut} <= {*run.conts}  # a dependency that stays failed releases them again, and at once
    assert run.open == sum(state < COMPLETED for state in run.state)
    machine.sweep(run, 1000, Commands())
    over.check_counters()


@MANY
@given(overs, st.integers(0, 1000), st.integers(0, 2**32))
def test_a_rerun_that_goes_well_ends_like_a_run_that_went_well_there(over: Over, pick: int, seed: int) -> None:
    run = over.run
    jobs, _ = reopening.downstream(run, pick % over.dag.size)
    before = bytes(run.state)
    reopening.reopen(run, jobs, (), Commands())
    over.play(random.Random(seed), 0.0)
    over.check_counters()
    assert run.open == 0
    assert all(now == was for job, (now, was) in enumerate(zip(run.state, before, strict=True)) if job not in jobs)


def test_reopened_jobs_are_taken_up_in_the_order_of_their_numbers() -> None:
    run = columns(Dag(("fail",) * 3, ()))
    machine.begin(run, Commands())
    machine.grant(run, range(3))
    machine.complete(run, range(3), 100, Commands())
    out = Commands()
    reopening.reopen(run, dict.fromkeys((2, 0, 1)), (), out)
    assert out.ready == [0, 1, 2]


def test_harm_and_reruns_reach_through_a_chain() -> None:
    chain = Dag(("fail",) * 4, tuple(Edge(job, job + 1) for job in range(3)))
    run = columns(chain)
    machine.begin(run, Commands())
    machine.grant(run, [0])
    machine.settle(run, 0, FAILED, Commands())
    machine.sweep(run, 100, Commands())
    assert reopening.harmed_by(run, [0], {0}) == {0, 1, 2, 3}
    assert reopening.failures(run, [3], {0}) == [0]
    assert reopening.failures(run, [3], {0, 2}) == [2], "what failed by itself was harmed by none"
    assert reopening.downstream(run, 1) == ({1, 2, 3}, set())


def over(dag: Dag, *ends: tuple[int, int]) -> RunState:
    """Each of these is granted when it waits, and ends so."""
    run = columns(dag)
    machine.begin(run, Commands())
    for job, end in ends:
        assert machine.grant(run, [job]) == [job]
        machine.settle(run, job, end, Commands())
        machine.sweep(run, 100, Commands())
    return run


def test_harm_passes_by_those_that_had_been_released() -> None:
    run = over(Dag(("continue", "fail", "fail", "fail"), (Edge(0, 2), Edge(1, 2), Edge(1, 3))), (0, FAILED))
    machine.grant(run, [2])
    machine.settle(run, 2, COMPLETED, Commands())
    machine.grant(run, [1])
    machine.settle(run, 1, FAILED, Commands())
    machine.sweep(run, 100, Commands())
    assert list(run.state) == [FAILED, FAILED, COMPLETED, FAILED]
    assert list(reopening.harmed(run, 1, {0, 1})) == [3], "the second of its dependents, as the first has completed"
    run.state[1] = WAITING_CHILDREN
    assert list(reopening.harmed(run, 1, {0, 1})) == [], "a row that is no job yet has harmed nothing"


def test_the_cause_is_the_first_of_those_that_are_left_and_a_failure_before_all() -> None:
    dag = Dag(
        ("fail", "skip", "fail", "fail", "continue", "fail", "fail", "fail"),
        (*(Edge(child, 6) for child in range(6)), Edge(2, 7), Edge(3, 7)),
    )
    run = over(dag, (0, COMPLETED), (1, FAILED), (3, FAILED), (2, FAILED), (5, CANCELLED), (4, FAILED))
    assert (run.cause[6], run.cause[7]) == (3, 3), "in the order in which they ended"
    reopening.reopen(run, {0, 6}, (), Commands())
    assert (run.cause[6], run.cause[7]) == (2, 3), "in that of their numbers, where it was looked for again"


def test_what_has_completed_loses_its_cause_with_the_job_that_was_it_and_others_keep_theirs() -> None:
    run = over(Dag(("continue", "fail", "fail"), (Edge(0, 2), Edge(1, 2))), (0, FAILED), (2, COMPLETED), (1, COMPLETED))
    assert run.cause == {2: 0}
    reopening.reopen(run, {0}, (), Commands())
    assert run.cause == {}
    dag = Dag(("skip", "skip", "fail", "fail"), (Edge(0, 3), Edge(1, 3), Edge(2, 3)))
    run = over(dag, (1, FAILED), (0, FAILED), (2, COMPLETED))
    reopening.reopen(run, {2}, (), Commands())
    assert run.cause == {3: 1}, "nothing that it had from the job was given back"


def test_a_job_that_skipped_itself_has_not_failed_whatever_it_said() -> None:
    run = over(Dag(("fail",), ()), (0, SKIPPED))
    assert reopening.failures(run, [0], {0}) == []


def listed(shared: int = ORDER_ONLY | SHARED) -> RunState:
    """Job 3 is a list of the items 1 and 2; job 0 made it; the items share job 4, which the list knows of."""
    return RunState(
        size=5,
        state=bytearray([COMPLETED] * 5),
        pending=[0] * 5,
        ordinal=[1, 2, 3, 4, 5],
        edges=[[3], [3], [3], [], [1, 2, 3]],
        effects={4: [0, 0, shared]},
        delays={},
        limits=[1] * 5,
    )


def test_a_list_is_expanded_anew_where_what_it_is_made_of_is_done_again() -> None:
    run, other = listed(), listed(ORDER_ONLY)
    for each in (run, other):
        each.lists[3], each.begun[3] = 2, 2
        each.item_of.update({1: 3, 2: 3})
    assert reopening.downstream(run, 0) == ({0, 3}, {3})
    assert reopening.downstream(run, 3) == ({3}, {3})
    assert reopening.downstream(run, 1) == ({1, 3}, set())
    assert reopening.downstream(run, 4) == ({4, 1, 2, 3}, set())
    assert reopening.downstream(other, 4) == ({4, 1, 2, 3}, {3})


def test_what_items_had_done_to_a_list_is_forgotten() -> None:
    run = listed()
    counters = (run.dooms, run.skips, run.cancels, run.conts, run.cause)
    kept = (*counters, run.cut, run.made, run.lost, run.lists, run.begun)
    for column in kept:
        column.update({3: 1, 2: 1})
    run.pending[3] = 2
    reopening.forget_items(run, 3)
    assert run.pending[3] == 0
    assert all(column == {2: 1} for column in kept)


@pytest.mark.parametrize(
    ("policy", "end"), [("fail", FAILED), ("skip", FAILED), ("fail", CANCELLED), ("fail", SKIPPED)]
)
def test_whoever_fails_skips_or_cancels_another_has_harmed_it(policy: str, end: int) -> None:
    run, out = columns(Dag((policy, "fail"), (Edge(0, 1),))), Commands()
    machine.begin(run, out)
    machine.grant(run, [0])
    machine.settle(run, 0, end, out)
    machine.sweep(run, 10, out)
    assert run.state[1] in (FAILED, SKIPPED, CANCELLED)
    assert list(reopening.harmed(run, 0, ())) == [1]
