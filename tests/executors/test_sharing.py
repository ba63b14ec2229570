"""Results shared under job-level keys in the memory store: crashes, take-overs, waiting, and what is let go."""

import dataclasses
import gc
import threading
import weakref
from typing import Any

import pytest

import flows
from executors._leasing._sharing import Sharing
from executors.memory import MemoryExecutor, MemoryRun, MemoryStore
from flows._shared_results import digest_of, owner_of
from flows._verbs import End, FailedSettle, Grant, ReplayedSettle, Settle
from tests.executors.columns import Caller, Clock, done, kinds, other, put, states

SOON = 20.0


@flows.task(name="sharing-pay", idempotency_key="k")
def pay(value: Any = 1) -> Any:
    return value


def world(lease: float | None = 30.0) -> tuple[MemoryStore, Clock, Sharing, Caller]:
    clock = Clock()
    store = MemoryStore(clock=clock, epoch=0.0, lease_seconds=lease)
    return store, clock, Sharing(store), Caller(store)


def start(call: Caller, run: MemoryRun) -> Grant:
    (grant,) = call(limit=1, run=run).grants
    return grant


def test_a_crash_between_filing_and_settling_replays_the_result() -> None:
    store, clock, sharing, call = world()
    run = put(store, flows.plan(pay()))
    grant = start(call, run)
    assert sharing.before(grant, clock) is None
    sharing.after(done(grant, "paid"))  # and the worker dies
    clock.now += 31
    assert store.rescue() == 1
    again = start(call, run)
    settle = sharing.before(again, clock)
    assert isinstance(settle, ReplayedSettle)
    call(settle, limit=0)
    assert (states(run), run.values) == (["completed"], ["paid"])


def test_a_crash_between_the_effect_and_filing_runs_it_again() -> None:
    store, clock, sharing, call = world()
    run = put(store, flows.plan(pay()))
    assert sharing.before(start(call, run), clock) is None
    clock.now += 31
    store.rescue()
    assert sharing.before(start(call, run), clock) is None


def test_a_zombie_files_nothing_and_the_first_filing_counts() -> None:
    store, clock, sharing, call = world()
    run = put(store, flows.plan(pay()))
    zombie = start(call, run)
    sharing.before(zombie, clock)
    clock.now += 31
    store.rescue()
    newest = start(call, run)
    sharing.before(newest, clock)
    assert sharing.after(done(zombie, "zombie")).value == "zombie"
    assert sharing.after(done(newest, "newest")).value == "newest"
    assert sharing.after(done(newest, "again")).value == "newest"


def test_a_late_result_counts_until_the_store_knows_better() -> None:
    store, clock, sharing, call = world()
    first, second = put(store, flows.plan(pay.using(attempts=2)())), put(store, flows.plan(pay()))
    late = start(call, first)
    sharing.before(late, clock)
    call(other(late, End.RETRY, after=60.0), limit=0)
    assert sharing.after(done(late, "late")).value == "late"
    waiting(sharing, clock, start(call, second))
    clock.now += 60
    again = start(call, first)
    assert sharing.before(again, clock) is None
    again.stop = "the attempt timed out"  # and nobody has told the store yet: the effect has been made
    sharing.after(done(again, "just in time"))
    call(other(again, End.FAILED), limit=0)
    settle = sharing.before(start(call, put(store, flows.plan(pay()))), clock)
    assert settle is not None
    assert settle.value == "just in time"


def waiting(sharing: Sharing, clock: Clock, grant: Grant) -> Settle:
    settle = sharing.before(grant, clock)
    assert isinstance(settle, FailedSettle)
    assert (settle.end, settle.error) == (End.RELEASED, None)
    return settle


