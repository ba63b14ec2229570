"""Lists, conditions, cancels, retries and reruns in a file: step by step as the store in memory, which is the model."""

import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flows
from executors._stored import written
from flows._control import control
from flows._handlers import _inputs
from flows._state import STATE_NAMES
from flows._verbs import End, Grant, Reply, Settle, Want
from flows.errors import RunError
from tests.executors.columns import Clock, other
from tests.executors.sqlite_runs import Numbered, packed_of, store_at
from tests.executors.test_lists_properties import Luck, Played, seeds, shown
from tests.flows.naive_lists import Naive, Step, flow_of, scope, scopes

COUNTERS = ("pending", "dooms", "skips", "cancels", "conts", "made")


class Beside(Played):
    """A run in memory, and the same in a file, to which the same is done."""

    def __init__(self, path: Path, steps: list[Step], *, seed: int, harm: int) -> None:
        super().__init__(steps, seed=seed, harm=harm, chunk=10**9)
        self.path = path
        self.seq = 0
        self.held: dict[str, Grant] = {}
        self.sent: dict[Settle, Settle] = {}
        self.file = self.opened()
        number = self.file.put_run(packed_of(flows.plan(flow_of(steps)))).number
        assert number is not None
        self.number = Numbered(number)
        self.compare()

    def opened(self) -> Any:
        return store_at(self.path, self.store.clock)

    def claim(self, settles: Sequence[Settle]) -> None:
        while settles or not self.run.ended:
            self.exchange(settles, 0)
            first, second = self.exchange([], 10**6)
            names = [self.run.plan.ids[grant.job] for grant in first.grants]
            ids = self.ids([grant.job for grant in second.grants])
            assert sorted(ids) == sorted(names)
            self.held.update(zip(ids, second.grants, strict=True))
            settles = []
            for name, grant in zip(names, first.grants, strict=True):
                assert grant.control == self.held[name].control
                if grant.control:
                    settles.append(control(grant, self.store.clock))
                else:
                    self.start(grant)
                    self.check_inputs(name)
            self.compare()
            if not settles:
                break

    def exchange(self, settles: Sequence[Settle], limit: int) -> tuple[Reply, Reply]:
        beside = [self.beside(settle) for settle in settles]
        first = self.call(*settles, limit=limit)
        while self.run in self.store._unswept:
            self.call(limit=0)
        self.seq += 1
        second = self.file.exchange("loop", self.seq, beside, Want(limit, self.number), "w")  # type: ignore[arg-type]
        assert not second.refused
        return first, second

    def beside(self, settle: Settle) -> Settle:
        """The same for the file, from what is known there."""
        if settle in self.sent:
            return self.sent[settle]
        made = self.sent[settle] = self.made(settle, self.held.pop(self.run.plan.ids[settle.grant.job]))
        return made

    def made(self, settle: Settle, grant: Grant) -> Settle:
        if settle.end is End.CANCELLED:
            return written(other(grant, End.CANCELLED))
        if grant.control:
            return written(control(grant, self.store.clock))
        if settle.end is End.COMPLETED:
            return written(Settle(grant, End.COMPLETED, settle.value, 0.0, 1.0))
        return written(other(grant, settle.end))

    def check_inputs(self, name: str) -> None:
        grant = self.held[name]
        handler = grant.run.handlers[grant.job]
        args, kwargs = _inputs(grant, handler)
        (taken,) = [*args, *kwargs.values()]
        found = shown([taken] if handler.task.name == "lone" else taken)
        assert json.loads(json.dumps(found)) == json.loads(json.dumps(self.inputs[name]))

    def ids(self, jobs: Sequence[int]) -> list[str]:
        with self.file.transaction():
            run = self.file._run(self.number.number)
            return [self.file._id_of(run, job) for job in jobs]

    def rows(self) -> dict[str, int]:
        """The rows of the jobs that there are in the file, by id."""
        with self.file.transaction():
            run = self.file._run(self.number.number)
            gone = run.columns.sparse["gone"]
            return {self.file._id_of(run, job): job for job in run.jobs() if job not in gone}

    def compare(self) -> None:
        rows, model = self.rows(), self.run.state
        live = {self.run.plan.ids[job]: job for job in self.live()}
        with self.file.transaction():
            run = self.file._run(self.number.number)
            states = {name: STATE_NAMES[run.state.state[row]] for name, row in rows.items()}
            assert states == self.states()
            assert (run.state.open, run.ended_at is not None) == (model.open, self.run.ended)
            for counter in COUNTERS:
                ours, theirs = getattr(run.state, counter), getattr(model, counter)
                found = {name: ours[row] if counter == "pending" else ours.get(row, 0) for name, row in rows.items()}
                told = {name: theirs[row] if counter == "pending" else theirs.get(row, 0) for name, row in live.items()}
                assert found == told, counter

    def cancel(self) -> None:
        self.store.cancel(self.run, "chosen")
        while self.run in self.store._unswept:
            self.call(limit=0)
        self.file.cancel(self.number, "chosen")
        self.compare()

    def again(self, start: str | None, *, anew: bool, harm: int) -> None:
        """Retry or rerun both, and work them off."""
        self.luck.harms.append(harm)
        position = None if start is None else self.live()[list(self.states()).index(start)]
        row = None if start is None else self.rows()[start]
        refused = []
        for reopen in (
            lambda: self.store.reopen(self.run, position, anew=anew),
            lambda: self.file.reopen(self.number, row, anew=anew),
        ):
            try:
                reopen()
            except RunError:
                refused.append(True)
            else:
                refused.append(False)
        assert refused[0] == refused[1]
        self.compare()
        self.play()

    def elsewhere(self) -> None:
        """Another process goes on, which has nothing in its memory."""
        self.file.database.close()
        self.file = self.opened()
        self.seq = 0


