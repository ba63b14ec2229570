"""The machine over random graphs and random histories, against its definition and against a naive interpreter."""

import copy
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows import _machine as machine
from flows import _state
from flows._state import ACTIVE, COMPLETED, DELAYED, STATE_NAMES, WAITING, WAITING_CHILDREN, Commands, Retry, RunState
from tests.flows.naive_run import ENDS, Dag, NaiveRun, columns, dags, names_of

ALL = sys.maxsize
CODES = {name: code for code, name in enumerate(STATE_NAMES)}

MANY = settings(max_examples=2 * settings().max_examples)

# Each step: what to do, which of the jobs that it can be done to, and a detail.
deeds = st.sampled_from(
    ("grant", "grant", "grant", "end", "end", "end", "retry", "release", "lose", "wake", "sweep", "cancel")
)
steps = st.tuples(deeds, st.integers(0, 1000), st.integers(0, 7))
histories = st.lists(steps, max_size=60)


class Driven:
    """A run in the machine, with a diary of what it asked for, checked after every step."""

    def __init__(self, dag: Dag, *, delayed: int = 0, limits: list[int] | None = None) -> None:
        self.dag = dag
        self.run = columns(dag, limits=limits, delays={job: 1.0 for job in range(dag.size) if delayed >> job & 1})
        self.released: list[int] = []
        self.ended: list[int] = []
        self.made = [0] * dag.size
        self.lost = [0] * dag.size
        out = Commands()
        machine.begin(self.run, out)
        self.note(out, list(self.run.state), released=True)

    def jobs(self, *states: int) -> list[int]:
        return [job for job, now in enumerate(self.run.state) if now in states]

    def note(self, out: Commands, before: list[int], *, released: bool = False) -> None:
        """Take down what the machine asked for and check that each wish fits what became of the job."""
        now = list(self.run.state)
        for job in out.ended:
            assert now[job] >= COMPLETED
            assert job not in self.ended, "a job ended twice"
            self.ended.append(job)
        for job in [*out.ready, *(job for job, _ in out.delayed)]:
            assert now[job] in (WAITING, DELAYED)
            if released or before[job] == WAITING_CHILDREN:
                assert job not in self.released, "a job was released twice"
                self.released.append(job)
                self.check_release(job)
        for was, is_ in zip(before, now, strict=True):
            assert was < COMPLETED or was == is_, "a terminal state changed"
            assert was == WAITING_CHILDREN or is_ != WAITING_CHILDREN
        assert self.run.open == sum(state < COMPLETED for state in now)
        assert sorted(self.ended) == [job for job, state in enumerate(now) if state >= COMPLETED]

    def check_release(self, job: int) -> None:
        """Released: nothing that has been swept is against it, and all its children have ended or one says to go."""
        told = [
            self.dag.says(edge, STATE_NAMES[self.run.state[edge.child]])
            for edge in self.dag.into(job)
            if self.run.state[edge.child] >= COMPLETED and self.run.ordinal[edge.child]
        ]
        waits = [edge.child for edge in self.dag.into(job) if self.run.state[edge.child] < COMPLETED]
        assert not {"failed", "cancelled"} & set(told)
        assert "go" in told or not waits
        assert "go" in told or "skipped" not in told

    def do(self, deed: str, pick: int, detail: int) -> None:
        """One step, if there is a job that it can be done to."""
        run, out, before = self.run, Commands(), list(self.run.state)
        if deed == "sweep":
            machine.sweep(run, detail + 1, out)
        elif deed == "cancel":
            if pick % 4 == 0:
                first = not run.cancelling
                machine.cancel(run, out)
                assert out.interrupt == [job for job, state in enumerate(before) if first and state == ACTIVE]
        else:
            able = self.jobs({"grant": WAITING, "wake": DELAYED}.get(deed, ACTIVE))
            if able:
                self.do_to(able[pick % len(able)], deed, detail, out)
        self.note(out, before)

    def do_to(self, job: int, deed: str, detail: int, out: Commands) -> None:
        run = self.run
        if deed == "grant":
            assert machine.grant(run, (job,)) == [job]
        elif deed == "wake":
            machine.wake(run, job, out)
            assert run.state[job] == WAITING
        elif deed == "end":
            machine.settle(run, job, COMPLETED + detail % 4, out)
        elif deed == "release":
            machine.release(run, job, out, float(detail % 2))
            assert run.state[job] == (_state.CANCELLED if run.cancelling else DELAYED if detail % 2 else WAITING)
        else:
            self.try_again(job, deed, detail, out)

    def try_again(self, job: int, deed: str, detail: int, out: Commands) -> None:
        run = self.run
        if deed == "lose":
            self.lost[job] += 1
            again, spent = machine.lose(run, job, out), self.lost[job] >= 3
        else:
            counted = bool(detail & 2)
            self.made[job] += counted
            again = machine.retry(run, job, Retry(float(detail & 1), counted), out)
            spent = counted and self.made[job] >= run.limits[job]
        assert again == (not spent and not run.cancelling)
        assert again == (run.state[job] in (WAITING, DELAYED))
        assert spent == (run.state[job] == _state.FAILED)

    def sweep_all(self) -> None:
        out, before = Commands(), list(self.run.state)
        assert not machine.sweep(self.run, ALL, out)
        self.note(out, before)
        self.check_counters()

    def check_counters(self) -> None:
        """After a full sweep the counters are what the children's states say."""
        run = self.run
        for job in range(self.dag.size):
            ends = [(edge, STATE_NAMES[run.state[edge.child]]) for edge in self.dag.into(job)]
            told = [self.dag.says(edge, end) for edge, end in ends if end in ENDS]
            assert run.pending[job] == sum(end not in ENDS for _, end in ends)
            assert run.dooms.get(job, 0) == told.count("failed")
            assert run.skips.get(job, 0) == told.count("skipped")
            assert run.cancels.get(job, 0) == told.count("cancelled")
            assert run.conts.get(job, 0) == told.count("go")
            if run.state[job] == WAITING_CHILDREN:
                assert run.pending[job], "waits for children that have all ended"

    def finish(self, pick: int) -> None:
        """Work the run off, whatever state it is in; it must come to its end."""
        for _ in range(10 * self.dag.size + 10):
            self.sweep_all()
            if not self.run.open:
                return
            assert self.jobs(WAITING, DELAYED, ACTIVE), "open jobs, but none that anything could still happen to"
            for deed in ("wake", "grant", "end"):
                self.do(deed, pick, 0)
        raise AssertionError("the run does not end")


