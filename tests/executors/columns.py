"""Runs of any shape for a store without an executor: no handler is ever called, the test says how attempts end."""

import itertools
from collections.abc import Sequence
from typing import Any

import flows
from executors.memory import MemoryRun, MemoryStore
from executors.memory._executor import _handlers, _moulds
from flows import Job, Opts, Queue
from flows import _machine as machine
from flows._plan import Plan
from flows._state import COMPLETED, STATE_NAMES
from flows._verbs import End, FailedSettle, Grant, Reply, Settle, Want
from flows.executor import RunOptions
from tests.flows.naive_run import Dag

_numbers = itertools.count(1)


@flows.task(name="told")
def told(optional: list[Any], children: flows.Children = flows.INJECTED) -> None:
    """Its attempts end as the test says."""


def plan_of(dag: Dag, *, queues: Sequence[Queue | str] = ("default",), **options: Any) -> Plan[Any]:
    """The plan of a flow of that shape, its jobs on *queues* in turn; *options* are those of every job."""
    jobs: list[Job[Any]] = []
    for number, policy in enumerate(dag.policies):
        edges = dag.into(number)
        job = Job(
            "told",
            id=str(number),
            queue=queues[number % len(queues)],
            data={"optional": [flows.optional(jobs[edge.child].out) for edge in edges if edge.kind == "optional"]},
            children=[jobs[edge.child] for edge in edges if edge.kind == "value"],
            opts=Opts(**({"on_failure": policy} | options)),
        )
        jobs.append(job.after(*[jobs[edge.child] for edge in edges if edge.kind == "order"]))

    @flows.flow(name="told")
    def all_of_them() -> Any:
        return tuple(jobs)

    return flows.plan(all_of_them())


def put(store: MemoryStore, plan: Plan[Any], **options: Any) -> MemoryRun:
    """A new run of *plan* in *store*."""
    name = f"run-{next(_numbers)}"
    run = MemoryRun(
        RunOptions(name, None, name, **options), plan, _handlers(plan), plan.bindings, store.clock, store.epoch
    )
    store.put_run(run)
    return run


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def done(grant: Grant, value: object = None) -> Settle:
    return Settle(grant, End.COMPLETED, value, 0.0, 1.0)


def other(grant: Grant, end: End, after: float = 0.0) -> Settle:
    return FailedSettle(grant, end, ValueError("no"), 0.0, 1.0, after)


class Caller:
    """One exchange loop."""

    def __init__(self, store: MemoryStore, name: str = "loop") -> None:
        self.store = store
        self.name = name
        self.seq = 0

    def __call__(self, *settles: Settle, limit: int = 64, **want: Any) -> Reply:
        self.seq += 1
        return self.store.exchange(self.name, self.seq, settles, Want(limit, **want), self.name)


def states(run: MemoryRun) -> list[str]:
    return [STATE_NAMES[code] for code in run.state.state]


def kinds(run: MemoryRun) -> list[tuple[str, str | None, int | None]]:
    return [(event.kind, event.job, event.attempt) for event in run.events(0)[0]]


def put_lists(store: MemoryStore, flow: flows.Flow[Any]) -> MemoryRun:
    """A new run of a flow that may have lists."""
    plan, name = flows.plan(flow), "run"
    options, moulds = RunOptions(name, None, name), _moulds(plan)
    run = MemoryRun(options, plan, _handlers(plan), plan.bindings, store.clock, store.epoch, moulds)
    store.put_run(run)
    return run


def check_counters(run: MemoryRun) -> None:
    """The counters of a run that has been swept wholly are what the states of the children say."""
    columns, gone = run.state, run.plan.gone
    assert (list(columns.cascade), list(columns.later), columns.sweeping) == ([], [], -1)
    into: dict[int, list[tuple[int, int]]] = {job: [] for job in range(len(run.plan)) if job not in gone}
    for child in into:
        codes = columns.effects.get(child)
        assert codes is None or len(codes) == len(columns.edges[child])
        for place, dependent in enumerate(columns.edges[child]):
            if dependent in into:
                into[dependent].append((child, codes[place] if codes else 0))
    for job, edges in into.items():
        ends = [(child, code) for child, code in edges if columns.state[child] >= COMPLETED]
        waits = len(edges) - len(ends) + columns.lists.get(job, 0) - columns.begun.get(job, 0)
        assert columns.pending[job] == waits, run.plan.ids[job]
        told = [machine.influence(columns.state[child], code) for child, code in ends]
        for name in ("dooms", "skips", "cancels", "conts"):
            assert getattr(columns, name).get(job, 0) == told.count(name), (run.plan.ids[job], name)
        assert (job in columns.cause) == any(told)
    assert columns.open == sum(columns.state[job] < COMPLETED for job in into)
