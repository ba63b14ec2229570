"""Workers of any run: cancels, drains, threads that are left behind, jobs that have no handler, the log."""

import asyncio
import logging
import re
import threading
from collections import Counter
from typing import Any

import pytest

import flows
from executors.memory import MemoryStore
from flows._verbs import End, Grant, Settle
from tests.executors.columns import Caller
from tests.executors.latch import PATIENCE, Latch, gather
from tests.executors.workshops import (
    double,
    ended,
    own_names,
    states,
    store,
    submit,
    until_in_process,
    wait_for_ever,
    working,
    workshop,
)

__all__ = ["own_names", "store"]  # fixtures


def test_a_cancel_from_anywhere_reaches_running_handlers(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("executors._leasing._process_attempts.GRACE_SECONDS", 0.05)
    sync, begun, never = Latch(), Latch(), threading.Event()

    @flows.task
    def long() -> None:
        sync.open()
        while not never.wait(0.01):
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


def test_a_drain_begins_though_outcomes_never_cease(store: MemoryStore) -> None:
    ran: list[int] = []

    @flows.task
    def count(number: int) -> None:
        ran.append(number)
        if len(ran) == 200:
            shop.drain()

    run = submit(store, gather(*[count(number).out for number in range(3_000)]))
    shop = workshop(store, grace=PATIENCE)
    shop.start()
    assert shop.wait(PATIENCE)
    assert 200 <= states(run)["completed"] == len(ran) < 1_000
    assert states(run)["active"] == 0


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


def test_a_line_a_minute_says_how_the_worker_is(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flows")
    shop = workshop(store, name="well", slots=4)
    shop._reports.health_at = 0.0
    run = submit(store, gather(*[double(number).out for number in range(3)]))
    shop.start()
    ended(run)
    shop.drain()
    assert shop.wait(PATIENCE)
    lines = [one.getMessage() for one in caplog.records if "slots active" in one.getMessage()]
    assert len(lines) == 1, "the next is due in a minute"
    assert re.fullmatch(
        r"worker well: \d jobs done and 0 failed in \d+ s \([0-9.]+/s\); \d of 4 slots active, \d leases", lines[0]
    )
    assert "worker well has ended; 4 jobs done, 0 failed" in caplog.text


def test_a_thread_that_was_left_behind_and_comes_back_has_its_slot_again(store: MemoryStore) -> None:
    free = Latch()

    @flows.task(timeout="5ms", attempts=2)
    def stuck() -> str:
        if flows.current().attempt == 1:
            free.wait()
        return f"attempt {flows.current().attempt}"

    with working(store, slots=8, grace=PATIENCE) as shop:
        assert ended(submit(store, stuck())).value == "attempt 2"
        assert shop.core.slots == 7
        free.open()
        pause = threading.Event()
        while shop.core.slots != 8:
            pause.wait(0.005)
        assert ended(submit(store, double(1))).value == 2
    assert shop.core.held == 0


def test_a_second_outcome_of_a_grant_is_dropped(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flows")
    with working(store) as shop:
        run = submit(store, double(1))
        ended(run)
        shop._floor.put(Settle(Grant(run, 0, 1, run.fences[0]), End.COMPLETED, 3, 0.0, 0.0))
        assert ended(submit(store, double(2))).value == 4
    assert shop.core.held == 0
    assert f"the late result of attempt 1 of job 'shop-double' of run {run.id} was dropped" in caplog.text
    assert run.values[0] == 2


def test_what_is_told_to_stop_before_it_has_begun_never_begins(store: MemoryStore) -> None:
    ran: list[int] = []

    @flows.task
    def count(number: int) -> None:
        ran.append(number)

    shop = workshop(store)
    released, cancelled = submit(store, count(1)), submit(store, count(2))
    grants = Caller(store)().grants
    grants[0].stop = "its lease was lost"
    store.cancel(cancelled, "no more")
    shop._floor.place(grants)
    assert shop._floor.lend()
    ends = {settle.grant.run.id: settle.end for settle in shop._floor.done}
    assert ends == {released.id: End.RELEASED, cancelled.id: End.CANCELLED}
    assert not ran