@MANY
@given(dags(), histories, st.integers(0, 511), st.integers(0, 1000))
def test_counters_are_a_pure_function_of_the_childrens_states_and_every_run_ends(
    dag: Dag, history: list[tuple[str, int, int]], delayed: int, pick: int
) -> None:
    driven = Driven(dag, delayed=delayed)
    for number, step in enumerate(history):
        driven.do(*step)
        if number % 3 == pick % 3:
            driven.sweep_all()
    driven.finish(pick)
    assert len(driven.released) == len(set(driven.released))


@MANY
@given(dags(), histories, st.integers(0, 1000))
def test_each_settle_swept_whole_gives_the_states_and_inputs_of_the_naive_interpreter(
    dag: Dag, history: list[tuple[str, int, int]], pick: int
) -> None:
    driven, naive = Driven(dag), NaiveRun(dag)

    def agree() -> None:
        driven.sweep_all()
        assert names_of(driven.run) == naive.states
        assert set(naive.inputs) == set(driven.released)
        for job, inputs in naive.inputs.items():
            children = sorted({edge.child for edge in dag.into(job)})
            assert frozenset(machine.inputs_of(driven.run, job, children)) == inputs

    def follow(deed: str, before: list[int]) -> None:
        if deed == "cancel" and driven.run.cancelling:
            naive.cancel(job for job, state in enumerate(before) if state == ACTIVE)
        for job, state in enumerate(before):
            if state == ACTIVE and driven.run.state[job] >= COMPLETED:
                naive.settle(job, STATE_NAMES[driven.run.state[job]])

    finale = [("wake", 0, 0), ("grant", pick, 0), ("end", pick, 0), ("sweep", 1, 0)] * (4 * dag.size)
    for deed, which, detail in [*history, *finale]:
        if deed == "cancel":
            agree()  # what a cancel meets depends on what has been swept
        before = list(driven.run.state)
        driven.do(deed, which, detail)
        follow(deed, before)
        if which % 2:
            agree()
    agree()
    assert not driven.run.open


