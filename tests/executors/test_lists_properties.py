"""Random flows with lists and conditions on the store, against recursive evaluation; retries and reruns of them."""

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from executors.memory import MemoryStore
from flows._control import control
from flows._handlers import _inputs
from flows._idempotency import job_key
from flows._state import COMPLETED
from flows._verbs import End, Grant
from flows.errors import Failed
from tests.executors.columns import Caller, Clock, check_counters, done, other, put_lists
from tests.flows.naive_lists import FAILED, Naive, Outcome, Step, flow_of, scopes

MANY = settings(max_examples=settings().max_examples * 6 // 5, suppress_health_check=[HealthCheck.too_slow])
CHUNKS = (1, 3, 500, 10**9)


def shown(value: Any) -> Any:
    """With a word in the place of each `Failed`."""
    if isinstance(value, Failed):
        return FAILED
    return [shown(item) for item in value] if isinstance(value, list) else value


class Luck:
    """How handlers end: by the seed, the job and the round alone, so that it is the same whoever asks when."""

    def __init__(self, seed: int, harm: int) -> None:
        self.seed = seed
        self.harms = [0, harm]
        self.rounds: dict[str, int] = {}
        """The round in which a job last ran."""

    @property
    def round(self) -> int:
        """The number of the latest round: 1, then one more for each reopening."""
        return len(self.harms) - 1

    def __call__(self, job: str) -> tuple[str, Any]:
        number = self.rounds.get(job, self.round)
        drawn = random.Random(f"{self.seed} {job} {number}")
        if drawn.randrange(100) < self.harms[number]:
            return drawn.choice(["failed", "failed", "skipped"]), None
        # Of any such value a list can be made; of a part of it, at times.
        sizes = [drawn.randrange(3) for _ in range(drawn.randrange(4))]
        return "completed", [tuple(f"{job}/{n}" * drawn.randrange(2) for n in range(size)) for size in sizes]


class Played:
    """A run worked off in one thread, in an order drawn from the seed; checked as it goes."""

    def __init__(self, steps: list[Step], *, seed: int, harm: int, chunk: int) -> None:
        self.steps = steps
        self.luck = Luck(seed, harm)
        self.store = MemoryStore(clock=Clock(), epoch=0.0, chunk=chunk)
        self.run = put_lists(self.store, flow_of(steps))
        self.call = Caller(self.store)
        self.order = random.Random(seed)
        self.active: list[Grant] = []
        self.inputs: dict[str, Any] = {}
        self.ran: list[str] = []
        self.keys: dict[str, str] = {}
        self.kept: dict[str, Any] = {}
        """Values of jobs that had completed before the last retry, which takes no other value from them."""

    def play(self, steps: int = 100_000) -> None:
        """Until the run has ended, or for so many settles; the sweep is let finish before each claim."""
        settles: list[Any] = []
        while not self.run.ended and steps:
            self.claim(settles)
            if self.run.ended:
                break
            assert self.active, f"nothing to do: {self.states()}"
            grant = self.active.pop(self.order.randrange(len(self.active)))
            settles = [self.end(grant)]
            steps -= 1
        self.claim(settles)

    def claim(self, settles: list[Any]) -> None:
        while settles or not self.run.ended:
            self.call(*settles, limit=0)
            while self.run in self.store._unswept:
                self.call(limit=0)
            settles = []
            for grant in self.call(limit=10**6).grants:
                if grant.control:
                    settles.append(control(grant, self.store.clock))
                else:
                    self.start(grant)
            if not settles:
                break

    def start(self, grant: Grant) -> None:
        run, job = self.run, self.run.plan.ids[grant.job]
        args, kwargs = _inputs(grant, run.handlers[grant.job])
        (taken,) = [*args, *kwargs.values()]
        self.inputs[job] = shown([taken] if run.plan.names[grant.job] == "lone" else taken)
        self.ran.append(job)
        assert self.keys.setdefault(job, job_key(run, grant.job)) == f"run/{job}"
        self.luck.rounds[job] = self.luck.round
        self.active.append(grant)

    def end(self, grant: Grant) -> Any:
        if self.run.state.cancelling:
            return other(grant, End.CANCELLED)
        end, value = self.luck(self.run.plan.ids[grant.job])
        if end == "completed":
            return done(grant, value)
        return other(grant, End.FAILED if end == "failed" else End.SKIPPED)

    def live(self) -> list[int]:
        return [job for job in range(len(self.run.plan)) if job not in self.run.plan.gone]

    def states(self) -> dict[str, str]:
        return {self.run.plan.ids[job]: self.run.state_of(job) for job in self.live()}

    def values(self) -> dict[str, Any]:
        completed = [job for job in self.live() if self.run.state.state[job] == COMPLETED]
        return {self.run.plan.ids[job]: shown(self.run.value_of(job)) for job in completed}

    def evaluated(self, start: str = "") -> dict[str, Outcome]:
        return Naive(self.steps, self.luck, start, self.kept).seen

    def check(self, start: str = "") -> dict[str, Outcome]:
        """All that has ended has ended as the definition says; what never began stood in a list that failed."""
        assert self.run.ended
        assert not self.run.state.open
        told, states, values = self.evaluated(start), self.states(), self.values()
        assert states == {job: told[job].state for job in states}
        assert values == {job: shown(told[job].value) for job in values}
        for job in set(told) - set(states):
            index = job[job.index("[") :]
            around = [index[:place] for place in range(len(index)) if index[place] == "["]
            assert any(told[one].state != "completed" for one in told if one[len(one.split("[")[0]) :] in around)
        self.check_counters()
        return told

    def check_counters(self) -> None:
        while self.run in self.store._unswept:
            self.call(limit=0)
        check_counters(self.run)


seeds = st.integers(0, 10**6)


@MANY
@given(scopes(), seeds, st.sampled_from([0, 10, 30]))
def test_flows_with_lists_mean_what_recursive_evaluation_says_whatever_the_chunk(
    steps: list[Step], seed: int, harm: int
) -> None:
    played = [Played(steps, seed=seed, harm=harm, chunk=chunk) for chunk in CHUNKS]
    for one in played:
        one.play()
        told = one.check()
        assert one.inputs == {job: shown(told[job].inputs) for job in one.inputs}
        assert len(one.ran) == len(set(one.ran))


@MANY
@given(scopes(), seeds, st.sampled_from([10, 30, 60]), st.sampled_from([0, 30]), st.sampled_from(CHUNKS))
def test_a_retry_runs_nothing_that_had_completed_and_leaves_nothing_undone(
    steps: list[Step], seed: int, harm: int, later: int, chunk: int
) -> None:
    played = Played(steps, seed=seed, harm=harm, chunk=chunk)
    played.play()
    played.check()
    for _ in range(2):
        before = played.states()
        _again(played, None, anew=False, harm=later)
        assert not {job for job in played.ran if before.get(job) == "completed"}
        assert {job for job, state in played.states().items() if state == "completed"} >= {
            job for job, state in before.items() if state == "completed"
        }
        played.check()


@pytest.mark.slow
@MANY
@given(scopes(), seeds, st.sampled_from([0, 20]), st.data(), st.sampled_from(CHUNKS))
def test_a_rerun_runs_the_job_and_what_follows_and_nothing_else(
    steps: list[Step], seed: int, harm: int, data: st.DataObject, chunk: int
) -> None:
    played = Played(steps, seed=seed, harm=harm, chunk=chunk)
    played.play()
    for _ in range(3):
        before = played.states()
        start = data.draw(st.sampled_from(sorted(before)))
        _again(played, start, anew=True, harm=harm)
        told = played.check(start)
        states = played.states()
        runnable = {job for job in states if told[job].inputs is not None}
        assert len(played.ran) == len(set(played.ran))
        assert {job for job in runnable if told[job].below} <= set(played.ran)
        assert all(told[job].below or job not in before for job in played.ran)


@pytest.mark.slow
@MANY
@given(scopes(), seeds, st.sampled_from([0, 20]), st.integers(0, 12), st.booleans(), st.sampled_from(CHUNKS))
def test_a_run_cancelled_at_any_moment_ends_and_a_retry_finishes_it(
    steps: list[Step], seed: int, harm: int, moment: int, midway: bool, chunk: int
) -> None:
    played = Played(steps, seed=seed, harm=harm, chunk=chunk)
    played.play(moment)
    if midway and played.active:
        played.call(played.end(played.active.pop()), limit=0)  # with edges left to sweep
    played.store.cancel(played.run, "chosen")
    played.play()
    assert played.run.ended
    played.check_counters()
    before = played.states()
    _again(played, None, anew=False, harm=0)
    assert not {job for job in played.ran if before.get(job) == "completed"}
    played.check()


def _again(played: Played, start: str | None, *, anew: bool, harm: int) -> None:
    played.luck.harms.append(harm)
    played.ran.clear()
    position = None if start is None else played.live()[list(played.states()).index(start)]
    played.kept = {} if anew else played.values()
    played.store.reopen(played.run, position, anew=anew)
    played.play()
