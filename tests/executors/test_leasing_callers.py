"""Crews among others: errors meant for the process, runs inside runs, many callers of one run."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import flows
from executors._leasing._gate import Gate
from tests.executors.latch import PATIENCE, Latch, agather, gather, in_threads, private


@pytest.fixture(autouse=True)
def own_store_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._registry._tasks", {})
    monkeypatch.setenv("FLOWS_EXECUTOR", "memory://?private=1")


# What is meant for the process


FATAL = (KeyboardInterrupt, SystemExit)


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Latch:
    """Opens as soon as somebody waits for a run."""
    wait, latch = Gate.wait, Latch()

    def noted(gate: Gate, *rest: Any) -> bool:
        latch.open()
        return wait(gate, *rest)

    monkeypatch.setattr(Gate, "wait", noted)
    return latch


@pytest.mark.parametrize("fatal", FATAL)
def test_a_fatal_exception_on_the_callers_thread_cancels_the_run_and_reaches_the_caller(
    fatal: type[BaseException],
) -> None:
    threads: list[str] = []

    @flows.task
    def dies() -> None:
        threads.append(threading.current_thread().name)
        raise fatal("now")

    executor = private()
    caught(fatal, lambda: flows.execute(gather(dies().out, dies().out), executor=executor, key="run"))
    assert threading.current_thread().name in threads  # on a slow day another hand has come to help meanwhile
    assert settled(flows.get(key="run", executor=executor)) == "cancelled"


@pytest.mark.parametrize("fatal", FATAL)
@pytest.mark.parametrize("flavour", ["thread", "loop"])
def test_a_fatal_exception_in_the_background_cancels_the_run_and_reaches_who_waits(
    fatal: type[BaseException], flavour: str, waiting: Latch
) -> None:

    def dies() -> None:
        waiting.wait()
        raise fatal("now")

    async def adies() -> None:
        await waiting.passed()
        raise fatal("now")

    run = flows.submit(gather(flows.task(name="dies")(dies if flavour == "thread" else adies)().out))
    caught(fatal, lambda: run.wait(PATIENCE))
    assert settled(run) == "cancelled"
    assert fatal.__name__ in str(run.jobs["dies"].error)


def test_who_waits_is_told_at_once_while_other_handlers_still_run(waiting: Latch) -> None:
    gate = Latch()

    @flows.task
    def gated() -> None:
        gate.wait()

    @flows.task
    def dies() -> None:
        waiting.wait()
        raise KeyboardInterrupt

    run = flows.submit(gather(gated().out, dies().out))
    caught(KeyboardInterrupt, lambda: run.wait(5 * PATIENCE))
    assert run.state == "cancelled"  # at once, whoever still runs; a late result is refused
    gate.open()


def test_who_lends_its_thread_is_told_at_once_while_other_handlers_still_run() -> None:
    caller, gate, elsewhere = threading.current_thread(), Latch(), Latch()

    @flows.task
    def dies_here() -> None:
        if threading.current_thread() is caller:
            elsewhere.wait()
            raise KeyboardInterrupt
        elsewhere.open()
        gate.wait()

    executor = private()
    flow = gather(dies_here().out, dies_here().out)
    caught(KeyboardInterrupt, lambda: flows.execute(flow, executor=executor, key="run"))
    assert flows.get(key="run", executor=executor).state == "cancelled"
    gate.open()


def caught(kind: type[BaseException], call: Callable[[], object]) -> None:
    """As `pytest.raises`, which does not see to those that are meant for the process."""
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def settled(run: flows.Run[Any]) -> str:
    """The run's state once its handlers have ended, whoever was told what."""
    for _ in run.events():
        pass
    return run.state


# Runs in runs, runs at once


def test_sync_handlers_run_flows_of_their_own() -> None:
    @flows.task
    def leaf(number: int) -> int:
        return number + 1

    @flows.task
    async def aleaf(number: int) -> int:
        return number + 1

    @flows.task
    def nested(depth: int) -> Any:
        if not depth:
            return flows.execute(gather(leaf(1).out, aleaf(2).out)).value[1]
        return flows.execute(nested(depth - 1)).value + 1

    assert flows.execute(gather(*[nested(depth).out for depth in range(6)])).value == [3, 4, 5, 6, 7, 8]


def test_async_handlers_run_flows_of_their_own() -> None:
    @flows.task
    async def leaf(number: int) -> int:
        return number + 1

    @flows.task
    async def nested(depth: int) -> int:
        run = await flows.aexecute(nested(depth - 1) if depth else leaf(1))
        return run.value + 1

    assert flows.execute(agather(*[nested(depth).out for depth in range(4)])).value == [3, 4, 5, 6]


def test_a_blocking_call_that_would_never_return_is_refused() -> None:
    @flows.task
    async def leaf() -> int:
        return 1

    @flows.task
    async def blocks() -> Any:
        return flows.execute(leaf()).value

    run = flows.submit(blocks())
    run.wait(PATIENCE)
    assert run.jobs["blocks"].error is not None
    assert "aexecute" in run.jobs["blocks"].error.message


def test_a_hundred_submits_of_one_key_are_one_run() -> None:
    calls: list[int] = []

    @flows.task
    def once() -> int:
        calls.append(1)
        return 3

    executor = private()
    everyone = threading.Barrier(100, timeout=PATIENCE)
    runs: list[flows.Run[Any]] = []

    def submit() -> None:
        everyone.wait()
        runs.append(flows.submit(gather(once().out), executor=executor, key="one"))

    in_threads([submit] * 100)
    assert len({run.id for run in runs}) == 1
    assert [run.wait(PATIENCE).value for run in runs] == [[3]] * 100
    assert calls == [1]


def test_a_submit_that_finds_a_key_just_taken_does_not_leave_the_run_without_workers() -> None:
    executor = private()
    put_run, first, second = executor.store.put_run, Latch(), threading.Event()

    def slow_put(run: Any) -> None:
        first.open()
        second.wait(0.2)  # the other submit comes in between, if it can
        put_run(run)

    executor.store.put_run = slow_put
    runs: list[flows.Run[Any]] = []

    def submit(opens: Callable[[], object]) -> None:
        runs.append(flows.submit(gather(1), executor=executor, key="one"))
        opens()

    def follow() -> None:
        first.wait()
        submit(second.set)

    in_threads([lambda: submit(first.open), follow])
    record = runs[0]._record
    changed = threading.Event()
    record.watch(changed.set)
    # Not `run.wait()`: that would set the crew going by itself.
    assert record.ended or changed.wait(PATIENCE), "nobody works on the run"
