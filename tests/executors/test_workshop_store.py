"""Workers of any run whose store fails, loses replies, or takes leases away."""

import asyncio
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

import pytest

import flows
from executors._store import StaleCallError
from executors.memory import MemoryStore
from flows._context import current_grant
from flows._verbs import Grant, Reply, Settle, Want
from tests.executors.latch import PATIENCE, Latch, gather
from tests.executors.unreliable import Unreliable
from tests.executors.workshops import (
    double,
    ended,
    own_names,
    states,
    store,
    submit,
    working,
    workshop,
)

__all__ = ["own_names", "store"]  # fixtures


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


class AnswersLate(MemoryStore):
    """Its first grants come when their leases are over: their worker was stopped meanwhile, or the network was."""

    first: tuple[Grant, ...] = ()

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        reply = super().exchange(loop, seq, settles, want, worker)
        if reply.grants and not self.first:
            self.first = tuple(reply.grants)
            threading.Event().wait(0.35)
        return reply


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_job_does_not_start_under_a_lease_that_is_over(kind: str) -> None:
    store = AnswersLate(lease_seconds=0.3)
    began: list[int] = []

    @flows.task(name="note")
    def note() -> None:
        grant = current_grant.get()
        assert grant is not None
        began.append(grant.fence)

    @flows.task(name="anote")
    async def anote() -> None:
        note.fn()

    run = submit(store, note() if kind == "sync" else anote())
    with working(store):
        ended(run)
    assert began == [run.fences[0]]
    assert store.first[0].fence < began[0]


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
    assert run.state.lost == {0: 1}, "else one whose renewals are never confirmed could go on for ever"


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_runs_end_well_whatever_the_network_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows._worker.RETRY_SECONDS", (0.002, 0.01))
    luck, never = random.Random(seed), threading.Event()
    store = MemoryStore(lease_seconds=2.0, chunk=7)  # no handler, however late on a busy machine, outlasts it
    made: Counter[tuple[str, int, int]] = Counter()

    def note(number: int) -> int:
        grant = current_grant.get()
        made[grant.run.id, grant.job, grant.fence] += 1
        if luck.random() < 0.1:
            never.wait(luck.random() * 0.02)
        if luck.random() < 0.2:
            raise ConnectionError("luck")
        return number

    @flows.task(attempts=50)
    def sync(number: int) -> int:
        return note(number)

    @flows.task(attempts=50)
    async def later(number: int) -> int:
        await asyncio.sleep(0)
        return note(number)

    def fate(verb: str, number: int) -> str:
        never.wait(luck.random() * 0.004)
        return luck.choice(("fine", "fine", "fine", "lost", "unanswered")) if verb != "rescue" else "fine"

    away = Unreliable(store, fate)
    with working(away, slots=5, grace=PATIENCE), working(away, slots=3, ahead=False, grace=PATIENCE):
        runs = [
            submit(store, gather(*[later(sync(number).out).out for number in range(30)], flows.each(sync, [1, 2]).out))
            for _ in range(6)
        ]
        cancelled = submit(store, gather(*[sync(number).out for number in range(30)]))
        store.cancel(cancelled, "chosen")
        for run in runs:
            assert ended(run).value == [*range(30), [1, 2]]
            assert not run.state.lost
        assert ended(cancelled).state == "cancelled"
    assert set(made.values()) == {1}, "no grant was run twice"


def test_a_lease_counts_from_the_first_time_that_it_was_asked_for(store: MemoryStore) -> None:
    begun, go = Latch(), Latch()
    calls: list[float] = []

    @flows.task
    def hold() -> None:
        begun.open()
        go.wait()

    def fate(verb: str, number: int) -> str:
        if verb == "exchange":
            calls.append(time.monotonic())
        return "unanswered" if verb == "exchange" and not number else "fine"

    submit(store, hold())
    with working(Unreliable(store, fate), grace=PATIENCE) as shop:
        begun.wait()
        (since,) = shop._leases().values()
        assert since <= calls[0] < calls[1]
        go.open()