def test_one_who_waits_looks_again_as_soon_as_the_result_is_filed() -> None:
    store, clock, sharing, call = world()
    first, second = put(store, flows.plan(pay())), put(store, flows.plan(pay()))
    owner = start(call, first)
    sharing.before(owner, clock)
    for _ in range(8):
        call(waiting(sharing, clock, start(call, second)), limit=0)
        assert states(second) == ["delayed"]
        clock.now += 5.0
    call(waiting(sharing, clock, start(call, second)), limit=0)
    sharing.after(done(owner, "paid"))
    settle = sharing.before(start(call, second), clock)  # at the same instant, though it would have waited 5 s
    assert isinstance(settle, ReplayedSettle)
    call(settle, limit=0)
    assert kinds(second)[-3:] == [
        ("replayed", "sharing-pay", None),
        ("completed", "sharing-pay", None),
        ("ended", None, None),
    ]
    assert (list(second.attempts_of(0)), second.state.made) == ([], {})


def test_one_who_was_woken_keeps_nothing_of_its_wait() -> None:
    store, clock, sharing, call = world()
    first, second = put(store, flows.plan(pay())), put(store, flows.plan(pay.using(attempts=2)()))
    first.options = dataclasses.replace(first.options, key_ttl=0.0)
    owner = start(call, first)
    sharing.before(owner, clock)
    call(FailedSettle(start(call, second), End.RELEASED, None, 0.0, 0.0, after=1.0), limit=0)
    store._shared["k"].waiting[second.id, 0] = weakref.ref(second)
    sharing.after(done(owner, "paid"))  # the result is gone at once: the second runs itself, and fails
    mine = start(call, second)
    assert sharing.before(mine, clock) is None
    call(other(mine, End.RETRY, after=60.0), limit=0)
    clock.now += 59
    assert not call(run=second).grants
    clock.now += 1
    assert call(run=second).grants


@pytest.mark.parametrize("end", [End.FAILED, End.SKIPPED, End.CANCELLED])
def test_of_those_who_wait_one_takes_over_when_the_owner_has_failed(end: End) -> None:
    store, clock, sharing, call = world()
    first = put(
        store,
        flows.plan(flows.task(lambda *_: 0, name="sharing-both")(pay().out, pay.using(idempotency_key="l")(2).out)),
    )
    seconds = [put(store, flows.plan(pay())) for _ in range(3)]
    owner, still_open = call(limit=2, run=first).grants
    sharing.before(owner, clock)
    call(*[waiting(sharing, clock, start(call, run)) for run in seconds], limit=0)
    call(other(owner, end))
    assert not first.ended
    clock.now += 1
    grants = [start(call, run) for run in seconds]
    moves = [sharing.before(grant, clock) for grant in grants]
    assert [move is None for move in moves] == [True, False, False]
    assert still_open.fence
    sharing.after(done(grants[0], "paid"))
    assert [isinstance(sharing.before(grant, clock), ReplayedSettle) for grant in grants[1:]] == [True, True]


def test_an_owner_who_tries_again_keeps_the_key() -> None:
    store, clock, sharing, call = world()
    first, second = put(store, flows.plan(pay.using(attempts=2)())), put(store, flows.plan(pay()))
    owner = start(call, first)
    sharing.before(owner, clock)
    call(other(owner, End.RETRY, after=600.0), limit=0)
    waiting(sharing, clock, start(call, second))
    clock.now += 600
    assert sharing.before(start(call, first), clock) is None


def test_a_shared_result_keeps_no_run() -> None:
    executor = MemoryExecutor("memory://?private=1")
    run = flows.execute(pay("x"), executor=executor)
    gone, executor.store._loops = weakref.ref(run._record), {}
    del run
    gc.collect()
    assert gone() is None
    assert flows.execute(pay("x"), executor=executor).value == "x"
    assert executor.store._shared["k"].shown().owner_state is None


def test_what_a_run_leaves_reserved_is_free_when_it_has_ended() -> None:
    store, clock, sharing, call = world()
    first = put(store, flows.plan(pay()))
    sharing.before(start(call, first), clock)
    store.abandon(first, "interrupted")
    assert not store._shared
    assert sharing.before(start(call, put(store, flows.plan(pay(2)))), clock) is None


