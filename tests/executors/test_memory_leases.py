"""MemoryStore with leases: what becomes of the jobs of workers that died, froze or were cut off."""

import pytest

from executors.memory import MemoryStore
from flows._verbs import End, Settle
from tests.executors.columns import Caller, Clock, done, plan_of, put, states
from tests.flows.naive_run import Dag, Edge

TWO = Dag(("fail", "fail"), ())
CHAIN = Dag(("fail", "fail", "fail"), (Edge(0, 1), Edge(1, 2)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leased(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock, epoch=0.0, lease_seconds=30.0)


def test_leases_end_unless_they_are_extended(leased: MemoryStore, clock: Clock) -> None:
    run = put(leased, plan_of(TWO))
    one, two = Caller(leased)().grants
    clock.now += 29.0
    assert leased.extend([one]) == []
    clock.now += 0.999
    assert leased.rescue() == 0
    clock.now += 0.001
    assert leased.rescue() == 1
    assert states(run) == ["active", "waiting"]
    assert leased.extend([one, two]) == [two]
    clock.now += 30.0
    assert leased.rescue() == 1


def test_an_ended_attempt_has_no_lease(leased: MemoryStore, clock: Clock) -> None:
    run = put(leased, plan_of(CHAIN))
    call = Caller(leased)
    (grant,) = call().grants
    (second,) = call(done(grant)).grants
    assert leased.extend([grant, second]) == [grant]
    clock.now += 30.0
    assert leased.rescue() == 1
    assert states(run) == ["completed", "waiting", "waiting_children"]


def test_the_result_of_a_worker_that_lost_its_lease_is_refused_even_before_another_has_the_job(
    leased: MemoryStore, clock: Clock
) -> None:
    run = put(leased, plan_of(CHAIN))
    zombie, other_worker = Caller(leased, "zombie"), Caller(leased, "other")
    (lost,) = zombie().grants
    clock.now += 30.0
    leased.rescue()
    late = done(lost, "late")
    assert zombie(late, limit=0).refused == [late]
    (again,) = other_worker().grants
    assert (again.suspect, again.attempt) == (True, 1)
    assert zombie(late, limit=0).refused == [late]
    other_worker(done(again, "in time"))
    assert run.values[0] == "in time"
    assert [(attempt.number, attempt.outcome) for attempt in run.attempts_of(0)] == [(1, "lost"), (1, "completed")]


def test_a_lease_of_another_is_not_extended(leased: MemoryStore, clock: Clock) -> None:
    put(leased, plan_of(CHAIN))
    (lost,) = Caller(leased, "frozen")().grants
    clock.now += 30.0
    leased.rescue()
    (again,) = Caller(leased, "other")().grants
    clock.now += 20.0
    assert leased.extend([lost]) == [lost]
    clock.now += 10.0
    assert leased.rescue() == 1
    assert leased.extend([again]) == [again]


def test_a_job_that_loses_three_workers_has_failed(leased: MemoryStore, clock: Clock) -> None:
    run = put(leased, plan_of(CHAIN, attempts=1))
    call = Caller(leased)
    for lost in range(3):
        reply = call()
        assert [grant.suspect for grant in reply.grants] == [lost > 0]
        assert reply.suspects == (lost > 0)
        clock.now += 30.0
        assert leased.rescue() == 1
    assert states(run) == ["failed"] * 3
    assert run.failed(0).type == "LeaseLostError"
    assert call().grants == []
    last = done(reply.grants[0])
    assert call(last).refused == [last]


def test_a_job_of_a_cancelled_run_that_loses_its_worker_is_cancelled(leased: MemoryStore, clock: Clock) -> None:
    run = put(leased, plan_of(CHAIN))
    Caller(leased)()
    leased.cancel(run, "enough")
    clock.now += 30.0
    leased.rescue()
    assert (states(run), run.ended) == (["cancelled"] * 3, True)
    assert str(run.failed(0)) == "RunCancelledError: 0: enough"


def test_suspects_are_handed_out_one_at_a_time(leased: MemoryStore, clock: Clock) -> None:
    put(leased, plan_of(Dag(("fail",) * 4, ())))
    Caller(leased, "dead")(limit=3)
    clock.now += 30.0
    assert leased.rescue() == 3
    call = Caller(leased)
    assert [grant.suspect for grant in call(suspects=False).grants] == [False], "the one that had not been granted"
    reply = call()
    assert [grant.suspect for grant in reply.grants] == [True]
    assert call(suspects=False).grants == []
    assert len(call(done(reply.grants[0])).grants) == 1
    assert call(limit=0).grants == []


def test_a_suspect_that_goes_back_unrun_is_one_still(leased: MemoryStore, clock: Clock) -> None:
    put(leased, plan_of(Dag(("fail",) * 2, ())))
    Caller(leased, "dead")()
    clock.now += 30.0
    assert leased.rescue() == 2
    call = Caller(leased)
    (grant,) = call().grants
    back = Settle(grant, End.RELEASED, None, clock.now, clock.now)
    assert [(one.suspect, one.job) for one in call(back).grants] == [(True, 1)]
    assert [(one.suspect, one.job) for one in Caller(leased, "other")().grants] == [(True, 0)]


def test_a_cancelled_suspect_does_not_stand_in_the_way_of_another(leased: MemoryStore, clock: Clock) -> None:
    gone, alive = put(leased, plan_of(TWO)), put(leased, plan_of(TWO))
    Caller(leased, "dead")()
    clock.now += 30.0
    assert leased.rescue() == 4
    leased.cancel(gone, "no more")
    (grant,) = Caller(leased)().grants
    assert grant.run is alive


def test_nothing_is_passed_on_under_leases(leased: MemoryStore) -> None:
    run = put(leased, plan_of(CHAIN))
    (grant,) = Caller(leased)(run=run).grants
    assert leased.pass_on(done(grant), "loop") is None


def test_nothing_is_granted_of_a_run_whose_time_is_over(leased: MemoryStore, clock: Clock) -> None:
    late, other = put(leased, plan_of(CHAIN), timeout=10.0), put(leased, plan_of(TWO))
    call = Caller(leased)
    (first,) = call(limit=1).grants
    assert first.run is late
    clock.now += 10.0
    assert {grant.run for grant in call(done(first)).grants} == {other}
    assert states(late) == ["completed", "cancelled", "cancelled"]
    assert late.reason == "timeout"
