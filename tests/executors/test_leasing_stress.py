"""Hundreds of random runs on real threads, with the interpreter changing threads as often as it can."""

import asyncio
import random
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from tests.executors.latch import private
from tests.executors.scripted import flow_of, judge, random_dag, random_scripts, unstick

pytestmark = pytest.mark.slow

PATIENCE = 60.0


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    unstick.clear()
    yield
    unstick.set()
    sys.setswitchinterval(before)


def run_randomly(executor: Any, rng: random.Random) -> None:
    """Run one random flow in one of the ways there are; compare what came of it with the naive interpreter."""
    dag = random_dag(rng)
    scripts = random_scripts(rng, dag.size)
    flow = flow_of(dag, scripts)
    way = rng.choice(("execute", "submit", "await", "events", "cancel"))
    if way == "execute":
        run = flows.execute(flow, executor=executor, check=False)
    elif way == "await":
        run = asyncio.run(flows.aexecute(flow, executor=executor, check=False))
    else:
        run = flows.submit(flow, executor=executor)
        if way == "cancel":
            for _ in range(rng.randrange(200)):
                pass  # a moment, a little later each time
            run.cancel("at a random moment")
        if way == "events":
            assert [event.kind for event in run.events()][-1] == "ended"
        run.wait(PATIENCE)
    events = list(run.events())
    assert {job.state for job in run.jobs.values()} <= {"completed", "failed", "skipped", "cancelled"}
    assert [event.kind for event in events].count("ended") == 1
    ends = [event.job for event in events if event.kind in ("completed", "failed", "skipped", "cancelled")]
    assert sorted(ends, key=str) == sorted(run.jobs), "each job ends once"
    if way != "cancel":
        judge(dag, scripts, run, events)


def hammer(seed: int, threads: int, runs: int, concurrency: int) -> None:
    executor: Any = MemoryExecutor(f"memory://?private=1&concurrency={concurrency}")
    raised: list[tuple[str, BaseException]] = []

    def work(number: int) -> None:
        for turn in range(runs):
            rng = random.Random(f"{seed}/{number}/{turn}")
            try:
                run_randomly(executor, rng)
            except BaseException as error:
                raised.append((f"seed {seed}/{number}/{turn}", error))
                return

    everyone = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)]
    for thread in everyone:
        thread.start()
    for thread in everyone:
        thread.join(2 * PATIENCE)
    assert not [thread for thread in everyone if thread.is_alive()], "a run hangs"
    for where, error in raised:
        error.add_note(where)
        raise error


@pytest.mark.parametrize("concurrency", [1, 3, 32])
def test_random_runs_from_several_threads_end_as_the_naive_interpreter_says(concurrency: int) -> None:
    hammer(seed=random.randrange(10**9), threads=4, runs=20, concurrency=concurrency)


@pytest.mark.slow
@pytest.mark.parametrize("concurrency", [1, 2, 5, 64])
def test_hundreds_of_random_runs(concurrency: int) -> None:
    hammer(seed=random.randrange(10**9), threads=8, runs=65, concurrency=concurrency)


def in_parallel(calls: int, call: Callable[[], object]) -> None:
    threads = [threading.Thread(target=call, daemon=True) for _ in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_many_threads_may_wait_for_and_cancel_one_run() -> None:
    for turn in range(10):
        rng = random.Random(turn)
        dag = random_dag(rng)
        run = flows.submit(flow_of(dag, random_scripts(rng, dag.size)), executor=private())
        waited: list[str] = []

        def wait(run: flows.Run[object] = run, waited: list[str] = waited, turn: int = turn) -> None:
            if turn % 2:
                run.cancel("one of many")
            waited.append(run.wait(PATIENCE).state)

        in_parallel(8, wait)
        assert waited == [run.state] * 8