def begun(steps: list[Step], seed: int, harm: int) -> Beside:
    return Beside(Path(tempfile.mkdtemp()) / "runs.db", steps, seed=seed, harm=harm)


def over(played: Beside) -> None:
    played.file.database.close()
    shutil.rmtree(played.path.parent)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(scopes(), seeds, st.sampled_from([0, 10, 30]), st.none() | st.integers(0, 12))
@pytest.mark.slow
def test_flows_with_lists_go_on_in_a_file_as_in_memory_also_when_cancelled_and_retried(
    steps: list[Step], seed: int, harm: int, moment: int | None
) -> None:
    played = begun(steps, seed, harm)
    try:
        if moment is not None:
            played.play(moment)
            played.cancel()
        played.play()
        assert played.run.ended
        for later in (30, 0):
            played.again(None, anew=False, harm=later)
    finally:
        over(played)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(scopes(), seeds, st.sampled_from([0, 20]), st.booleans(), st.data())
@pytest.mark.slow
def test_reruns_of_flows_with_lists_go_on_in_a_file_as_in_memory(
    steps: list[Step], seed: int, harm: int, elsewhere: bool, data: st.DataObject
) -> None:
    played = begun(steps, seed, harm)
    try:
        played.play()
        for _ in range(3):
            if elsewhere:
                played.elsewhere()
            start = data.draw(st.sampled_from(sorted(played.states())))
            played.again(start, anew=data.draw(st.booleans()), harm=harm)
    finally:
        over(played)


class Alone:
    """A run in a file, of which a step stamps out *growth* jobs at most; checked against recursive evaluation."""

    def __init__(self, path: Path, steps: list[Step], *, seed: int, harm: int, growth: int) -> None:
        self.steps, self.luck, self.order = steps, Luck(seed, harm), random.Random(seed)
        self.file: Any = store_at(path, Clock())
        self.file.growth = growth
        number: Any = self.file.put_run(packed_of(flows.plan(flow_of(steps)))).number
        self.number: Any = Numbered(number)

    def play(self) -> None:
        active: list[Grant] = []
        settles: list[Settle] = []
        for seq in range(1, 10_000):
            reply = self.file.exchange("loop", seq, settles, Want(10**6, self.number), "w")
            active += reply.grants
            states = self.states()
            if self.ended:
                break
            assert active or reply.more, f"nothing to do: {states}"
            settles = [self.end(active.pop(self.order.randrange(len(active))))] if active else []
        told = Naive(self.steps, self.luck, "", {}).seen
        assert states == {job: told[job].state for job in states}

    def end(self, grant: Grant) -> Settle:
        if grant.control:
            return written(control(grant, self.file.clock))
        end, value = self.luck(grant.run.plan.ids[grant.job])
        if end == "completed":
            return written(Settle(grant, End.COMPLETED, value, 0.0, 1.0))
        return written(other(grant, End.FAILED if end == "failed" else End.SKIPPED))

    def states(self) -> dict[str, str]:
        with self.file.transaction():
            run = self.file._run(self.number.number)
            self.ended = run.ended_at is not None
            return {self.file._id_of(run, job): STATE_NAMES[run.state.state[job]] for job in run.jobs()}


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(scopes(), seeds, st.sampled_from([0, 10, 30]), st.sampled_from([1, 2, 5]))
@pytest.mark.slow
def test_flows_with_lists_end_as_they_should_however_little_a_step_stamps_out(
    steps: list[Step], seed: int, harm: int, growth: int
) -> None:
    place = Path(tempfile.mkdtemp())
    played = Alone(place / "runs.db", steps, seed=seed, harm=harm, growth=growth)
    try:
        played.play()
    finally:
        played.file.database.close()
        shutil.rmtree(place)


def test_a_list_that_comes_up_as_a_step_has_done_enough_is_grown_by_the_next(tmp_path: Path) -> None:
    steps = scope(random.Random(106))  # in which an empty list ends and lets its outer list go on just then
    played = Alone(tmp_path / "runs.db", steps, seed=106, harm=0, growth=1)
    played.play()
    played.file.database.close()
