"""Fleets of simulated workers around one store with several runs: what a store promises is looked at in each call."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextvars import Context
from typing import Any

from hypothesis import strategies as st

from executors.memory import MemoryRun
from flows import GiveUp, RetryAfter, Skip
from flows._context import current_grant
from flows._plan import Plan
from flows._state import LOST_LIMIT
from flows._verbs import Grant, Reply
from flows._worker import Exchange
from flows.executor import RunOptions
from flows.testing import Fault, fault_plans, schedules
from flows.testing._choices import Choices
from flows.testing._mishaps import arm, as_tasks
from flows.testing._simulate import LIMIT_SECONDS
from flows.testing._simulated_worker import SimulatedWorker
from flows.testing._world import World
from tests.flows.naive_run import ENDS

ATTEMPTS = 3
MISHAPS = ("crash", "slow", "duplicate", "call", "clock_step", "store_restart", "worker", "cancel")
"""Handlers fail by themselves."""

_RAISED: Mapping[str, tuple[type[Exception], Any]] = {
    "retry": (RetryAfter, 10),
    "failed": (GiveUp, "chosen"),
    "skipped": (Skip, "chosen"),
}


class Fleet(World):
    """A world of several runs, whose handlers end as the choices have it.

    Args:
        choices: Where they come from: as for `simulate`; None: all goes well.
        faults: What goes wrong besides.
        plans: What is run; its handlers take anything.

    Attributes:
        granted: The grants of each job, in order.
        effects: How often a job of each idempotency key has completed, known or not.
    """

    def __init__(self, choices: object, faults: Sequence[Fault], plans: Sequence[Plan[Any]], *, slots: int) -> None:
        names = {name for plan in plans for one in (plan, *_inner(plan)) for name in one.names}
        super().__init__(
            Choices(choices, None), faults, slots=slots, replaced=as_tasks(dict.fromkeys(names, self._ends))
        )
        self.granted: dict[tuple[Any, int], list[Grant]] = {}
        self.effects: Counter[str | None] = Counter()
        self._suspects: dict[str, set[Grant]] = {}
        for number, plan in enumerate(plans):
            self.submit(plan, RunOptions(f"run-{number}", None, f"trace-{number}"))
        arm(self)

    def play_out(self, workers: int) -> None:
        """Let the runs come to their end."""
        for _ in range(workers):
            self.hire()
        Context().run(self.play, LIMIT_SECONDS)
        assert all(run.ended for run in self.runs), [list(run.state.state) for run in self.runs]

    def reopen(self, run: Any) -> None:
        """Have what failed of an ended run done again."""
        self.store.reopen(run, None, anew=False)
        if not run.ended:
            del self.ended_at[run]

    def exchange(self, worker: SimulatedWorker, call: Exchange) -> Reply | None:
        known, before = self.store._loops.get(worker.name), self._snapshot()
        reply = super().exchange(worker, call)
        if known is not None and call.seq <= known[0]:
            assert reply is (known[1] if call.seq == known[0] else None), "the same call gets the same reply"
            assert self._snapshot() == before, "and changes nothing"
            return reply
        assert reply is not None
        for settle in call.settles:
            newest = self.granted[settle.grant.run, settle.grant.job][-1]
            assert newest is settle.grant or settle in reply.refused, "a zombie was heard"
        for grant in reply.grants:
            history = self.granted.setdefault((grant.run, grant.job), [])
            assert all(grant.fence > former.fence for former in history)
            history.append(grant)
        held = self._suspects.setdefault(worker.name, set())
        held.difference_update(settle.grant for settle in call.settles)
        held.update(grant for grant in reply.grants if grant.suspect)
        assert len(held) <= 1, "two suspects at once"
        assert len(reply.grants) <= call.want.limit
        return reply

    def _snapshot(self) -> list[tuple[Any, ...]]:
        return [
            (bytes(run.state.state), list(run.fences), len(run.journal), dict(run.leases), len(run.errors))
            for run in self.runs
        ]

    def _ends(self, *args: Any, **data: Any) -> list[int]:
        grant = current_grant.get()
        assert grant is not None
        end = self.choices(("completed", "retry", "failed", "skipped"))
        if end != "completed":
            kind, why = _RAISED[end]
            raise kind(why)
        self.effects[grant.run.plan.settings[grant.job].idempotency_key] += 1
        return [grant.job, grant.fence]


def _inner(plan: Plan[Any]) -> list[Plan[Any]]:
    from flows._bodies import bodies_of

    return [body.plan for body in bodies_of(plan)] if plan.lists else []


def fates(plans: st.SearchStrategy[list[Plan[Any]]]) -> st.SearchStrategy[tuple[Any, ...]]:
    """What is run, what goes wrong with it, and the schedule: the first arguments of `drawn`."""
    return plans.flatmap(
        lambda made: st.tuples(st.just(made), fault_plans(made[0], kinds=MISHAPS), schedules(max_odd=30))
    )


def drawn(plans: Sequence[Plan[Any]], faults: Sequence[Fault], schedule: object, *, workers: int, slots: int) -> Fleet:
    """A fleet that has come to its end."""
    fleet = Fleet(schedule, faults, plans, slots=slots)
    fleet.play_out(workers)
    return fleet


def check(fleet: Fleet, run: MemoryRun) -> None:
    """What must be true of a run that has ended, whatever became of its workers."""
    events = run.events(0)[0]
    ends = [event.job or "" for event in events if event.kind in ENDS]
    assert sorted(ends) == sorted(run.plan.ids), "each job ends once"
    for job, job_id in enumerate(run.plan.ids):
        grants = fleet.granted.get((run, job), [])
        mine = [event.kind for event in events if event.job == job_id]
        assert mine.count("lost") == run.state.lost.get(job, 0) <= LOST_LIMIT
        assert mine.count("retrying") < ATTEMPTS
        assert mine.count("started") == len(grants) <= ATTEMPTS + LOST_LIMIT + mine.count("released")
        if "completed" in mine and "replayed" not in mine:
            assert run.values[job] == [job, grants[-1].fence], "committed by the newest fence"
        if run.errors.get(job) is not None and run.errors[job].type == "LeaseLostError":
            assert mine.count("lost") == LOST_LIMIT
