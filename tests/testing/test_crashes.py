"""Every moment at which a worker may die is found, and one line tries them all."""

import asyncio
from typing import Any

import pytest

import flows
from flows import Backoff, DefinitionError, Job
from flows.testing import EffectLedger, Fault, Trace, crash_points, simulate, survives_every_crash
from flows.testing._crashes import STRIKES
from tests.testing import shop

world = EffectLedger()


@flows.task(name="crash-pay", attempts=2, backoff=Backoff.fixed("1m"))
async def pay(order: str) -> str:
    await asyncio.sleep(1)
    world.record("reserve", key=flows.current().idempotency_key)
    world.record("charge", key=flows.current().idempotency_key)
    if flows.current().attempt == 1:
        raise TimeoutError("no answer")
    return order


@flows.task(name="crash-tell")
def tell(paid: str) -> str:
    return paid


@flows.flow
def sale(order: str = "1") -> Job[str]:
    return tell(pay(order).out)


@pytest.fixture(autouse=True)
def _afresh() -> None:
    world.clear()
    world.idempotent = True


def test_each_attempt_has_points_before_at_and_after_all_that_it_does() -> None:
    first = [
        Fault.crash("crash-pay", at="before_start"),
        Fault.crash("crash-pay", at="mid"),
        Fault.crash("crash-pay", at="await"),
        Fault.crash("crash-pay", at="after_effect"),
        Fault.crash("crash-pay", at="after_effect", nth=2),
        Fault.crash("crash-pay", at="before_settle"),
        Fault.crash("crash-pay", at="after_settle"),
    ]
    points = crash_points(sale)
    assert list(points[:7]) == first
    assert points[11] == Fault.crash("crash-pay", at="after_effect", attempt=2, nth=2)
    assert repr(points[11]) == 'Fault.crash("crash-pay", attempt=2, nth=2)'
    assert len(points) == 7 + 7 + 4


@pytest.mark.parametrize("point", crash_points(sale), ids=repr)
def test_each_point_is_hit_and_its_worker_dies_there(point: Fault) -> None:
    trace = simulate(sale, faults=[point])
    assert [str(step).split(" (")[0] for step in trace.steps if step.what == "crashes"]
    assert [one.outcome for one in trace.attempts].count("crashed") == (point.at != "after_settle")
    assert trace.run.value == "1"


def test_between_two_effects_only_the_first_is_done_again() -> None:
    world.idempotent = False
    simulate(sale, faults=[Fault.crash("crash-pay", nth=1)])
    assert [effect.name for effect in world.effects] == ["reserve", *["reserve", "charge"] * 2]


def test_a_flow_that_hands_its_key_on_survives_everything() -> None:
    assert survives_every_crash(sale, ledger=world) == 18
    assert survives_every_crash(sale, ledger=world, kinds=STRIKES, workers=2) > 40


def test_the_first_point_that_is_not_survived_is_named() -> None:
    with pytest.raises(AssertionError, match="effects_exactly_once: job 'shop-charge'") as caught:
        survives_every_crash(shop.order_flow, ledger=shop.world)
    assert str(caught.value).startswith('survives_every_crash: Fault.crash("shop-charge") (moment ')
    assert 'simulate(flow, faults=[Fault.crash("shop-charge")]' in str(caught.value)


def test_what_fails_without_a_crash_is_said_so_and_checks_of_ones_own_count() -> None:
    def short(trace: Trace[Any]) -> None:
        assert trace.seconds < 20, "too long"

    with pytest.raises(AssertionError, match="even without a crash: too long"):
        survives_every_crash(sale, checks=[short])

    def swift(trace: Trace[Any]) -> None:
        assert trace.seconds < 63, "too long"

    with pytest.raises(
        AssertionError, match=r'Fault.crash\("crash-pay", at="before_start"\) \(moment 1 of 18\): too l'
    ):
        survives_every_crash(sale, checks=[swift])


def test_a_handler_that_counts_its_calls_is_found() -> None:
    calls: list[int] = []

    def forgetful(order: str) -> str:
        calls.append(1)
        if len(calls) % 5 == 0:
            raise flows.GiveUp("enough")
        return order

    with pytest.raises(AssertionError, match="jobs end otherwise than without it"):
        survives_every_crash(sale, handlers={"crash-pay": forgetful})


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(DefinitionError, match="did you mean 'crash'"):
        crash_points(sale, kinds=["crush"])
    with pytest.raises(DefinitionError, match="takes some of crash"):
        crash_points(sale, kinds="crash")


def test_items_of_lists_have_points_too() -> None:
    jobs = {point.job for point in crash_points(shop.order_flow)}
    assert {"shop-reserve[0]", "shop-reserve[1]", "shop-mail"} <= jobs
