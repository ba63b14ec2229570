"""KeeperCore: when leases are renewed, taken up and given up, by a clock that only the test moves."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows._keeper import Beat, Dropped, Extend, Extended, Held, Interrupt, KeeperCore, Rescue, Unconfirmed
from flows._verbs import Grant


def grants(count: int) -> list[Grant]:
    return [Grant(cast("Any", None), job, 1, job + 1) for job in range(count)]


def told(keeper: KeeperCore) -> list[Any]:
    """Effects as plain words."""
    return [
        [one.job for one in effect.grants]
        if isinstance(effect, Extend)
        else ("stop", effect.grant.job, effect.why)
        if isinstance(effect, Interrupt)
        else type(effect).__name__
        for effect in keeper.effects()
    ]


LOST = "its lease was lost to another worker"
UNSURE = "its lease could not be renewed"


def test_leases_are_extended_each_third_and_then_others_rescued() -> None:
    keeper = KeeperCore(100.0, lease_seconds=30.0)
    keeper.feed(Held(grants(2)), 101.0)
    assert told(keeper) == []
    for beat in (110.0, 120.0, 130.0):
        assert keeper.wake_at == beat
        keeper.feed(Beat(), beat)
        assert told(keeper) == [[0, 1], "Rescue"]
        keeper.feed(Extended(()), beat + 1.0)
        assert told(keeper) == []


def test_a_worker_that_holds_nothing_rescues_all_the_same() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    keeper.feed(Beat(), 10.0)
    assert told(keeper) == ["Rescue"]
    assert keeper.wake_at == 20.0


def test_a_beat_before_its_time_does_nothing() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    keeper.feed(Held(grants(1)), 0.0)
    keeper.feed(Beat(), 9.999)
    assert told(keeper) == []
    assert keeper.wake_at == 10.0


def test_attempts_that_have_ended_are_extended_no_longer() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    first, second = grants(2)
    keeper.feed(Held([first, second]), 0.0)
    keeper.feed(Dropped([first]), 5.0)
    keeper.feed(Dropped([first]), 5.0)
    keeper.feed(Beat(), 10.0)
    assert told(keeper) == [[1], "Rescue"]
    keeper.feed(Dropped([second]), 11.0)
    keeper.feed(Extended(()), 12.0)
    keeper.feed(Beat(), 40.0)
    assert told(keeper) == ["Rescue"], "what has ended meanwhile is neither extended nor given up"


def test_a_refused_lease_interrupts_its_handler_and_no_other() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    first, second = grants(2)
    keeper.feed(Held([first, second]), 0.0)
    keeper.feed(Beat(), 10.0)
    keeper.effects()
    keeper.feed(Extended([first]), 11.0)
    assert told(keeper) == [("stop", 0, LOST)]
    keeper.feed(Beat(), 20.0)
    assert told(keeper) == [[1], "Rescue"]


def test_a_refusal_of_an_attempt_that_has_ended_interrupts_nobody() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    held = grants(1)
    keeper.feed(Held(held), 0.0)
    keeper.feed(Beat(), 10.0)
    keeper.feed(Dropped(held), 10.5)
    keeper.effects()
    keeper.feed(Extended(held), 11.0)
    assert told(keeper) == []


def test_an_unconfirmed_lease_is_given_up_before_its_end() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    keeper.feed(Held(grants(1)), 0.0)
    for beat in (10.0, 20.0):
        keeper.feed(Beat(), beat)
        keeper.feed(Unconfirmed(), beat + 1.0)
        assert told(keeper) == [[0], "Rescue"]
    assert keeper.wake_at == 25.0, "five seconds before the lease would end"
    keeper.feed(Beat(), 24.999)
    assert told(keeper) == []
    keeper.feed(Beat(), 25.0)
    assert told(keeper) == [("stop", 0, UNSURE)]
    assert keeper.wake_at == 30.0
    keeper.feed(Beat(), 30.0)
    assert told(keeper) == ["Rescue"]


def test_a_lease_runs_from_the_moment_of_asking() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    keeper.feed(Held(grants(1)), 0.0)
    keeper.feed(Beat(), 10.0)
    keeper.effects()
    keeper.feed(Extended(()), 19.0)
    keeper.feed(Beat(), 20.0)
    keeper.feed(Beat(), 30.0)
    keeper.effects()
    assert keeper.wake_at == 35.0, "25 s after the question, not after the answer"
    keeper.feed(Beat(), 35.0)
    assert told(keeper) == [("stop", 0, UNSURE)]


def test_an_answer_without_a_question_confirms_nothing() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    keeper.feed(Held(grants(1)), 0.0)
    keeper.feed(Beat(), 10.0)
    keeper.feed(Extended(()), 11.0)
    keeper.effects()
    keeper.feed(Extended(()), 30.0)
    keeper.feed(Beat(), 35.0)
    assert ("stop", 0, UNSURE) in told(keeper)


def test_grants_that_came_after_the_question_are_not_confirmed_by_its_answer() -> None:
    keeper = KeeperCore(0.0, lease_seconds=30.0)
    early, late = grants(2)
    keeper.feed(Held([early]), 0.0)
    keeper.feed(Beat(), 10.0)
    keeper.feed(Held([late]), 10.5)
    keeper.feed(Extended(()), 11.0)
    keeper.effects()
    keeper.feed(Beat(), 35.0)
    assert told(keeper) == [[0, 1], "Rescue", ("stop", 0, UNSURE)]
    keeper.feed(Beat(), 35.5)
    assert told(keeper) == [("stop", 1, UNSURE)]


@pytest.mark.parametrize(("lease", "given_up_at"), [(30.0, 25.0), (60.0, 55.0), (6.0, 5.0), (0.6, 0.5)])
def test_short_leases_have_a_short_margin(lease: float, given_up_at: float) -> None:
    keeper = KeeperCore(0.0, lease_seconds=lease)
    keeper.feed(Held(grants(1)), 0.0)
    keeper.feed(Unconfirmed(), given_up_at - 0.01)
    assert told(keeper) == []
    keeper.feed(Unconfirmed(), given_up_at)
    assert told(keeper) == [("stop", 0, UNSURE)]


@given(st.lists(st.tuples(st.sampled_from(["held", "dropped", "extended", "unconfirmed", "beat"]), st.floats(0, 9))))
def test_no_handler_runs_on_past_the_end_of_a_lease_that_nobody_confirmed(steps: list[tuple[str, float]]) -> None:
    now, number = 0.0, 0
    keeper = KeeperCore(now, lease_seconds=30.0)
    until: dict[Grant, float] = {}  # by the store's account
    asked: list[Grant] = []
    asked_at = now

    def take_down() -> None:
        nonlocal asked, asked_at
        for effect in keeper.effects():
            if isinstance(effect, Extend):
                asked, asked_at = effect.grants, now
            elif isinstance(effect, Interrupt):
                del until[effect.grant]
            else:
                assert isinstance(effect, Rescue)

    for kind, pause in steps:
        end = now + pause
        while keeper.wake_at <= end:  # as a driver would
            now = keeper.wake_at
            keeper.feed(Beat(), now)
            take_down()
        now = end
        if kind == "held":
            grant = Grant(cast("Any", None), number, 1, number)
            number += 1
            until[grant] = now + 30.0
            keeper.feed(Held([grant]), now)
        elif kind == "dropped" and until:
            gone = next(iter(until))
            del until[gone]
            keeper.feed(Dropped([gone]), now)
        elif kind == "extended" and asked:
            until.update((grant, asked_at + 30.0) for grant in asked if grant in until)
            asked = []
            keeper.feed(Extended(()), now)
        elif kind == "unconfirmed":
            asked = []
            keeper.feed(Unconfirmed(), now)
        take_down()
        assert all(end > now for end in until.values())