def played(dag: Dag, bursts: list[list[tuple[int, int]]], chunk: int) -> tuple[object, ...]:
    """The columns after bursts of settles, swept a chunk between two settles and wholly after each burst."""
    run, ready = columns(dag), Commands()
    machine.begin(run, ready)
    for burst in bursts:
        machine.grant(run, [job for job, state in enumerate(run.state) if state == WAITING])
        for pick, end in burst:
            active = [job for job, state in enumerate(run.state) if state == ACTIVE]
            if active:
                machine.settle(run, active[pick % len(active)], end, ready)
                machine.sweep(run, chunk, ready)
        while machine.sweep(run, chunk, ready):
            pass
    return bytes(run.state), list(run.ordinal), run.cut, run.cause, list(run.pending), ready.ready, run.turn, run.open


bursts_of_ends = st.lists(
    st.lists(st.tuples(st.integers(0, 100), st.sampled_from([CODES[end] for end in ENDS])), max_size=5), max_size=6
)


@MANY
@given(dags(max_jobs=12), bursts_of_ends)
def test_the_chunk_size_of_the_sweep_changes_nothing(dag: Dag, bursts: list[list[tuple[int, int]]]) -> None:
    whole = played(dag, bursts, ALL)
    for chunk in (1, 3, 500):
        assert played(dag, bursts, chunk) == whole


def all_of(run: RunState) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value := getattr(run, name), (bytearray, list)) else value
        for name in RunState.__slots__
        if name not in ("edges", "effects", "delays", "limits", "position")  # it means nothing between two jobs
    }


@MANY
@given(
    dags(),
    histories,
    st.lists(st.integers(0, 100), max_size=8),
    st.sampled_from([1, 2, 3, ALL]),
    st.booleans(),
)
def test_completing_a_batch_is_settling_each_and_sweeping(
    dag: Dag, history: list[tuple[str, int, int]], picks: list[int], limit: int, swept: bool
) -> None:
    driven = Driven(dag)
    for step in history:
        driven.do(*step)
    if swept:
        driven.sweep_all()
    fast, slow = driven.run, copy.deepcopy(driven.run)
    active = driven.jobs(ACTIVE)
    batch = [active[pick % len(active)] for pick in picks] if active else []  # the same job twice at times
    fast_out, slow_out = Commands(), Commands()
    left = machine.complete(fast, batch, limit, fast_out)
    assert left == bool(fast.cascade or fast.later or fast.sweeping >= 0)
    machine.sweep(fast, ALL, fast_out)
    for job in dict.fromkeys(batch):
        machine.settle(slow, job, COMPLETED, slow_out)
    machine.sweep(slow, ALL, slow_out)
    assert all_of(fast) == all_of(slow)
    for name in ("ready", "delayed", "ended", "interrupt"):
        assert getattr(fast_out, name) == getattr(slow_out, name)


@MANY
@given(dags(), histories, st.integers(0, 511))
def test_a_follower_is_the_one_job_that_a_completion_would_release(
    dag: Dag, history: list[tuple[str, int, int]], delayed: int
) -> None:
    driven = Driven(dag, delayed=delayed)
    for step in history:
        driven.do(*step)
        driven.sweep_all()
        for job in range(dag.size):
            follower = machine.follower(driven.run, job)
            if follower < 0:
                continue
            trial, out = copy.deepcopy(driven.run), Commands()
            machine.settle(trial, job, COMPLETED, out)
            machine.sweep(trial, ALL, out)
            assert (out.ended, out.ready, out.delayed) == ([job], [follower], [])
            assert machine.grant(trial, out.ready) == [follower]
            short = copy.deepcopy(driven.run)
            machine.hand_on(short, job, follower)
            assert all_of(short) == all_of(trial)


@pytest.mark.slow
@settings(max_examples=2000)
@given(dags(max_jobs=14), histories, st.integers(0, 511), st.integers(0, 1000))
def test_thousands_of_larger_histories(dag: Dag, history: list[tuple[str, int, int]], delayed: int, pick: int) -> None:
    driven = Driven(dag, delayed=delayed)
    for number, step in enumerate(history):
        driven.do(*step)
        if number % 5 == pick % 5:
            driven.sweep_all()
    driven.finish(pick)