def test_only_the_named_owner_is_replaced() -> None:
    store, clock, sharing, call = world()
    grants = [start(call, put(store, flows.plan(pay()))) for _ in range(3)]
    for grant in grants[:2]:
        sharing.before(grant, clock)
    digest = digest_of(grants[2])
    assert store.reserve("k", digest, grants[2], owner_of(grants[1])).owner == owner_of(grants[0])
    assert store.reserve("k", digest, grants[2], owner_of(grants[0])).owner == owner_of(grants[2])
    assert store.file("k", grants[0], "late") == "late"
    assert store.file("k", grants[2], "paid") == "paid"
    assert store.reserve("k", digest, grants[0]).value == "paid"


def test_results_are_let_go_when_their_time_is_over() -> None:
    class Precious: ...

    executor, clock = MemoryExecutor("memory://?private=1"), Clock()
    executor._home.store = store = MemoryStore(clock=clock, epoch=0.0)
    make = flows.task(lambda: Precious(), name="sharing-make")
    watched: list[weakref.ref[Any]] = []
    for number in range(40):
        run = flows.execute(make.using(idempotency_key=f"k{number}")(), executor=executor, key_ttl=10)
        watched.append(weakref.ref(run.value))
    del run
    gc.collect()
    assert sum(one() is not None for one in watched) == len(store._shared) == 40
    clock.now += 10
    for number in range(40, 43):
        flows.execute(make.using(idempotency_key=f"k{number}")(), executor=executor, key_ttl=0)
        assert len(store._shared) >= 40 - 16 * (number - 39)
    gc.collect()
    assert [one() for one in watched] == [None] * 40


def test_a_job_that_waits_holds_no_slot() -> None:
    executor = MemoryExecutor("memory://?private=1&concurrency=1")
    started, let_go, aside = threading.Event(), threading.Event(), threading.Event()

    @flows.task(name="sharing-held", idempotency_key="held")
    def held() -> str:
        started.set()
        assert let_go.wait(SOON)
        return "held"

    step = flows.task(lambda: aside.set(), name="sharing-aside")
    first = flows.submit(held(), executor=executor)
    assert started.wait(SOON)
    second = flows.submit(flows.task(lambda *_: "both", name="sharing-join")(held().out, step().out), executor=executor)
    assert aside.wait(SOON)
    assert second.jobs["sharing-held"].state != "completed"
    let_go.set()
    assert (first.wait(SOON).value, second.wait(SOON).value) == ("held", "both")


def test_many_runs_of_one_key_at_once_have_one_effect() -> None:
    executor = MemoryExecutor("memory://?private=1")
    effects: list[int] = []

    @flows.task(name="sharing-effect", attempts=3)
    def effect(number: int) -> int:
        effects.append(number)
        return number

    join = flows.task(lambda *results: list(results), name="sharing-all")
    runs = [
        flows.submit(
            join(*[effect.using(id=f"e{key}", idempotency_key=f"e{key}")(key).out for key in range(10)]),
            executor=executor,
        )
        for _ in range(50)
    ]
    assert all(run.wait(SOON).value == list(range(10)) for run in runs)
    assert sorted(effects) == list(range(10))


@flows.task(name="sharing-slow", idempotency_key="slow")
def slow(value: Any = 1) -> Any:
    begun.set()
    opened.wait(SOON)
    return value


begun, opened = threading.Event(), threading.Event()


def test_looking_at_what_stands_under_a_key_is_no_start_that_a_rate_counts() -> None:
    executor, queue = MemoryExecutor("memory://?private=1"), flows.Queue("sharing-rated", rate="3/1h")
    begun.clear()
    opened.clear()
    owner = flows.submit(slow(), executor=executor)
    assert begun.wait(SOON)  # and so it has the key, which it has not as soon as it is claimed
    other_run = flows.submit(slow.using(queue=queue)(), executor=executor)
    looks = 0
    for event in other_run.events():
        looks += event.kind == "released"
        if looks == 4:
            opened.set()
    assert (owner.wait(SOON).value, other_run.wait(SOON).value) == (1, 1)
    assert "replayed" in [event.kind for event in other_run.events()]
    again = [slow.using(queue=queue, idempotency_key=f"own-{one}")(one) for one in range(3)]
    assert [flows.execute(job, executor=executor).value for job in again] == [0, 1, 2]
    seen = executor.store.limit_of("sharing-rated")
    assert seen is not None
    assert seen.next_at is not None
