"""MemoryStore verb by verb, under a clock that only the test moves."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors._store import StaleCallError
from executors.memory import MemoryRun, MemoryStore
from flows._verbs import End, Want
from flows.errors import Failed
from tests.executors.columns import Caller, Clock, done, kinds, other, plan_of, put, states
from tests.flows.naive_run import Dag, Edge, dags

TWO = Dag(("fail", "fail"), ())
CHAIN = Dag(("fail", "fail", "fail"), (Edge(0, 1), Edge(1, 2)))


@pytest.fixture
def clock() -> Clock:
    return Clock()


# Sequence numbers


def test_the_same_number_again_gets_the_same_reply_and_changes_nothing() -> None:
    store = MemoryStore()
    run = put(store, plan_of(TWO))
    call = Caller(store)
    first = call(limit=1)
    assert store.exchange("loop", 1, (), Want(64)) is first
    assert states(run) == ["active", "waiting"]
    settled = call(done(first.grants[0], "once"), limit=0)
    assert store.exchange("loop", 2, [done(first.grants[0], "twice")], Want(64)) is settled
    assert (run.values[0], states(run)) == ("once", ["completed", "waiting"])


def test_an_older_number_is_stale_and_changes_nothing() -> None:
    store = MemoryStore()
    run = put(store, plan_of(TWO))
    call = Caller(store)
    grants = call(limit=2).grants
    call(limit=0)
    with pytest.raises(StaleCallError, match="call 1 of loop"):
        store.exchange("loop", 1, [done(grants[0])], Want(64))
    assert states(run) == ["active", "active"]


def test_loops_count_each_for_itself_and_a_closed_one_begins_anew() -> None:
    store = MemoryStore()
    put(store, plan_of(TWO))
    one, two = Caller(store, "one"), Caller(store, "two")
    assert len(one(limit=1).grants) == len(two(limit=1).grants) == 1
    store.close_loop("one")
    store.close_loop("one")
    one.seq = 0
    assert one().grants == []


# Fences


def test_a_settle_with_an_older_fence_is_refused() -> None:
    store = MemoryStore()
    run = put(store, plan_of(TWO))
    call = Caller(store)
    (old,) = call(limit=1, run=run).grants
    call(other(old, End.RELEASED), limit=0)
    new = {grant.job: grant for grant in call().grants}[old.job]
    assert new.fence > old.fence
    late = done(old, "old")
    assert call(late, limit=0).refused == [late]
    assert call(done(new, "new"), limit=0).refused == []
    assert run.values[old.job] == "new"


@pytest.mark.parametrize("again", [End.COMPLETED, End.FAILED, End.RETRY, End.RELEASED])
@pytest.mark.parametrize("first", [End.COMPLETED, End.FAILED, End.SKIPPED])
@pytest.mark.parametrize("together", [True, False])
def test_the_first_settle_of_a_grant_stands(first: End, again: End, together: bool) -> None:
    store = MemoryStore()
    run = put(store, plan_of(CHAIN, attempts=3))
    call = Caller(store)
    (grant,) = call(limit=1).grants
    one = done(grant, "one") if first is End.COMPLETED else other(grant, first)
    two = done(grant, "two") if again is End.COMPLETED else other(grant, again)
    replies = [call(one, two, limit=0)] if together else [call(one, limit=0), call(two, limit=0)]
    assert all(not reply.refused for reply in replies)
    assert states(run)[0] == first.name.lower()
    assert run.state.open == {"completed": 2, "failed": 0, "skipped": 0}[states(run)[0]]
    if first is End.COMPLETED and not together:
        assert run.values[0] == "one"


def test_fences_grow_over_runs_and_loops() -> None:
    store = MemoryStore()
    runs = [put(store, plan_of(TWO)) for _ in range(3)]
    fences = [grant.fence for run in runs for name in "ab" for grant in Caller(store, name + run.id)(limit=1).grants]
    assert fences == sorted(set(fences))
    assert len(fences) == 6


# Delays and retries


def test_a_retry_waits_its_time_and_says_when_it_is_due(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    run = put(store, plan_of(Dag(("fail",), ()), attempts=3))
    call = Caller(store)
    (grant,) = call().grants
    reply = call(other(grant, End.RETRY, after=7.0))
    assert (reply.grants, reply.more, reply.due_at) == ([], False, 1007.0)
    clock.now = 1006.9
    assert call().grants == []
    clock.now = 1007.0
    reply = call()
    assert [(again.attempt, again.fence > grant.fence) for again in reply.grants] == [(2, True)]
    assert reply.due_at is None
    call(done(reply.grants[0]))
    assert kinds(run)[1:] == [
        ("started", "0", 1),
        ("retrying", "0", 1),
        ("started", "0", 2),
        ("completed", "0", 2),
        ("ended", None, None),
    ]


def test_the_last_attempt_fails_the_job_and_a_released_one_costs_none(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    run = put(store, plan_of(CHAIN, attempts=2))
    call = Caller(store)
    for expected, end in ((1, End.RELEASED), (1, End.RETRY), (2, End.RELEASED), (2, End.RETRY)):
        (grant,) = call().grants
        assert grant.attempt == expected
        call(other(grant, end), limit=0)
    assert states(run) == ["failed", "failed", "failed"]
    assert [run.failed(job).type for job in range(3)] == [
        "ValueError",
        "DependencyFailedError",
        "DependencyFailedError",
    ]
    assert "'0'" in run.failed(2).message


def test_a_delayed_job_is_not_granted_before_its_time(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    run = put(store, plan_of(TWO, delay=5.0))
    call = Caller(store)
    assert call().due_at == 1005.0
    store.cancel(run, "never mind")
    clock.now = 1010.0
    reply = call()
    assert (reply.grants, reply.due_at, states(run)) == ([], None, ["cancelled", "cancelled"])


# Whose turn it is


def test_a_worker_of_one_run_or_queue_gets_no_others() -> None:
    store = MemoryStore()
    one, two = put(store, plan_of(TWO)), put(store, plan_of(TWO))
    assert {grant.run for grant in Caller(store, "a")(run=two).grants} == {two}
    assert Caller(store, "b")(queues=frozenset({"elsewhere"})).grants == []
    assert {grant.run for grant in Caller(store, "c")(queues=frozenset({"default"})).grants} == {one}


def test_more_says_whether_anything_was_left() -> None:
    store = MemoryStore()
    run = put(store, plan_of(TWO))
    call = Caller(store)
    assert call(limit=0).more
    assert call(limit=1, run=run).more
    assert not call(limit=1).more
    assert not call(limit=1, run=run).more


def test_runs_of_equal_priority_take_turns_and_numbered_priorities_come_later() -> None:
    store = MemoryStore()
    late = put(store, plan_of(TWO, priority=1))
    long, short = put(store, plan_of(Dag(("fail",) * 100, ()))), put(store, plan_of(TWO))
    call = Caller(store)
    turns = [grant.run for _ in range(3) for grant in call(limit=40).grants]
    assert turns == [long] * 32 + [short] * 2 + [long] * 68 + [late] * 2


# Cancelling


def test_cancel_ends_what_has_not_started_and_leaves_active_jobs_to_their_settle(clock: Clock) -> None:
    store = MemoryStore(clock=clock)
    run = put(store, plan_of(Dag(("fail",) * 4, (Edge(0, 2), Edge(2, 3))), attempts=9))
    told: list[str] = []
    run.interrupters.append(lambda: told.append("stop"))
    call = Caller(store)
    (grant,) = call(limit=1).grants
    store.cancel(run, "enough")
    store.cancel(run, "again")
    assert (states(run), told) == (["active", "cancelled", "cancelled", "cancelled"], ["stop"])
    assert not run.ended
    assert call().grants == []
    call(other(grant, End.RETRY))
    assert (states(run), run.ended) == (["cancelled"] * 4, True)
    assert [run.failed(job).state for job in range(4)] == ["cancelled"] * 4
    assert run.failed(3) == Failed("RunCancelledError", "enough", "", "3", "cancelled")
    store.cancel(run, "it is over")
    assert kinds(run)[-1] == ("ended", None, None)


# Chunks


@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_wide_sweeps_are_continued_by_the_next_calls(chunk: int) -> None:
    store = MemoryStore(chunk=chunk)
    width = 7
    run = put(store, plan_of(Dag(("fail",) * (width + 1), tuple(Edge(0, job) for job in range(1, width + 1)))))
    call = Caller(store)
    reply = call(done(call(limit=1).grants[0]), limit=0)
    assert min(width, chunk) <= states(run).count("waiting") <= min(width, 2 * chunk)
    assert reply.more
    calls = 0
    while states(run).count("waiting") < width:
        calls += 1
        assert call(limit=0).more
    assert calls <= width
    assert len(call(limit=64, run=run).grants) == width


# Passing on


ENDS = [end for end in End if end not in (End.PASSED, End.EXPANDED)]  # those are of control jobs
orders = st.lists(st.tuples(st.integers(0, 100), st.sampled_from((*[End.COMPLETED] * 6, *ENDS))), max_size=40)


def played(dag: Dag, order: list[tuple[int, End]], passes: bool) -> tuple[Any, ...]:
    """Work a run off, claiming one job with each settle; by `pass_on` where the store will."""
    store = MemoryStore(clock=Clock(), epoch=0.0)
    run = put(store, plan_of(dag, attempts=2))
    call = Caller(store)
    held = call(limit=2, run=run).grants
    passed = 0
    for pick, end in [*order, *[(0, End.COMPLETED)] * 4 * dag.size]:
        if not held:
            held = call(limit=1, run=run).grants
            continue
        grant = held.pop(pick % len(held))
        settle = done(grant, (grant.job, grant.attempt)) if end is End.COMPLETED else other(grant, end)
        taken = store.pass_on(settle, "loop") if passes and end is End.COMPLETED else None
        if taken is None:
            held += call(settle, limit=1, run=run).grants
        else:
            passed += 1
            held.append(taken)
    assert run.ended
    return states(run), run.values, kinds(run), list(run.state.ordinal), run.state.turn, passed


@given(
    dags()
    | st.integers(2, 8).map(lambda size: Dag(("fail",) * size, tuple(Edge(job, job + 1) for job in range(size - 1)))),
    orders,
)
def test_passing_on_is_an_exchange_of_one_settle_that_wants_one_job(dag: Dag, order: list[tuple[int, End]]) -> None:
    *fast, passed = played(dag, order, passes=True)
    *slow, _ = played(dag, order, passes=False)
    assert fast == slow
    if len(dag.edges) == dag.size - 1 > 0 and {end for _, end in order} <= {End.COMPLETED} and dag == chain(dag.size):
        assert passed == dag.size - 1


def chain(size: int) -> Dag:
    return Dag(("fail",) * size, tuple(Edge(job, job + 1) for job in range(size - 1)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda store, run: store.cancel(run, "enough"),
        lambda store, run: run.lanes[0].jobs.append(2),
        lambda store, run: run.fences.__setitem__(0, 99),
    ],
    ids=["cancelled", "others wait", "newer fence"],
)
def test_nothing_is_passed_on_where_there_is_more_to_it(spoil: Callable[[MemoryStore, MemoryRun], None]) -> None:
    store = MemoryStore()
    run = put(store, plan_of(CHAIN))
    (grant,) = Caller(store)(run=run).grants
    spoil(store, run)
    before = (states(run), len(run.journal))
    assert store.pass_on(done(grant), "loop") is None
    assert (states(run), len(run.journal)) == before
