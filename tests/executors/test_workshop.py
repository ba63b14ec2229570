"""Workers of any run: how threads, the loop and processes get their jobs."""

import asyncio
import threading
from collections import Counter

import pytest

import flows
from executors._leasing._any_attempts import _first
from executors.memory import MemoryStore
from flows import Backoff, Queue
from tests.executors.latch import Latch, agather, gather
from tests.executors.unreliable import Unreliable
from tests.executors.workshops import (
    adouble,
    die,
    double,
    ended,
    own_names,
    states,
    store,
    submit,
    view,
    working,
)

__all__ = ["own_names", "store"]  # fixtures


def test_one_worker_serves_runs_of_all_kinds_at_once(store: MemoryStore) -> None:
    jobs = [
        lambda: gather(*[double(number).out for number in range(300)]),
        lambda: agather(*[adouble(number).out for number in range(300)]),
        lambda: gather(*[adouble(double(number).out).out for number in range(100)]),
        lambda: double.using(run_in="process")(21),
        lambda: flows.each(double, gather(1, 2, 3).out),
    ]
    with working(store) as shop:
        runs = [submit(store, flow()) for flow in jobs]
        values = [ended(run).value for run in runs]
    assert values == [
        [2 * number for number in range(300)],
        [2 * number for number in range(300)],
        [4 * number for number in range(100)],
        42,
        [2, 4, 6],
    ]
    assert {attempt.worker for attempt in runs[0].attempts_of(0)} == {shop.name}


def test_work_that_comes_while_the_worker_rests_is_begun_at_once(store: MemoryStore) -> None:
    with working(store):
        for number in range(20):
            assert ended(submit(store, double(number))).value == 2 * number


def test_a_quick_job_is_settled_while_the_slow_one_of_its_batch_runs(store: MemoryStore) -> None:
    done = Latch()

    @flows.task
    def slow() -> str:
        done.wait()
        return "slow"

    @flows.task
    def after(number: int) -> int:
        done.open()
        return number

    with working(store):
        run = submit(store, gather(slow().out, after(double(1).out).out))
        assert ended(run).value == ["slow", 2]


def test_handlers_that_block_get_threads_up_to_the_slots_and_no_more(store: MemoryStore) -> None:
    enough, most, running = Latch(), 0, 0
    lock = threading.Lock()

    @flows.task
    def block() -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
            if running == 4:
                enough.open()
        enough.wait()
        with lock:
            running -= 1

    @flows.task
    async def ablock() -> None:
        nonlocal most, running
        with lock:
            running += 1
            most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        with lock:
            running -= 1

    with working(store, slots=4, ahead=False):
        ended(submit(store, gather(*[block().out for _ in range(12)])))
        assert most == 4
        ended(submit(store, gather(*[job().out for _ in range(12) for job in (block, ablock)])))
    assert most == 4


def test_a_worker_takes_jobs_of_its_own_queues_only(store: MemoryStore) -> None:
    with working(store, queues=frozenset({"other"})):
        mine = submit(store, double.using(queue="other")(1))
        others = submit(store, double(1))
        ended(mine)
        assert states(others) == {"waiting": 1}
    with working(store):
        ended(others)


def test_delayed_and_retried_jobs_start_when_they_are_due(store: MemoryStore) -> None:
    @flows.task(attempts=3, backoff=Backoff.fixed("5ms"))
    def flaky() -> int:
        if flows.current().attempt < 3:
            raise ValueError("not yet")
        return flows.current().attempt

    with working(store):
        assert ended(submit(store, gather(flaky.using(delay="10ms")().out))).value == [3]


def test_a_worker_with_nothing_to_do_asks_for_nothing(store: MemoryStore) -> None:
    away = Unreliable(store)
    with working(away):
        ended(submit(store, double(1)))
        ended(submit(store, double(1)))
        settled = away.calls["exchange"]
        assert settled <= 6
        ended(submit(store, double(1)))
        assert away.calls["exchange"] <= settled + 3


def test_starts_of_rated_queues_are_told_once(store: MemoryStore) -> None:
    away = Unreliable(store)
    rated = Queue("default", rate="1000/s")
    one, other = double.using(queue=rated), adouble.using(queue=rated)
    with working(away):
        ended(submit(store, gather(*[job(number).out for number in range(5) for job in (one, other)])))
    assert away.calls["began"] == 11


def test_an_attempt_begins_when_the_store_says_and_takes_as_long_as_it_takes() -> None:
    instants = iter([1.0, 1.5])
    clock = _first(3.0, lambda: next(instants))
    assert (clock(), clock()) == (3.0, 3.5)


def test_what_a_handler_raises_that_would_end_a_process_fails_its_attempt(store: MemoryStore) -> None:
    @flows.task
    def leave() -> None:
        raise SystemExit(1)

    @flows.task
    async def aleave() -> None:
        raise KeyboardInterrupt

    with working(store):
        runs = [submit(store, job()) for job in (leave, aleave)]
        errors = [str(ended(run).jobs[run.plan.ids[0]].error) for run in runs]
        assert ended(submit(store, double(1))).value == 2
    assert errors == [
        "RuntimeError: leave: the handler raised SystemExit, which would have ended the worker",
        "RuntimeError: aleave: the handler raised KeyboardInterrupt, which would have ended the worker",
    ]


@pytest.mark.slow
def test_a_job_that_kills_its_process_fails_alone(store: MemoryStore) -> None:
    with working(store):
        run = submit(
            store,
            gather(
                die.using(run_in="process", on_failure="remove", id="deadly")().out,
                *[double(number).out for number in range(50)],
            ),
        )
        ended(run)
    assert states(run) == {"completed": 51, "failed": 1}
    deadly = view(run).jobs["deadly"]
    assert deadly.error is not None
    assert deadly.error.type == "LeaseLostError"
    assert [attempt.outcome for attempt in deadly.attempts] == ["lost"] * 3


def test_two_workers_never_make_the_same_attempt(store: MemoryStore) -> None:
    made: Counter[tuple[int, int]] = Counter()

    @flows.task
    def count(number: int) -> int:
        made[number, flows.current().attempt] += 1
        return number

    with working(store, slots=3), working(store, slots=3), working(store, slots=3):
        runs = [submit(store, gather(*[count(200 * run + n).out for n in range(200)])) for run in range(5)]
        for number, run in enumerate(runs):
            assert ended(run).value == [200 * number + n for n in range(200)]
    assert len(made) == 1000
    assert set(made.values()) == {1}


def test_many_short_jobs_share_an_exchange(store: MemoryStore) -> None:
    away = Unreliable(store)
    with working(away, slots=50):
        ended(submit(store, gather(*[double(number).out for number in range(3_000)])))
    assert away.calls["exchange"] < 3_000 / 15
