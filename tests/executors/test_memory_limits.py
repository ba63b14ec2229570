"""Limits of queues in the in-memory store, under a clock that only the test moves."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executors.memory import MemoryStore
from flows import Queue
from flows._verbs import End
from tests.executors.columns import Caller, Clock, done, other, plan_of, put, states
from tests.executors.limited import World
from tests.flows.naive_run import Dag, Edge, dags

FIVE = Queue("q", concurrency=5)
RATED = Queue("q", rate="3/2s")


def wide(jobs: int) -> Dag:
    return Dag(("fail",) * jobs, ())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock, epoch=0.0)


# Concurrency


def test_no_more_are_granted_than_there_are_places_and_that_is_no_reason_to_ask_again(store: MemoryStore) -> None:
    run = put(store, plan_of(wide(8), queues=[FIVE]))
    call = Caller(store)
    reply = call(run=run)
    assert (len(reply.grants), reply.more, reply.due_at) == (5, False, None)
    again = call(run=run)
    assert (again.grants, again.more) == ([], False)
    assert run.held_back(7) == "waits for a free place on queue q (5 of 5 active)"
    assert run.held_back(0) is None
    reply = call(done(reply.grants[0]), done(reply.grants[1]), run=run)
    assert [grant.job for grant in reply.grants] == [5, 6]


@pytest.mark.parametrize("end", [End.COMPLETED, End.FAILED, End.RETRY, End.SKIPPED, End.CANCELLED, End.RELEASED])
def test_a_place_comes_back_however_the_attempt_ends(store: MemoryStore, end: End) -> None:
    run = put(store, plan_of(wide(2), queues=[Queue("q", concurrency=1)], attempts=2))
    call = Caller(store)
    (grant,) = call(run=run).grants
    settle = done(grant) if end is End.COMPLETED else other(grant, end, after=9.0)
    assert [next_.job for next_ in call(settle, run=run).grants] == [1]


def test_a_place_is_given_back_once(store: MemoryStore) -> None:
    run = put(store, plan_of(wide(4), queues=[Queue("q", concurrency=2)]))
    call = Caller(store)
    first, second = call(run=run).grants
    assert len(call(done(first), done(first), run=run).grants) == 1
    assert call(done(first), run=run).grants == []
    assert len(call(done(second), run=run).grants) == 1


def test_all_runs_share_the_places_and_other_queues_go_on(store: MemoryStore) -> None:
    one, two = (put(store, plan_of(wide(8), queues=[FIVE, "free"])) for _ in range(2))
    assert len(Caller(store, "one")(run=one).grants) == 8
    reply = Caller(store, "two")(run=two)
    assert {two.plan.queues_of[grant.job] for grant in reply.grants} == {"q", "free"}
    assert (len(reply.grants), reply.more) == (5, False)


def test_workers_for_any_run_obey_limits_too(store: MemoryStore) -> None:
    for _ in range(3):
        put(store, plan_of(wide(6), queues=[FIVE, "free"]))
    call = Caller(store)
    reply = call()
    queues = [grant.run.plan.queues_of[grant.job] for grant in reply.grants]
    assert (queues.count("q"), queues.count("free"), reply.more) == (5, 9, False)
    settled = next(grant for grant in reply.grants if grant.run.plan.queues_of[grant.job] == "q")
    assert len(call(done(settled)).grants) == 1


def test_jobs_of_a_limited_queue_are_not_claimed_ahead(store: MemoryStore) -> None:
    run = put(store, plan_of(wide(9), queues=[FIVE, "free"]))
    reply = Caller(store)(run=run, limit=64, at_once=2)
    queues = [run.plan.queues_of[grant.job] for grant in reply.grants]
    assert (queues.count("q"), queues.count("free"), reply.more) == (2, 4, False)


def test_nothing_is_passed_on_past_a_limit(store: MemoryStore) -> None:
    run = put(store, plan_of(Dag(("fail",) * 2, (Edge(0, 1),)), queues=[FIVE]))
    (grant,) = Caller(store)(run=run).grants
    assert store.pass_on(done(grant), "loop") is None


def test_a_lost_lease_frees_its_place_and_its_zombie_frees_none(clock: Clock) -> None:
    store = MemoryStore(clock=clock, epoch=0.0, lease_seconds=30.0)
    put(store, plan_of(wide(3), queues=[Queue("q", concurrency=1)]))
    dead, alive = Caller(store, "dead"), Caller(store, "alive")
    (zombie,) = dead().grants
    clock.now += 31.0
    assert alive().grants == []
    assert store.rescue() == 1
    (grant,) = alive(limit=1, suspects=False).grants
    assert dead(done(zombie), limit=0).refused
    assert alive().grants == [], "the suspect, too, has to wait for the place"
    (suspect,) = alive(done(grant), limit=2).grants
    assert alive(done(suspect)).grants[0].suspect or suspect.suspect


def test_priorities_and_turns_stay_as_they_are_in_a_limited_queue(store: MemoryStore) -> None:
    late = put(store, plan_of(wide(2), queues=[FIVE], priority=1))
    long, short = put(store, plan_of(wide(50), queues=[FIVE])), put(store, plan_of(wide(2), queues=[FIVE]))
    call = Caller(store)
    reply = call()
    order = [grant.run for grant in reply.grants]
    while reply.grants:
        reply = call(*map(done, reply.grants))
        order += [grant.run for grant in reply.grants]
    assert order.index(short) <= 35
    assert order[-2:] == [late] * 2
    assert order.count(long) == 50


# Turns between runs


def test_a_place_that_comes_back_goes_to_the_run_that_has_waited_longest(store: MemoryStore) -> None:
    runs = [put(store, plan_of(wide(4), queues=[Queue("q", concurrency=1)])) for _ in range(3)]
    calls = [Caller(store, run.id) for run in runs]
    woken: list[int] = []
    for number, run in enumerate(runs):
        run.wakers.append(lambda number=number: woken.append(number))  # type: ignore[misc]
    (grant,) = calls[0](run=runs[0]).grants
    assert calls[1](run=runs[1]).grants == calls[2](run=runs[2]).grants == []
    took = []
    while not all(run.ended for run in runs):
        woken.clear()
        at = runs.index(grant.run)  # type: ignore[arg-type]
        took.append(at)
        grants = calls[at](done(grant), run=runs[at]).grants
        if not grants:
            assert len(woken) == (0 if all(run.ended for run in runs) else 1)
            grants = [grant for number in woken for grant in calls[number](run=runs[number]).grants]
        if grants:
            (grant,) = grants
    assert took == [0, *[0, 1, 2] * 3, 1, 2], "the first has stood in line from its first place on"


def test_a_run_that_is_cancelled_or_wants_no_more_loses_its_turn_and_the_next_is_woken(store: MemoryStore) -> None:
    runs = [put(store, plan_of(wide(2), queues=[Queue("q", concurrency=1)])) for _ in range(4)]
    calls = [Caller(store, run.id) for run in runs]
    woken: list[int] = []
    for number, run in enumerate(runs):
        run.wakers.append(lambda number=number: woken.append(number))  # type: ignore[misc]
    first, *_ = [call(run=run).grants for call, run in zip(calls, runs, strict=True)]
    assert calls[0](done(*first), limit=0, run=runs[0]).grants == []
    assert woken == [1]
    store.cancel(runs[1], "enough")
    assert woken == [1, 2]
    assert calls[3](run=runs[3]).grants == []
    calls[2](limit=0, run=runs[2])
    assert woken == [1, 2, 3]
    assert len(calls[3](run=runs[3]).grants) == 1


def test_an_abandoned_run_gives_its_places_back(store: MemoryStore) -> None:
    one, two = (put(store, plan_of(wide(2), queues=[Queue("q", concurrency=2)])) for _ in range(2))
    assert len(Caller(store, "one")(run=one).grants) == 2
    call = Caller(store, "two")
    assert call(run=two).grants == []
    woken: list[int] = []
    two.wakers.append(lambda: woken.append(1))
    store.abandon(one, "interrupted")
    assert woken == [1]
    assert len(call(run=two).grants) == 2


# Publishing


def test_limits_hold_for_runs_that_know_the_queue_by_name_only_and_for_what_is_active_already(
    store: MemoryStore,
) -> None:
    early = put(store, plan_of(wide(9), queues=["q"]))
    grants = Caller(store, "early")(run=early, limit=6).grants
    assert store.limit_of("q") is None
    late = put(store, plan_of(wide(1), queues=[FIVE]))
    seen = store.limit_of("q")
    assert seen is not None
    assert (seen.active, seen.concurrency, seen.rate) == (6, 5, None)
    assert Caller(store, "late")(run=late).grants == []
    assert Caller(store, "early 2")(done(grants[0]), done(grants[1]), run=early).grants == [], "one is the other's"
    assert len(Caller(store, "late 2")(run=late).grants) == 1


def test_the_last_queue_wins_a_name_says_nothing_and_a_queue_without_limits_lifts_them(store: MemoryStore) -> None:
    run = put(store, plan_of(wide(9), queues=[Queue("q", concurrency=2)]))
    call = Caller(store)
    woken: list[int] = []
    run.wakers.append(lambda: woken.append(len(woken)))
    first = call(run=run).grants
    put(store, plan_of(wide(1), queues=["q"]))
    assert (len(first), woken, call(run=run).grants) == (2, [], [])
    put(store, plan_of(wide(1), queues=[Queue("q", concurrency=3)]))
    assert (woken, len(call(run=run).grants)) == ([0], 1)
    put(store, plan_of(wide(1), queues=[Queue("q", concurrency=1)]))
    assert call(done(first[0]), run=run).grants == []
    put(store, plan_of(wide(1), queues=[Queue("q", attempts=2)]))
    assert store.limit_of("q") is None
    assert len(call(done(first[1]), run=run).grants) == 6
    assert not run.holding
    assert not run.lines


def test_stores_have_limits_of_their_own(store: MemoryStore) -> None:
    put(store, plan_of(wide(1), queues=[FIVE]))
    assert MemoryStore().limit_of("q") is None


# Rates


def test_starts_come_back_a_period_after_they_were_made_and_the_reply_says_when(
    store: MemoryStore, clock: Clock
) -> None:
    run = put(store, plan_of(wide(8), queues=[RATED]))
    call = Caller(store)
    assert run.held_back(0) is None
    reply = call(run=run)
    assert ([grant.job for grant in reply.grants], reply.more, reply.due_at) == ([0, 1, 2], False, 1002.0)
    for late, grant in zip((0.25, 0.5, 0.5), reply.grants, strict=True):
        clock.now = 1000.0 + late
        assert store.began(grant) == clock.now
    assert run.held_back(5) == "rate limit of queue q, next in 1.8 s"
    clock.now = 1002.0
    reply = call(*map(done, reply.grants), run=run)
    assert (reply.grants, reply.more, reply.due_at) == ([], False, 1002.25)
    clock.now = 1002.25
    assert ([grant.job for grant in call(run=run).grants], call(run=run).due_at) == ([3], 1002.5)


def test_a_start_that_the_store_was_not_told_of_counts_when_its_settle_tells(store: MemoryStore, clock: Clock) -> None:
    run = put(store, plan_of(wide(4), queues=[Queue("q", rate="1/2s")]))
    call = Caller(store)
    (grant,) = call(run=run).grants
    clock.now = 1060.0
    assert call(run=run).due_at == 1062.0, "it may begin at any moment"
    settle = done(grant)
    settle.started_at = 1059.0
    assert (call(settle, run=run).grants, call(run=run).due_at) == ([], 1061.0)


def test_a_claim_that_is_given_back_unstarted_costs_no_start(store: MemoryStore) -> None:
    run = put(store, plan_of(wide(1), queues=[Queue("q", rate="1/h")]))
    call = Caller(store)
    (grant,) = call(run=run).grants
    assert len(call(other(grant, End.RELEASED), run=run).grants) == 1


def test_two_runs_share_a_rate_in_turns(store: MemoryStore, clock: Clock) -> None:
    runs = [put(store, plan_of(wide(4), queues=[Queue("q", rate="1/2s")])) for _ in range(2)]
    calls = [Caller(store, run.id) for run in runs]
    took = []
    for _ in range(8):
        replies = [call(run=run) for call, run in zip(calls, runs, strict=True)]
        for grant in [grant for reply in replies for grant in reply.grants]:
            store.began(grant)
            took.append(runs.index(grant.run))  # type: ignore[arg-type]
        clock.now += 2.0
    assert took == [0, *[0, 1] * 3, 1]


# Any of it


limited = st.fixed_dictionaries(
    {
        "a": st.sampled_from([(1, None), (2, None), (None, (1, 0.5)), (2, (3, 1.0)), (None, None)]),
        "b": st.sampled_from([(1, None), (3, None), (None, (2, 0.2)), (1, (1, 2.0))]),
        "c": st.sampled_from([(None, (5, 1.0)), (1, None), (None, None)]),
    }
)


def play(
    seed: int, limits: dict[str, tuple[int | None, tuple[int, float] | None]], shapes: list[Dag], slots: int
) -> World:
    luck = random.Random(seed)
    world = World(luck, limits, slots=slots)
    queues = [
        Queue(name, concurrency=concurrency, rate=None if rate is None else f"{rate[0]}/{rate[1]}s")
        for name, (concurrency, rate) in limits.items()
    ]
    plans = [
        plan_of(dag, queues=luck.sample(queues, luck.randint(1, 3)), attempts=3, delay=luck.choice((0.0, 0.0, 0.7)))
        for dag in shapes
    ]
    for plan in plans:
        world.submit(plan)
    for crew in world.crews:
        how = luck.choice(("", "", "", "cancel", "abandon", "give back"))
        for _ in range(luck.randint(0, 10) if how else 0):
            if able := [action for each in world.crews for action in each.actions()]:
                luck.choice(able)()
            world.check()
        if how == "give back":
            crew.give_back()
        elif how:
            crew.stop(how)
        world.check()
    world.play()
    assert world.unended() == []
    world.check_rates()
    assert not any(limit.active or limit.line for limit in world.store._limits.of.values())
    return world


@given(st.integers(0, 2**32), limited, st.lists(dags(max_jobs=8), min_size=1, max_size=4), st.integers(1, 4))
def test_limits_hold_and_all_runs_end_in_whatever_order_attempts_start_and_end(
    seed: int, limits: dict[str, tuple[int | None, tuple[int, float] | None]], shapes: list[Dag], slots: int
) -> None:
    play(seed, limits, shapes, slots)


@pytest.mark.slow
@settings(max_examples=1000)
@given(st.integers(0, 2**32), limited, st.lists(dags(max_jobs=12), min_size=1, max_size=6), st.integers(1, 6))
def test_a_thousand_plays_on_limited_queues(
    seed: int, limits: dict[str, tuple[int | None, tuple[int, float] | None]], shapes: list[Dag], slots: int
) -> None:
    play(seed, limits, shapes, slots)


def test_the_places_are_used(store: MemoryStore) -> None:
    world = World(random.Random(1), {"q": (3, None)}, slots=8)
    for _ in range(3):
        world.submit(plan_of(wide(20), queues=[Queue("q", concurrency=3)]))
    world.play()
    assert (world.unended(), world.peaks) == ([], {"q": 3})
    assert all(state != "waiting" for crew in world.crews for state in states(crew.run))
