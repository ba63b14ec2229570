"""Small runs are worked off by their caller alone, until that would keep a job waiting."""

import threading
from typing import Any

import pytest
from hypothesis import given

import flows
from executors._leasing._solo import SOLO_JOBS
from executors.memory import MemoryStore
from flows import Opts
from flows._verbs import End
from tests.executors.columns import Caller, Clock, done, kinds, other, plan_of, put, states
from tests.executors.latch import PATIENCE, Latch, gather, in_threads, private
from tests.executors.test_memory_store import orders
from tests.flows.naive_run import Dag, dags


def played(dag: Dag, order: list[tuple[int, End]], alone: bool) -> tuple[Any, ...]:
    """Work a run off one job at a time: by `step`, or by exchanges of one."""
    clock = Clock()
    store = MemoryStore(clock=clock, epoch=0.0)
    run = put(store, plan_of(dag, attempts=2))
    call = Caller(store)
    ends = iter([*[end for _, end in order], *[End.COMPLETED] * 4 * dag.size])
    settle: Any = None
    while not run.ended:
        if alone and settle is not None and settle.end is End.COMPLETED:
            grant = store.complete(settle.grant, settle.value, settle.ended_at, "loop")
        elif alone:
            grant = store.step(run, settle, "loop")
        else:
            grants = call(*(() if settle is None else (settle,)), limit=1, run=run).grants
            grant = grants[0] if grants else None
        if grant is None:
            settle = None
            clock.now += 1000.0
            call(limit=0, run=run)  # what is due becomes ready by an exchange only
            continue
        end = next(ends)
        settle = done(grant, (grant.job, grant.attempt)) if end is End.COMPLETED else other(grant, end)
    return states(run), run.values, kinds(run), list(run.state.ordinal), run.state.turn


@given(dags(), orders)
def test_a_step_is_an_exchange_of_one(dag: Dag, order: list[tuple[int, End]]) -> None:
    order = [(pick, end) for pick, end in order if end is not End.LOST]  # suspects are claimed by exchanges only
    assert played(dag, order, alone=True) == played(dag, order, alone=False)


def test_a_job_that_waits_for_its_sibling_is_joined_by_it() -> None:
    @flows.task(name="solo-meet")
    def meet(barrier: threading.Barrier) -> int:
        return barrier.wait(PATIENCE)

    flows.execute(gather(meet(threading.Barrier(1)).out), executor=private())  # quick, as far as anybody knows
    barrier = threading.Barrier(3)
    run = flows.execute(gather(*[meet(barrier).out for _ in range(3)]), executor=private())
    assert sorted(run.value) == [0, 1, 2]


def test_the_caller_runs_small_runs_in_its_own_thread() -> None:
    @flows.task(name="solo-where")
    def where() -> int:
        return threading.get_ident()

    run = flows.execute(gather(*[where().out for _ in range(SOLO_JOBS - 1)]), executor=private())
    assert set(run.value) == {threading.get_ident()}
    assert len({job.worker for job in run.jobs.values()}) == 1


def test_what_becomes_due_later_is_not_forgotten() -> None:
    tries: list[int] = []

    @flows.task(name="solo-flaky", attempts=3, backoff=flows.Backoff.fixed("5ms"))
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("again")
        return len(tries)

    late = flows.Job("latch-gather", id="late", opts=Opts(delay="5ms"))
    assert flows.execute(gather(flaky().out).after(late), executor=private()).value == [3]


def test_a_run_can_be_awaited_and_cancelled_by_others_meanwhile() -> None:
    executor, begun, over = private(), Latch(), Latch()

    @flows.task(name="solo-first")
    def first() -> str:
        begun.open()
        over.wait()
        return "first"

    @flows.task(name="solo-second")
    def second(value: str) -> str:
        return value

    outcomes: list[str] = []

    def others() -> None:
        begun.wait()
        run = flows.get(key="k", executor=executor)
        run.cancel("enough")
        over.open()
        outcomes.append(run.wait(PATIENCE).state)

    def caller() -> None:
        run = flows.execute(second(first().out), executor=executor, key="k", check=False)
        outcomes.append(run.state)

    in_threads([caller, others])
    assert outcomes == ["cancelled", "cancelled"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_meant_for_the_process_ends_the_run(error: type[BaseException]) -> None:
    executor = private()

    @flows.task(name="solo-fatal")
    def fatal() -> None:
        raise error

    with pytest.raises(error):
        flows.execute(gather(fatal().out), executor=executor, key="k")
    assert flows.get(key="k", executor=executor).state == "cancelled"


def test_limits_of_other_queues_do_not_bring_a_crew(monkeypatch: pytest.MonkeyPatch) -> None:
    executor = private()
    limited = flows.task(lambda: None, name="solo-limited", queue=flows.Queue("solo-limited", concurrency=1))
    flows.execute(limited(), executor=executor)
    crews: list[Any] = []
    make = executor._crew

    def counted(run: Any) -> Any:
        crews.append(run)
        return make(run)

    monkeypatch.setattr(executor, "_crew", counted)
    flows.execute(gather(1, 2), executor=executor)
    assert crews == []
    flows.execute(limited(), executor=executor)
    assert len(crews) == 1
