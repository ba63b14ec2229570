"""WorkerCore: what it asks of its driver, event by event; the test is driver, store and clock."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._state import CONTROL_QUEUE
from flows._verbs import End, FailedSettle, Grant, Reply, Settle, SuspectGrant, Want
from flows._worker import (
    CLAIM_LIMIT,
    Drain,
    Due,
    Ended,
    Exchange,
    Log,
    Replied,
    Start,
    Stop,
    Unanswered,
    Woken,
    WorkerCore,
)

NAMES = type("Run", (), {"id": "run", "plan": type("Plan", (), {"ids": [str(number) for number in range(1000)]})})()


class Bench:
    """A worker core with the effects it has asked for."""

    def __init__(self, slots: int = 4, **options: Any) -> None:
        self.core = WorkerCore(slots=slots, **options)
        self.fence = 0

    def feed(self, event: Any, now: float = 0.0) -> list[Any]:
        self.core.feed(event, now)
        return list(self.core.effects())

    def grants(self, count: int, kind: type[Grant] = Grant) -> list[Grant]:
        self.fence += count
        return [
            kind(cast("Any", NAMES), fence - 1, 1, fence) for fence in range(self.fence - count + 1, self.fence + 1)
        ]

    def call(self, event: Any, now: float = 0.0) -> Exchange:
        """Feed what must lead to exactly one exchange."""
        (effect,) = self.feed(event, now)
        assert isinstance(effect, Exchange)
        return effect

    def begin(self, count: int, now: float = 0.0, **reply: Any) -> list[Grant]:
        """Wake it and grant it *count* jobs."""
        exchange, granted = self.call(Woken(), now), self.grants(count)
        (start,) = self.feed(Replied(exchange.seq, Reply(now, granted, **reply)), now)
        assert isinstance(start, Start)
        assert start.grants == granted
        return granted


def done(grant: Grant, started: float = 0.0, ended: float = 0.0) -> Settle:
    return Settle(grant, End.COMPLETED, None, started, ended)


def released(grant: Grant) -> Settle:
    return Settle(grant, End.RELEASED, None, 0.0, 0.0)


def kinds(effects: list[Any]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def test_it_asks_for_as_many_jobs_as_it_has_free_slots() -> None:
    run, queues = cast("Any", NAMES), frozenset({"mail"})
    bench = Bench(slots=3, run=run, queues=queues)
    exchange = bench.call(Woken())
    assert (exchange.seq, exchange.settles) == (1, [])
    assert isinstance(exchange.want, Want)
    assert (exchange.want.limit, exchange.want.run, exchange.want.queues, exchange.want.suspects) == (
        3,
        run,
        queues | {CONTROL_QUEUE},  # which every worker serves
        True,
    )


def test_one_call_is_in_flight_and_the_next_has_the_next_number() -> None:
    bench = Bench(slots=3)
    granted = bench.begin(2)
    first = bench.call(Ended([done(granted[0])]))
    assert bench.feed(Woken()) == []
    assert bench.feed(Ended([done(granted[1])])) == []
    assert (first.seq, len(first.settles)) == (2, 1)
    (second,) = bench.feed(Replied(2, Reply(0.0, [])))
    assert (second.seq, second.settles[0].grant) == (3, granted[1])
    assert bench.feed(Replied(3, Reply(0.0, []))) == []
    assert bench.core.idle
    assert bench.core.held == 0


def test_a_wake_up_that_comes_while_a_call_is_in_flight_is_not_lost() -> None:
    bench = Bench(slots=3)
    exchange = bench.call(Woken())
    assert bench.feed(Woken()) == []
    again = bench.call(Replied(exchange.seq, Reply(0.0, [])))
    assert (again.seq, again.settles, again.want.limit) == (2, [], 3)
    assert bench.feed(Replied(again.seq, Reply(0.0, []))) == []


def test_it_does_not_call_without_anything_to_settle_or_to_claim() -> None:
    bench = Bench(slots=2, run=cast("Any", NAMES))
    bench.begin(2)
    assert bench.feed(Woken()) == [], "all slots are taken"
    assert bench.feed(Due(), 5.0) == []


def test_what_was_left_is_claimed_once_there_is_room() -> None:
    bench = Bench(slots=2, ahead=False)
    granted = bench.begin(2, more=True)
    exchange = bench.call(Ended([done(granted[0])]))
    assert exchange.want.limit == 1
    exchange = bench.feed(Replied(exchange.seq, Reply(0.0, [], more=True)))[0]
    assert (exchange.seq, exchange.settles, exchange.want.limit) == (3, [], 1), "more were left, and a slot is free"


def test_held_counts_grants_until_their_settles_are_answered_refused_ones_too() -> None:
    bench = Bench(slots=4)
    granted = bench.begin(3)
    assert bench.core.held == 3
    settles = [done(grant) for grant in granted[:2]]
    exchange = bench.call(Ended(settles))
    assert bench.core.held == 3
    effects = bench.feed(Replied(exchange.seq, Reply(0.0, [], refused=settles[:1])))
    assert bench.core.held == 1
    assert [(effect.level, "came too late" in effect.text) for effect in effects] == [("info", True)]
    assert not bench.core.idle
    assert not bench.core.idle_but_for(0)
    assert bench.core.idle_but_for(1)


@pytest.mark.parametrize(
    ("slots", "seconds", "wanted"),
    [(4, 1.0, 4), (4, 0.010, 6), (4, 0.0005, 44), (4, 0.0, 64), (4, 0.0001, 64), (100, 1.0, 64)],
)
def test_it_claims_ahead_what_it_will_start_soon_at_the_pace_seen_but_never_more_than_64(
    slots: int, seconds: float, wanted: int
) -> None:
    bench = Bench(slots=slots)
    (grant,) = bench.begin(1)
    assert bench.call(Ended([done(grant, 5.0, 5.0 + seconds)])).want.limit == wanted
    assert CLAIM_LIMIT == 64


def test_a_batch_settled_at_once_shows_the_pace_of_all_hands() -> None:
    bench = Bench(slots=4)
    granted = bench.begin(4)
    exchange = bench.call(Ended([done(grant, 0.0, 0.016) for grant in granted]))
    assert exchange.want.limit == 4 + 5, "four jobs in 16 ms: five more within 20 ms"


def test_a_worker_whose_jobs_stand_in_two_lines_does_not_claim_ahead() -> None:
    bench = Bench(slots=4, ahead=False)
    (grant,) = bench.begin(1)
    assert bench.call(Ended([done(grant)])).want.limit == 4


def test_one_slow_job_slows_the_pace_at_once_and_quick_ones_mend_it_slowly() -> None:
    bench = Bench(slots=1)
    wanted = []
    now = 0.0
    (grant,) = bench.begin(1)
    for seconds in (0.001, 1.0, 0.001, 0.001):
        exchange = bench.call(Ended([done(grant, now, now + seconds)]))
        wanted.append(exchange.want.limit)
        (grant,) = bench.grants(1)
        bench.feed(Replied(exchange.seq, Reply(now, [grant])))
    assert wanted == [21, 1, 1, 1]


def test_a_call_that_is_not_answered_is_sent_again_with_growing_pauses_and_the_same_number() -> None:
    bench = Bench(slots=2, run=cast("Any", NAMES))
    (grant,) = bench.begin(1)
    exchange = bench.call(Ended([done(grant)]), now=10.0)
    pauses, now = [], 10.0
    for attempt in range(8):
        effects = bench.feed(Unanswered(exchange.seq, OSError("gone")), now)
        assert kinds(effects) == (["Log"] if not attempt else []), "one outage, one warning"
        assert bench.core.wake_at is not None
        pauses.append(round(bench.core.wake_at - now, 6))
        assert bench.feed(Due(), bench.core.wake_at - 0.001) == []
        now = bench.core.wake_at
        assert bench.feed(Due(), now) == [exchange]
        assert bench.core.wake_at is None
    assert pauses == [0.1, 0.2, 0.4, 0.8, 0.8, 0.8, 0.8, 0.8]
    (back,) = bench.feed(Replied(exchange.seq, Reply(now, [])), now)
    assert isinstance(back, Log)
    assert (back.level, back.text) == ("info", "the store answers again")
    again = bench.call(Woken(), now)
    assert again.seq == exchange.seq + 1
    (log,) = bench.feed(Unanswered(again.seq, OSError("again")), now)
    assert isinstance(log, Log)
    assert log.level == "warning"
    assert bench.core.wake_at == pytest.approx(now + 0.1)


def test_nothing_else_is_sent_while_a_call_waits_to_be_sent_again() -> None:
    bench = Bench(slots=2)
    exchange = bench.call(Woken())
    bench.feed(Unanswered(exchange.seq, OSError("gone")))
    assert bench.feed(Woken()) == []
    assert kinds(bench.feed(Drain())) == ["Recall"]


def test_late_and_foreign_replies_and_failures_are_ignored() -> None:
    bench = Bench(slots=4)
    exchange = bench.call(Woken())
    granted = bench.grants(1)
    reply = Reply(0.0, granted)
    bench.feed(Unanswered(exchange.seq, OSError("gone")))
    assert bench.feed(Due(), 1.0) == [exchange]
    assert kinds(bench.feed(Replied(exchange.seq, reply))) == ["Log", "Start"]
    assert bench.feed(Replied(exchange.seq, reply)) == [], "the first call's answer, after all"
    assert bench.feed(Unanswered(exchange.seq, OSError("late"))) == []
    assert bench.core.wake_at is None or bench.core.wake_at > 0.5
    newer = bench.call(Ended([done(granted[0])]))
    assert bench.feed(Replied(exchange.seq, reply)) == []
    assert bench.feed(Replied(newer.seq + 1, reply)) == []
    assert bench.core.held == 1


def test_a_reply_between_failure_and_next_sending_ends_the_pause() -> None:
    bench = Bench(slots=4, run=cast("Any", NAMES))
    exchange = bench.call(Woken())
    bench.feed(Unanswered(exchange.seq, OSError("gone")))
    bench.feed(Replied(exchange.seq, Reply(0.0, [])))
    assert bench.core.wake_at is None
    assert bench.feed(Due(), 10.0) == []


def test_it_looks_again_when_the_next_delayed_job_is_due() -> None:
    bench = Bench(slots=1)
    exchange = bench.call(Woken())
    assert bench.feed(Replied(exchange.seq, Reply(0.0, [], due_at=7.5))) == []
    assert bench.core.wake_at == 7.5
    assert bench.feed(Due(), 7.0) == []
    exchange = bench.call(Due(), 7.5)
    assert exchange.want.limit == 1
    bench.feed(Replied(exchange.seq, Reply(7.5, [])), 7.5)
    assert bench.core.wake_at is None


def test_claims_not_started_within_a_second_are_recalled_and_not_claimed_again_at_once() -> None:
    bench = Bench(slots=1)
    (quick,) = bench.begin(1)
    exchange = bench.call(Ended([done(quick)]))
    ahead = bench.grants(3)
    bench.feed(Replied(exchange.seq, Reply(5.0, ahead)), 5.0)
    assert bench.core.wake_at == 6.0
    assert kinds(bench.feed(Due(), 6.0)) == ["Recall"]
    exchange = bench.call(Ended([released(grant) for grant in ahead[1:]]), 6.0)
    assert exchange.want.limit == 0
    bench.feed(Replied(exchange.seq, Reply(6.0, [], more=True)), 6.0)
    assert bench.core.held == 1
    assert bench.core.wake_at is None


def test_a_worker_of_one_run_recalls_nothing_as_nobody_else_would_have_it() -> None:
    bench = Bench(slots=1, run=cast("Any", NAMES))
    bench.begin(1)
    assert bench.core.wake_at is None


def test_a_drain_claims_nothing_more_and_stops_after_the_last_attempt() -> None:
    bench = Bench(slots=4)
    running, unstarted = bench.begin(2)
    assert kinds(bench.feed(Drain())) == ["Recall"]
    exchange = bench.call(Ended([released(unstarted)]))
    assert exchange.want.limit == 0
    assert bench.feed(Replied(exchange.seq, Reply(0.0, [], more=True))) == []
    assert bench.feed(Woken()) == []
    exchange = bench.call(Ended([done(running)]))
    assert exchange.want.limit == 0
    assert kinds(bench.feed(Replied(exchange.seq, Reply(0.0, [])))) == ["Stop"]
    assert "Stop" not in kinds(bench.feed(Drain())), "it stops once"


def test_an_idle_worker_stops_as_soon_as_it_drains() -> None:
    assert kinds(Bench().feed(Drain())) == ["Recall", "Stop"]


def test_jobs_granted_to_a_worker_that_drains_meanwhile_go_back_unstarted() -> None:
    bench = Bench(slots=2)
    exchange = bench.call(Woken())
    assert kinds(bench.feed(Drain())) == ["Recall"]
    (back,) = bench.feed(Replied(exchange.seq, Reply(0.0, bench.grants(2))))
    assert isinstance(back, Exchange)
    assert [settle.end for settle in back.settles] == [End.RELEASED, End.RELEASED]
    assert isinstance(bench.feed(Replied(back.seq, Reply(0.0, [])))[-1], Stop)


def test_it_holds_one_suspect_at_a_time_and_asks_for_the_next_with_its_settle() -> None:
    bench = Bench(slots=4)
    plain = bench.begin(1)
    exchange = bench.call(Woken())
    assert exchange.want.suspects
    (suspect,) = bench.grants(1, SuspectGrant)
    bench.feed(Replied(exchange.seq, Reply(0.0, [suspect], suspects=1)))
    exchange = bench.call(Ended([done(plain[0])]))
    assert not exchange.want.suspects
    bench.feed(Replied(exchange.seq, Reply(0.0, [])))
    exchange = bench.call(Ended([FailedSettle(suspect, End.RETRY, None, 0.0, 0.0)]))
    assert exchange.want.suspects
    bench.feed(Replied(exchange.seq, Reply(0.0, bench.grants(1, SuspectGrant), suspects=1)))
    assert not bench.call(Woken()).want.suspects


class Answers:
    """A store that the test makes up, and what it knows of the worker."""

    def __init__(self, slots: int) -> None:
        self.bench = Bench(slots=slots)
        self.flying: Exchange | None = None
        self.held: set[Grant] = set()
        self.settled: set[Grant] = set()
        self.seq = 0

    def take(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Exchange):
                if effect is not self.flying:
                    assert self.flying is None, "two calls in flight"
                    assert effect.seq == self.seq + 1
                    self.seq, self.flying = effect.seq, effect
                    assert 0 <= effect.want.limit <= CLAIM_LIMIT
                    for settle in effect.settles:
                        assert settle.grant not in self.settled, "settled twice"
                        self.settled.add(settle.grant)
            elif isinstance(effect, Start):
                self.held.update(effect.grants)


events = st.tuples(
    st.sampled_from(["woken", "ended", "ended", "replied", "replied", "unanswered", "late"]), st.integers(0, 99)
)


@given(st.integers(1, 8), st.lists(events, max_size=60))
def test_whatever_comes_there_is_one_call_in_flight_and_the_books_balance(
    slots: int, history: list[tuple[str, int]]
) -> None:
    store = Answers(slots)
    bench, now = store.bench, 0.0
    last: Replied | None = None
    for kind, number in history:
        now += number / 50
        while bench.core.wake_at is not None and bench.core.wake_at <= now:
            store.take(bench.feed(Due(), now))
        pending = {settle.grant for settle in bench.core._settles}
        open_grants = sorted(store.held - store.settled - pending, key=lambda grant: grant.fence)
        if kind == "woken":
            store.take(bench.feed(Woken(), now))
        elif kind == "ended" and open_grants:
            store.take(bench.feed(Ended([done(grant, now, now) for grant in open_grants[: 1 + number % 3]]), now))
        elif kind == "replied" and store.flying is not None:
            flying, store.flying = store.flying, None
            granted = bench.grants(min(number % 5, flying.want.limit))
            last = Replied(flying.seq, Reply(now, granted, more=number % 2 == 0))
            held = bench.core.held
            store.take(bench.feed(last, now))
            assert bench.core.held == held + len(granted) - len(flying.settles)
        elif kind == "unanswered" and store.flying is not None:
            store.take(bench.feed(Unanswered(store.flying.seq, OSError("gone")), now))
            assert bench.core.wake_at is not None
        elif kind == "late" and last is not None:
            assert [effect for effect in bench.feed(last, now) if isinstance(effect, Start)] == []
