"""Real flows of any shape whose handlers do what a script says, and what must come of them."""

import asyncio
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flows
from flows import Job, Opts
from flows._events import Event
from tests.flows.naive_run import ENDS, KINDS, POLICIES, Dag, Edge, NaiveRun

unstick = threading.Event()
"""Lets the threads go that scripts have left behind."""


@dataclass(frozen=True)
class Script:
    """What the handler of a job does: fail *failures* times, then end so."""

    end: str = "completed"
    failures: int = 0
    flavour: str = "sync"


@flows.task(name="scripted-sync")
def scripted_sync(
    number: int, script: Script, optional: list[Any], children: flows.Children = flows.INJECTED
) -> list[Any]:
    return _act(number, script, optional, children)


@flows.task(name="scripted-async")
async def scripted_async(
    number: int, script: Script, optional: list[Any], children: flows.Children = flows.INJECTED
) -> list[Any]:
    await asyncio.sleep(0)
    return _act(number, script, optional, children)


@flows.task(name="scripted-late")
async def scripted_late(
    number: int, script: Script, optional: list[Any], children: flows.Children = flows.INJECTED
) -> None:
    await asyncio.Event().wait()


@flows.task(name="scripted-stuck")
def scripted_stuck(number: int, script: Script, optional: list[Any], children: flows.Children = flows.INJECTED) -> str:
    unstick.wait(60)
    return "far too late"


def _act(number: int, script: Script, optional: list[Any], children: flows.Children) -> list[Any]:
    if flows.current().attempt <= script.failures:
        raise ValueError(f"attempt {flows.current().attempt}")
    if script.end == "failed":
        raise flows.GiveUp("as the script says")
    if script.end == "skipped":
        raise flows.Skip("as the script says")
    missing = sum(isinstance(value, flows.Failed) for value in optional)
    return [number, missing, sorted(children.values), sorted(children.failures)]


def flow_of(dag: Dag, scripts: Sequence[Script]) -> flows.Flow[Any]:
    """The flow; all of its jobs are roots, so that none can be left out."""
    jobs: list[Job[Any]] = []
    for number, (policy, script) in enumerate(zip(dag.policies, scripts, strict=True)):
        edges = dag.into(number)
        late = script.flavour in ("late", "stuck")
        data = {
            "number": number,
            "script": script,
            "optional": [flows.optional(jobs[edge.child].out) for edge in edges if edge.kind == "optional"],
        }
        opts = Opts(on_failure=policy, attempts=script.failures + 1, **({"timeout": 0.01} if late else {}))  # type: ignore[arg-type]
        children = [jobs[edge.child] for edge in edges if edge.kind == "value"]
        job = Job(f"scripted-{script.flavour}", id=str(number), data=data, children=children, opts=opts)
        jobs.append(job.after(*[jobs[edge.child] for edge in edges if edge.kind == "order"]))

    @flows.flow(name="scripted")
    def scripted() -> Any:
        return tuple(jobs)

    return scripted()


def random_dag(rng: random.Random, max_jobs: int = 12, policies: Sequence[str] = POLICIES) -> Dag:
    """As the strategy `dags`, for tests with threads, which hypothesis cannot repeat."""
    size = rng.randint(1, max_jobs)
    kinds = rng.choice((KINDS[:1], KINDS))
    pairs = [(rng.randrange(size), rng.randrange(size)) for _ in range(rng.randint(0, 3 * size))]
    edges = dict.fromkeys(Edge(min(pair), max(pair), rng.choice(kinds)) for pair in pairs if pair[0] != pair[1])
    return Dag(tuple(rng.choice(policies) for _ in range(size)), tuple(edges)).as_planned()


def random_scripts(rng: random.Random, size: int) -> list[Script]:
    """Most complete; some fail, skip, need retries, time out."""
    scripts = []
    for _ in range(size):
        flavour = rng.choices(("sync", "async", "late", "stuck"), (24, 16, 2, 1))[0]
        late = flavour in ("late", "stuck")
        end = "failed" if late else rng.choices(ENDS[:3], (6, 2, 1))[0]
        scripts.append(Script(end, 0 if late else rng.choice((0, 0, 0, 1, 2)), flavour))
    return scripts


def judge(dag: Dag, scripts: Sequence[Script], run: flows.Run[Any], events: Sequence[Event]) -> None:
    """Compare a run that has ended with the naive interpreter, led by the order in which the handlers ended."""
    naive = NaiveRun(dag)
    for event in events:
        if event.kind in ENDS and event.attempt is not None:
            assert event.job is not None
            assert event.kind == scripts[int(event.job)].end
            naive.settle(int(event.job), event.kind)
    assert [job.state for job in run.jobs.values()] == naive.states
    for number, script in enumerate(scripts):
        job = run.jobs[str(number)]
        if number in naive.inputs:
            assert len(job.attempts) == script.failures + 1
            if script.end == "completed":
                assert job.value == expected(dag, naive, number)
        else:
            assert not job.attempts


def expected(dag: Dag, naive: NaiveRun, number: int) -> list[Any]:
    """What the handler of job *number* must have received, as it tells it."""
    inputs = naive.inputs[number]
    optional = [edge.child for edge in dag.into(number) if edge.kind == "optional"]
    by_value = {edge.child for edge in dag.into(number) if edge.kind != "order"}

    def completed(child: int) -> bool:
        return child in inputs and naive.states[child] == "completed"

    failures = {
        child
        for child in by_value & inputs
        if not completed(child) and (dag.policies[child] != "remove" or child in optional)
    }
    return [
        number,
        sum(not completed(child) for child in optional),
        sorted(str(child) for child in by_value if completed(child)),
        sorted(map(str, failures)),
    ]
