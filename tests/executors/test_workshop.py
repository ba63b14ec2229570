"""Workers of any run: what threads, the loop, processes and a store that may be away make of jobs."""

import asyncio
import logging
import os
import threading
from collections import Counter
from typing import Any

import pytest

import flows
from executors._store import StaleCallError
from executors.memory import MemoryRun, MemoryStore
from flows import Backoff, Queue
from flows._state import STATE_NAMES
from tests.executors.latch import PATIENCE, Latch, agather, gather
from tests.executors.unreliable import Unreliable
from tests.executors.workshops import ended, submit, view, working, workshop


@pytest.fixture(autouse=True)
def own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._registry._tasks", {})


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(lease_seconds=30.0)


@flows.task(name="shop-die")
def die() -> None:
    os._exit(7)


@flows.task(name="shop-double")
def double(number: int) -> int:
    return 2 * number


@flows.task(name="shop-adouble")
async def adouble(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@flows.task(name="shop-for-ever")
async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def until_in_process(run: MemoryRun, job: int) -> None:
    """Wait until the handler of *job* has begun in a child."""
    pause = threading.Event()
    while "/" not in (run.workers[job] or ""):
        pause.wait(0.005)


def states(run: MemoryRun) -> Counter[str]:
    return Counter(STATE_NAMES[code] for code in run.state.state)


# Jobs


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
        await asyncio.sleep(0.001)
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


# A store that fails


def log_of(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    return [(one.levelname, one.getMessage().split(": ", 1)[-1]) for one in caplog.records if one.name == "flows"]


@pytest.mark.parametrize("fate", ["lost", "unanswered"])
def test_calls_that_fail_are_made_again_and_no_job_is_done_twice(
    fate: str, store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flows")
    ran: Counter[int] = Counter()
    failing = {("exchange", number) for number in (0, 2, 3, 5)}

    @flows.task
    def once(number: int) -> int:
        ran[number] += 1
        return number

    away = Unreliable(store, lambda verb, number: fate if (verb, number) in failing else "fine")
    with working(away):
        run = ended(submit(store, gather(*[once(number).out for number in range(100)])))
    assert run.value == list(range(100))
    assert set(ran.values()) == {1}
    lines = [text for _, text in log_of(caplog)]
    assert lines.count("the store answers again") == sum("does not answer" in line for line in lines) >= 1


def test_what_the_store_says_no_to_for_good_ends_the_worker(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    away = Unreliable(store, lambda verb, number: StaleCallError("call 1 of loop") if verb == "exchange" else "fine")
    shop = workshop(away)
    shop.start()
    assert shop.wait(PATIENCE)
    assert isinstance(shop.error, StaleCallError)
    assert "cannot go on: StaleCallError: call 1 of loop" in caplog.text


def test_a_drain_ends_though_the_store_is_gone(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._leasing._ending.STOP_SECONDS", 0.01)
    monkeypatch.setattr("executors._leasing._ending.LAST_SECONDS", 0.01)
    begun = Latch()

    @flows.task
    def begin() -> None:
        begun.open()

    gone = threading.Event()
    away = Unreliable(store, lambda verb, number: "lost" if gone.is_set() or verb != "exchange" or number else "fine")
    run = submit(store, begin())
    with working(away):
        begun.wait()
    assert states(run) == {"active": 1}


def test_shared_results_survive_a_store_that_is_away(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._leasing._any_attempts.AWAY_SECONDS", 0.01)
    ran: list[str] = []

    @flows.task(idempotency_key="charge:1")
    def charge() -> str:
        ran.append("sync")
        return "paid"

    @flows.task(idempotency_key="charge:2")
    async def acharge() -> str:
        ran.append("async")
        return "paid, too"

    lost = {("file", 0), ("file", 2), ("reserve", 1)}
    away = Unreliable(store, lambda verb, number: "lost" if (verb, number) in lost else "fine")
    with working(away):
        first = ended(submit(store, gather(charge().out, acharge().out)))
        again = ended(submit(store, gather(charge().out, acharge().out)))
    assert first.value == again.value == ["paid", "paid, too"]
    assert sorted(ran) == ["async", "sync"]


# Leases


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_lease_that_is_lost_stops_the_handler_and_costs_no_attempt(kind: str) -> None:
    store = MemoryStore(lease_seconds=0.3)
    away = Unreliable(store)
    told: list[str] = []

    @flows.task(name="long")
    def long() -> str:
        while not told:
            if flows.current().cancelled:
                told.append("sync")
                flows.current().check()
        return "in the end"

    @flows.task(name="along")
    async def along() -> str:
        if not told:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                told.append("async")
                raise
        return "in the end"

    run = submit(store, long() if kind == "sync" else along())
    away.refusing.add((run.id, 0))
    with working(away, slots=2):
        assert ended(run).value == "in the end"
    assert told == [kind]
    assert not run.state.made
    assert not run.state.lost


def test_leases_are_kept_while_handlers_run_and_given_up_unconfirmed() -> None:
    store = MemoryStore(lease_seconds=0.3)
    mute = threading.Event()
    away = Unreliable(store, lambda verb, number: "lost" if verb == "extend" and mute.is_set() else "fine")
    stopped = Latch()

    @flows.task
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.open()

    run = submit(store, wait())
    with working(away):
        while away.calls.get("extend", 0) < 4:  # more than two leases
            assert not run.state.lost
            mute.wait(0.01)
        mute.set()
        stopped.wait()


def test_the_jobs_of_a_dead_worker_are_taken_up_by_another() -> None:
    store = MemoryStore(lease_seconds=0.3)
    run = submit(store, gather(double(1).out, double(2).out))
    dead = workshop(store)
    dead._floor.place = lambda grants: dead.quit()  # type: ignore[method-assign]  # dies with what it has claimed
    dead.start()
    assert dead.wait(PATIENCE)
    with working(store):
        assert ended(run).value == [2, 4]
    assert set(run.state.lost) == {0, 1}


# Cancelling


def test_a_cancel_from_anywhere_reaches_running_handlers(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._leasing._process_attempts.GRACE_SECONDS", 0.05)
    sync, begun = Latch(), Latch()

    @flows.task
    def long() -> None:
        sync.open()
        while True:
            flows.current().check()

    @flows.task
    async def along() -> None:
        begun.open()
        await asyncio.Event().wait()

    with working(store):
        run = submit(store, gather(long().out, along().out, wait_for_ever.using(run_in="process", id="child")().out))
        sync.wait()
        begun.wait()
        until_in_process(run, run.plan.ids.index("child"))
        store.cancel(run, "changed my mind")
        assert ended(run).state == "cancelled"
    assert states(run) == {"cancelled": 4}


def test_a_deadline_of_a_run_ends_it_though_its_thread_goes_on() -> None:
    store = MemoryStore(lease_seconds=0.3)
    free = Latch()

    @flows.task
    def stuck() -> None:
        free.wait()

    with working(store):
        run = submit(store, gather(stuck().out), timeout=0.05)
        assert ended(run).state == "cancelled"
        free.open()


# Ends


def test_a_drain_lets_handlers_end_and_gives_back_what_has_not_begun(store: MemoryStore) -> None:
    begun, go = Latch(), Latch()

    @flows.task
    def hold(number: int) -> int:
        begun.open()
        go.wait()
        return number

    run = submit(store, gather(*[hold(number).out for number in range(9)]))
    shop = workshop(store, slots=1, grace=PATIENCE)
    shop.start()
    begun.wait()
    shop.drain()
    late = submit(store, double(1))
    assert not shop.wait(0)
    go.open()
    assert shop.wait(PATIENCE)
    assert states(run)["completed"] >= 1
    assert states(run)["active"] == 0
    assert states(late) == {"waiting": 1}
    with working(store):
        assert ended(run).value == list(range(9))
    assert all(grant.number == 1 for job in range(9) for grant in run.attempts_of(job))


@pytest.mark.parametrize("kind", ["sync", "async", "process"])
def test_what_outlasts_the_grace_is_told_to_stop_and_goes_back_at_no_cost(
    kind: str, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("executors._leasing._process_attempts.GRACE_SECONDS", 0.05)
    begun, again = Latch(), threading.Event()

    @flows.task(attempts=1)
    def long() -> str:
        begun.open()
        while not again.is_set():
            flows.current().check()
        return "done"

    @flows.task(attempts=1)
    async def along() -> str:
        begun.open()
        await (asyncio.sleep(0) if again.is_set() else asyncio.Event().wait())
        return "done"

    in_process = wait_for_ever.using(run_in="process")
    run = submit(store, {"sync": long, "async": along, "process": in_process}[kind]())  # type: ignore[operator]
    with working(store):
        if kind == "process":
            until_in_process(run, 0)
        else:
            begun.wait()
    assert states(run) == {"waiting": 1}
    assert not run.state.made
    assert not run.state.lost
    again.set()
    if kind != "process":
        with working(store):
            assert ended(run).value == "done"


def test_a_thread_that_does_not_stop_is_let_go_and_its_result_dropped(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("executors._leasing._ending.STOP_SECONDS", 0.01)
    begun, free, ran = Latch(), Latch(), Latch()

    @flows.task
    def deaf() -> str:
        begun.open()
        free.wait()
        ran.open()
        return "late"

    run = submit(store, deaf())
    with working(store):
        begun.wait()
    assert states(run) == {"waiting": 1}
    assert "does not stop; it goes back" in caplog.text
    free.open()
    ran.wait()
    with working(store):
        assert ended(run).value == "late"


def test_threads_that_time_out_keep_their_slots_and_a_quarter_of_them_ends_the_worker(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    free = Latch()

    @flows.task(timeout="5ms", on_failure="ignore")
    def stuck() -> None:
        free.wait()

    shop = workshop(store, slots=8, grace=PATIENCE)
    shop.start()
    ended(submit(store, gather(stuck().out)))
    assert not shop.unwell
    assert shop.core.slots == 7
    assert ended(submit(store, double(1))).value == 2
    submit(store, gather(stuck().out))
    assert shop.wait(PATIENCE)
    assert shop.unwell
    assert "2 of 8 slots" in caplog.text
    free.open()


def test_a_worker_that_quits_tells_its_handlers_and_waits_for_none(store: MemoryStore) -> None:
    begun, stopped = Latch(), Latch()

    @flows.task
    def long() -> None:
        begun.open()
        while not flows.current().cancelled:
            pass
        stopped.open()

    run = submit(store, long())
    shop = workshop(store)
    shop.start()
    begun.wait()
    shop.quit()
    assert shop.wait(PATIENCE)
    stopped.wait()
    assert states(run) == {"active": 1}


# Jobs for which there is no handler


def test_a_job_without_a_handler_goes_back_for_a_while_and_the_log_says_so(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Unknown(list[Any]):
        def __getitem__(self, job: Any) -> Any:
            raise flows.UnknownTaskError("job 'charge': no task named 'charge' is registered for queue 'default'")

    double.using()
    run = submit(store, gather(*[double(number).out for number in range(3)]))
    known, run.handlers = run.handlers, Unknown()
    with working(store):
        while run.unhandled.keys() != {0, 1, 2}:
            threading.Event().wait(0.005)
    assert states(run) == {"delayed": 3, "waiting_children": 1}
    (warning,) = [one.getMessage() for one in caplog.records if "no handler" in one.getMessage()]
    assert "task 'shop-double' of queue 'default'" in warning
    assert "start it with the module that defines the task" in warning
    waits = sorted(round(run.due[job] - run.unhandled[job]) for job in range(3))
    assert waits == [5, 10, 20]
    run.handlers = known


def test_jobs_are_logged_one_by_one_where_the_store_does_not(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "flows.jobs")

    @flows.task(attempts=2)
    def flaky() -> None:
        raise ValueError("no")

    with working(store, logs_jobs=True):
        run = submit(store, gather(flows.optional(flaky().out), double(1).out))
        ended(run)
    lines = sorted(one.getMessage() for one in caplog.records if one.name == "flows.jobs")
    kinds = Counter(one.__dict__["flows_event"] for one in caplog.records if one.name == "flows.jobs")
    assert kinds == {"started": 4, "completed": 2, "retrying": 1, "failed": 1}
    assert lines[0].startswith("flaky attempt 1/2 failed after ")
    assert lines[0].endswith(": ValueError: no; again at once")
    assert {one.__dict__["flows_run"] for one in caplog.records if one.name == "flows.jobs"} == {run.id}
    assert all(one.__dict__["flows_seconds"] is not None for one in caplog.records if " completed" in one.getMessage())
