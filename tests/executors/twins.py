"""A run in memory and the same run as a store keeps it, led side by side: each job is performed in both."""

import random
from typing import Any

import flows
from executors._stored import pack, read, read_failed, writing
from executors._stored._record import StoredRecord
from executors.memory import MemoryRun, MemoryStore
from flows import Plan
from flows._control import control
from flows._handlers import perform
from flows._run import Run
from flows._verbs import End, Grant, Settle
from flows.executor import RunOptions
from tests.executors.columns import Caller, Clock, put_lists
from tests.executors.shelf import Shelf, inside

perform_here, write_perform, write_control = inside(perform), inside(writing(perform)), writing(control)


class Twins:
    """`memory` and `shelf` after the same steps; what can be read of both is compared on the way."""

    def __init__(self, flow: flows.Flow[Any], seed: int) -> None:
        self.store = MemoryStore(clock=Clock(), epoch=0.0)
        self.memory: MemoryRun = put_lists(self.store, flow)
        self.call = Caller(self.store)
        self.plan: Plan[Any] = flows.plan(flow)
        self.shelf = Shelf(pack(self.plan, RunOptions("run", None, "run")))
        self.record = StoredRecord(self.shelf, "run")
        self.order = random.Random(seed)
        self.active: dict[str, tuple[Grant, Grant]] = {}

    @property
    def run(self) -> Run[Any]:
        """The stored one as users read it."""
        self.record.refresh()
        executor: Any = None
        return Run(executor, self.record)

    def play(self) -> None:
        """To the end, in an order drawn from the seed."""
        self.claim()
        while not self.memory.ended:
            assert self.active, self.states()
            name = self.order.choice(sorted(self.active))
            self.step(name)
        assert self.shelf.facts("run").ended

    def claim(self) -> None:
        """Take all that is ready; what is the library's own work is done at once."""
        while True:
            self.call(limit=0)
            while self.memory in self.store._unswept:
                self.call(limit=0)
            ours = {self.memory.plan.ids[grant.job]: grant for grant in self.call(limit=10**6).grants}
            theirs = {self.shelf.id_of(grant.job): grant for grant in self.shelf.claim()}
            assert {name: one.control for name, one in ours.items()} == {
                name: one.control for name, one in theirs.items()
            }
            grants = {name: (ours[name], theirs[name]) for name in sorted(ours)}
            self.active |= {name: pair for name, pair in grants.items() if not pair[0].control}
            judged = [pair for pair in grants.values() if pair[0].control]
            if not judged:
                break
            for pair in judged:
                self.settle(control(pair[0], self.store.clock), write_control(pair[1], self.store.clock))
        if self.order.random() < 0.3:  # each comparison reads the whole run
            self.compare_states()

    def step(self, name: str) -> None:
        ours, theirs = self.active.pop(name)
        self.settle(perform_here(ours, self.store.clock), write_perform(theirs, self.store.clock))
        self.claim()

    def settle(self, ours: Settle, theirs: Settle) -> None:
        assert (ours.end, ours.failed and ours.failed.message) == (theirs.end, theirs.failed and theirs.failed.message)
        if ours.end is End.COMPLETED:
            assert plain(read(theirs.value)) == plain(ours.value)
        elif ours.end is End.EXPANDED:
            assert plain([read(item) for item in theirs.value.payloads]) == plain(ours.value)
        elif ours.failed is not None:
            stored = read_failed(theirs.value)
            assert (stored.type, stored.job, stored.state) == (ours.failed.type, ours.failed.job, ours.failed.state)
        self.call(ours, limit=0)
        self.shelf.settle(theirs)

    def states(self) -> dict[str, str]:
        plan = self.memory.plan
        return {job_id: self.memory.state_of(job) for job, job_id in enumerate(plan.ids) if job not in plan.gone}

    def compare_states(self) -> None:
        assert {name: job.state for name, job in self.run.jobs.items()} == self.states()

    def compare(self) -> None:
        """All that can be read of a run that has ended, but for instants."""
        executor: Any = None
        ours: Run[Any] = Run(executor, self.memory)
        theirs = self.run
        assert theirs.state == ours.state
        assert list(theirs.jobs)[: len(self.plan)] == list(ours.jobs)[: len(self.plan)]
        for name, job in ours.jobs.items():
            other = theirs.jobs[name]
            assert (other.task, other.queue, other.idempotency_key) == (job.task, job.queue, job.idempotency_key)
            assert [(one.number, one.outcome) for one in other.attempts] == [
                (one.number, one.outcome) for one in job.attempts
            ], name
            if job.state == "completed":
                assert plain(other.value) == plain(job.value), name
            assert summary(other.error) == summary(job.error), name
        dead = [{letter.job: summary(letter.error) for letter in run.dead_letters()} for run in (theirs, ours)]
        assert dead[0] == dead[1]
        told = [
            {(event.kind, event.job, event.attempt) for event in record.events(0)[0]}
            for record in (self.record, self.memory)
        ]
        assert told[0] == {event for event in told[1] if event[0] not in ("started", "expanded")}


def plain(value: Any) -> Any:
    """A value of memory's as it comes back from JSON; without tracebacks, whose lines differ."""
    if isinstance(value, flows.Failed):
        return summary(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def summary(failed: flows.Failed | None) -> Any:
    """All but the traceback."""
    return failed and (failed.type, failed.message, failed.job, failed.state)
