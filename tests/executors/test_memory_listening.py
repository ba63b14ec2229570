"""MemoryStore and workers of any run: who is told of what, and what becomes of jobs that nobody has a handler for."""

import pytest

from executors.memory import MemoryStore
from flows._state import UNHANDLED_SECONDS
from flows._verbs import End, FailedSettle, Grant
from flows.errors import UnknownTaskError
from tests.executors.columns import Caller, Clock, done, other, plan_of, put, states
from tests.flows.naive_run import Dag, Edge

ONE = Dag(("fail",), ())
CHAIN = Dag(("fail", "fail"), (Edge(0, 1),))
TWO = Dag(("fail", "fail"), ())


class Ear:
    """A listener that keeps what it is told."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self.woken = 0
        self.stopped: list[str] = []
        self.overdue_at: list[float] = []
        self.close = store.listen(name, frozenset({"default"}), self)

    def wake(self) -> None:
        self.woken += 1

    def stop(self, run_id: str) -> None:
        self.stopped.append(run_id)

    def overdue(self, instant: float) -> None:
        self.overdue_at.append(instant)

    def heard(self) -> bool:
        woken, self.woken = self.woken, 0
        return woken > 0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock, epoch=0.0, lease_seconds=30.0)


def test_workers_hear_of_all_that_may_be_claimed_but_of_their_own_calls(store: MemoryStore, clock: Clock) -> None:
    caller, mine, others = Caller(store, "mine"), Ear(store, "mine"), Ear(store, "others")
    run = put(store, plan_of(CHAIN, attempts=3))
    assert (mine.heard(), others.heard()) == (True, True), "submitted"
    (grant,) = caller().grants
    assert (mine.heard(), others.heard()) == (False, False), "nothing is left"
    (grant,) = caller(done(grant)).grants
    assert (mine.heard(), others.heard()) == (False, True), "the reply has told mine"
    caller(other(grant, End.RETRY, 7.0), limit=0)
    assert others.heard(), "due sooner than it may know"
    clock.now += 8.0
    (grant,) = caller().grants
    clock.now += 30.0
    assert store.rescue() == 1
    assert (mine.heard(), others.heard()) == (True, True), "taken back"
    store.cancel(run, "no more")
    assert (mine.stopped, others.stopped) == ([run.id], [run.id])
    mine.heard()
    store.reopen(run, None, anew=False)
    assert (mine.heard(), others.heard()) == (True, True), "reopened"
    others.close()
    put(store, plan_of(ONE))
    assert (mine.heard(), others.heard()) == (True, False), "has left"


def test_workers_hear_that_a_limited_queue_has_room_again(store: MemoryStore) -> None:
    from flows import Queue

    one, other_one = Caller(store, "one"), Caller(store, "other")
    ear = Ear(store, "other")
    put(store, plan_of(TWO, queues=[Queue("default", concurrency=1)]))
    (grant,) = one().grants
    assert other_one().grants == []
    ear.heard()
    one(done(grant), limit=0)
    assert ear.heard()
    assert len(other_one().grants) == 1


def away(grant: Grant) -> FailedSettle:
    return FailedSettle(grant, End.RELEASED, UnknownTaskError("no task named 'told'"), 0.0, 0.0, 60.0)


def test_a_job_without_a_handler_fails_after_a_day_and_not_before(store: MemoryStore, clock: Clock) -> None:
    run = put(store, plan_of(CHAIN, attempts=1))
    call = Caller(store)
    first = clock.now
    while clock.now - first < UNHANDLED_SECONDS:
        (grant,) = call().grants
        call(away(grant), limit=0)
        assert states(run) == ["delayed", "waiting_children"]
        clock.now += 3600.0
    (grant,) = call().grants
    call(away(grant))
    assert (states(run), run.ended) == (["failed", "failed"], True)
    assert str(run.failed(0)) == "UnknownTaskError: 0: no task named 'told'"
    assert not run.state.made


def test_the_day_begins_anew_once_a_handler_was_there(store: MemoryStore, clock: Clock) -> None:
    run = put(store, plan_of(ONE, attempts=5))
    call = Caller(store)
    (grant,) = call().grants
    call(away(grant))
    clock.now += UNHANDLED_SECONDS - 1
    (grant,) = call().grants
    (grant,) = call(other(grant, End.RETRY)).grants
    clock.now += 2.0
    call(away(grant))
    assert states(run) == ["delayed"]


def test_workers_hear_of_each_deadline_until_it_has_passed(store: MemoryStore, clock: Clock) -> None:
    ear = Ear(store, "w")
    now = clock.now
    later, sooner, longest = (put(store, plan_of(CHAIN), timeout=timeout) for timeout in (20.0, 10.0, 40.0))
    assert ear.overdue_at == [now + 20.0, now + 10.0, now + 40.0]
    other = Ear(store, "other")
    assert other.overdue_at == [now + 10.0]
    for passed, following in ((10.0, 20.0), (20.0, 40.0)):
        clock.now = now + passed
        store.rescue()
        assert other.overdue_at[-1] == now + following
    assert (later.ended, sooner.ended, longest.ended) == (True, True, False)
