"""Faults: plain data that prints as what makes it; each does what it says to a simulation."""

from typing import Any

import pytest

import flows
from flows import DefinitionError
from flows.testing import EffectLedger, Fault, FaultInjected, Faults, Trace, check_all, simulate
from tests.testing import shop
from tests.testing.shop import CardDeclined


@pytest.fixture(autouse=True)
def _nothing_charged_yet() -> None:
    shop.world.clear()


LITERALS = [
    'Fault.fail("charge")',
    'Fault.fail("charge", attempt=2, exc=TimeoutError)',
    'Fault.fail("charge", at="after_effect", times=2)',
    "Fault.fail(\"charge\", probability=0.25, exc=CardDeclined('no'))",
    'Fault.crash("charge")',
    'Fault.crash("charge", at="before_settle", attempt=1, times=None)',
    'Fault.slow("ship", 120)',
    'Fault.slow("ship", 0.5, at="before_start", renewed=True)',
    'Fault.duplicate("charge")',
    'Fault.lost_call("exchange")',
    'Fault.lost_reply("extend", times=None)',
    'Fault.doubled_call("exchange", nth=3)',
    'Fault.late_call("exchange", 3)',
    "Fault.clock_step(-60, at=10)",
    "Fault.store_restart(at=3)",
    "Fault.store_restart(down=30, at=3)",
    "Fault.worker_leaves(at=2)",
    'Fault.worker_leaves(at=2, worker="worker-2", drain=False)',
    "Fault.worker_joins(at=1)",
    "Fault.cancel(at=5)",
    'Fault.cancel(at=5, reason="why")',
    'Fault.deploy({"charge": EffectLedger}, at=1)',
]


@pytest.mark.parametrize("literal", LITERALS)
def test_a_fault_prints_as_what_makes_it(literal: str) -> None:
    names = {"Fault": Fault, "CardDeclined": CardDeclined, "EffectLedger": EffectLedger}
    fault = eval(literal, names)
    assert repr(fault) == literal
    again = eval(repr(fault), names)
    if "CardDeclined(" not in literal:  # exceptions compare by identity
        assert again == fault
        assert hash(again) == hash(fault)


def test_faults_may_be_written_as_a_chain() -> None:
    faults = Faults().fail("charge", attempt=1).crash("ship")
    assert list(faults) == [Fault.fail("charge", attempt=1), Fault.crash("ship")]
    assert eval(repr(faults)) == faults
    with pytest.raises(AttributeError, match="crash"):
        faults.crush("ship")


@pytest.mark.parametrize(
    "wrong",
    [
        "Fault()",
        "Fault.crash('charge', at='after_efect')",
        "Fault.fail('charge', at='after_settle')",
        "Fault.slow('charge', 1, at='mid')",
        "Fault.fail('charge', attempt=0)",
        "Fault.fail('charge', times=True)",
        "Fault.fail('charge', probability=1.5)",
        "Fault.fail('charge', exc='TimeoutError')",
        "Fault.slow('charge', 'soon')",
        "Fault.lost_call('exchnage')",
        "Fault.clock_step('1s', at=0)",
        "Fault.cancel(at=-1)",
        "Fault.fail('charge', probability='often')",
        "Fault.fail(3)",
        "Fault.deploy(3, at=0)",
        "Fault.deploy({'charge': 3}, at=0)",
    ],
)
def test_wrong_faults_are_refused(wrong: str) -> None:
    with pytest.raises(DefinitionError):
        eval(wrong, {"Fault": Fault})


def charged(*faults: Fault, workers: int = 1, **options: Any) -> Trace[Any]:
    """A shop's order with *faults*, checked and replayed; what was charged is left in the shop's world."""
    shop.world.clear()
    trace = simulate(shop.order_flow(), faults=faults, workers=workers, **options)
    check_all(trace)
    effects = shop.world.effects.copy()
    assert simulate(shop.order_flow(), **trace.replay).log == trace.log
    shop.world.effects[:] = effects
    return trace


def outcomes(trace: Trace[Any], job: str = "shop-charge") -> list[str | None]:
    return [attempt.outcome for attempt in trace.attempts if attempt.job == job]


@pytest.mark.parametrize(
    ("at", "effects", "ends"),
    [
        ("before_start", 1, ["crashed", "completed"]),
        ("mid", 1, ["crashed", "completed"]),
        ("after_effect", 2, ["crashed", "completed"]),
        ("before_settle", 2, ["crashed", "completed"]),
        ("after_settle", 1, ["completed"]),
    ],
)
def test_a_worker_dies_at_each_point_of_an_attempt(at: Any, effects: int, ends: list[str]) -> None:
    trace = charged(Fault.crash("shop-charge", at=at))
    assert (len(shop.world.effects), outcomes(trace)) == (effects, ends)
    assert trace.run.value == ("12.5 USD", 2)
    assert {effect.key for effect in shop.world.effects} == {"simulated/shop-charge"}


@pytest.mark.parametrize("at", ["before_start", "mid", "after_effect", "before_settle", "after_settle"])
def test_a_worker_dies_at_each_point_of_an_async_attempt(at: Any) -> None:
    trace = charged(Fault.crash("shop-mail", at=at))
    assert outcomes(trace, "shop-mail") == (["completed"] if at == "after_settle" else ["crashed", "completed"])
    assert trace.run.state == "completed"


def test_a_handler_that_kills_its_worker_each_time_fails_in_the_end() -> None:
    trace = charged(Fault.crash("shop-charge", times=None))
    assert outcomes(trace) == ["crashed"] * 3
    assert trace.run.jobs["shop-charge"].error.type == "LeaseLostError"  # type: ignore[union-attr]


def test_a_crash_that_was_not_reached_strikes_in_the_next_attempt() -> None:
    trace = charged(Fault.fail("shop-charge", attempt=1), Fault.crash("shop-charge"))
    assert outcomes(trace) == ["retrying", "crashed", "completed"]


@pytest.mark.parametrize(
    ("at", "effects"), [("before_start", 1), ("mid", 1), ("after_effect", 2), ("before_settle", 2)]
)
def test_an_attempt_fails_at_each_point(at: Any, effects: int) -> None:
    trace = charged(Fault.fail("shop-charge", attempt=1, at=at, exc=TimeoutError))
    assert (len(shop.world.effects), outcomes(trace)) == (effects, ["retrying", "completed"])
    assert trace.attempts[1].error == "TimeoutError: injected by Fault.fail"


def test_the_options_judge_what_is_raised() -> None:
    trace = charged(Fault.fail("shop-charge", exc=CardDeclined("no")))
    assert outcomes(trace) == ["failed"]
    trace = charged(Fault.fail("shop-charge"))
    assert outcomes(trace) == ["retrying", "retrying", "failed"]
    assert isinstance(trace._record.exception_of(trace._plan.ids.index("shop-charge")), FaultInjected)


def test_a_probability_is_drawn() -> None:
    faults = [Fault.fail("shop-charge", probability=0.5)]
    found = {tuple(outcomes(simulate(shop.order_flow(), faults=faults, seed=seed))) for seed in range(20)}
    assert found == {
        ("completed",),
        ("retrying", "completed"),
        ("retrying", "retrying", "completed"),
        ("retrying", "retrying", "failed"),
    }
    assert outcomes(simulate(shop.order_flow(), faults=[Fault.fail("shop-charge", probability=1.0)]))[-1] == "failed"
    assert outcomes(simulate(shop.order_flow(), faults=[Fault.fail("shop-charge", probability=0.0)])) == ["completed"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_job_that_is_delivered_twice_is_run_twice_and_settled_once(workers: int) -> None:
    trace = charged(Fault.duplicate("shop-charge"), workers=workers)
    assert len(shop.world.effects) == 2
    assert sorted(map(str, outcomes(trace))) == ["completed", "refused"]


def test_a_worker_that_hangs_beyond_its_lease_is_a_zombie() -> None:
    trace = charged(Fault.slow("shop-charge", "1m"), workers=2)
    assert (len(shop.world.effects), outcomes(trace)) == (2, ["refused", "completed"])
    assert [effect.at for effect in shop.world.effects] == [0.0, 30.0]
    trace = charged(Fault.slow("shop-charge", "1m", at="before_start"), workers=2)
    assert [effect.at for effect in shop.world.effects] == [30.0, 60.0]
    trace = charged(Fault.slow("shop-charge", "1m", renewed=True), workers=2)
    assert outcomes(trace) == ["completed"]
    trace = charged(Fault.slow("shop-charge", "10s"), workers=2)
    assert outcomes(trace) == ["completed"]


@pytest.mark.parametrize("maker", ["lost_call", "lost_reply", "doubled_call"])
def test_calls_that_are_lost_or_doubled_change_nothing_but_time(maker: str) -> None:
    for nth in range(1, 6):
        trace = charged(getattr(Fault, maker)("exchange", nth=nth, times=2))
        assert outcomes(trace) == ["completed"]
        assert trace.seconds <= 8.0
        assert len(shop.world.effects) == 1


def test_a_late_call_is_stale_when_it_comes() -> None:
    trace = charged(Fault.late_call("exchange", 7, nth=2))
    assert outcomes(trace) == ["completed"]
    assert trace.seconds == pytest.approx(1.1)


def test_leases_that_cannot_be_renewed_are_given_up() -> None:
    trace = simulate(shop.nap(100.0), faults=[Fault.lost_reply("extend", times=None)])
    assert [attempt.outcome for attempt in trace.attempts] == ["lost"] * 3
    assert trace.run.state == "failed"
    trace = simulate(shop.nap(100.0), faults=[Fault.lost_call("extend")])
    assert [attempt.outcome for attempt in trace.attempts] == ["completed"]


def test_other_verbs_may_be_answered_only_when_called_again() -> None:
    task = flows.task(
        lambda: 3, name="faults-shared", idempotency_key="k", queue=flows.Queue("faults-rated", rate="9/s")
    )
    for verb in ("reserve", "file", "began"):
        trace = simulate(task(), faults=[Fault.lost_reply(verb)])
        assert trace.run.value == 3
        check_all(trace)


def test_the_clock_of_the_store_jumps() -> None:
    waits = shop.nap.using(delay="1h")
    assert simulate(waits(0.0), faults=[Fault.clock_step(1800, at=60)]).seconds == 1800.0
    assert simulate(waits(0.0), faults=[Fault.clock_step(-60, at=60)]).seconds == 3660.0
    trace = simulate(shop.nap(20.0), faults=[Fault.clock_step(3600, at=5)], workers=2)
    check_all(trace)
    assert trace.run.state == "completed"


def test_the_store_goes_away_and_comes_back() -> None:
    trace = charged(Fault.store_restart(at=0, down="10s"))
    assert outcomes(trace) == ["completed"]
    assert 10.0 <= trace.seconds < 20.0
    for at in (0.5, 1.0, 3.0):
        charged(Fault.store_restart(at=at), Fault.fail("shop-charge", times=2))


def test_workers_leave_and_join() -> None:
    trace = simulate(shop.nap(100.0), faults=[Fault.worker_leaves(at=50)])
    assert [(attempt.worker, attempt.outcome) for attempt in trace.attempts] == [("worker-1", "completed")]
    trace = simulate(shop.nap(100.0), faults=[Fault.worker_leaves(at=50, drain=False)])
    assert [(attempt.worker, attempt.outcome) for attempt in trace.attempts] == [
        *(("worker-1", "crashed"), ("worker-2", "completed")),
    ]
    many = [shop.nap(10.0, n).out for n in range(8)]
    slow = simulate(shop.nap(0.0, many), slots=1)
    fast = simulate(shop.nap(0.0, many), slots=1, faults=[Fault.worker_joins(at=10)])
    assert (slow.seconds, fast.seconds) == (80.0, 50.0)


def test_a_run_is_cancelled_at_an_instant() -> None:
    flow = shop.nap(5.0, shop.nap(10.0).out)
    trace = simulate(flow, faults=[Fault.cancel(at=4, reason="changed my mind")])
    assert (trace.run.state, trace.seconds) == ("cancelled", 4.0)
    assert "changed my mind" in str(trace.run.jobs["shop-nap"].error)
    check_all(trace)


def test_other_handlers_are_deployed() -> None:
    def later(seconds: float, what: Any = None) -> float:
        return -seconds

    flow = shop.nap(5.0, shop.nap(10.0).out)
    trace = simulate(flow, faults=[Fault.deploy({"shop-nap": later}, at=3)])
    assert trace.run.value == -5.0
    assert trace.seconds == 10.0


def test_a_lease_outlives_a_clock_that_was_set_back_and_is_rescued_once_the_clock_has_caught_up() -> None:
    back = Fault.clock_step(-3600, at=0.5)
    trace = simulate(shop.order_flow, faults=[back, Fault.crash("shop-load", at="before_start")], workers=2)
    check_all(trace)
    assert trace.run.state == "completed"
    assert 3600 < trace.seconds < 3700


def test_a_worker_that_never_was_cannot_leave() -> None:
    fault = Fault.worker_leaves(at=50, worker="worker-3")
    with pytest.raises(DefinitionError, match=r"no worker 'worker-3' after 50 s; did you mean worker-2\?"):
        simulate(shop.nap(100.0), faults=[fault], workers=2)
    assert simulate(shop.nap(100.0), faults=[Fault.worker_joins(at=1), fault], workers=2).run.state == "completed"


def test_a_fault_on_an_attempt_that_a_job_does_not_have_is_refused() -> None:
    nap = shop.nap.using(attempts=3)
    jobs = nap.using(id="long")(5.0), shop.nap.using(id="short")(1.0)
    flow: flows.Flow[Any] = flows.Flow("f", jobs, several=True)
    item = Fault.slow("shop-nap[1]", 1, attempt=4)
    refused: list[tuple[Any, Fault]] = [(flow, Fault.fail("long", attempt=7)), (flows.each(nap, [1.0, 2.0]), item)]
    for made, fault in refused:
        with pytest.raises(DefinitionError) as caught:
            simulate(made, faults=[fault])
        assert str(caught.value) == (
            f"{fault!r} would never strike: job {fault.job!r} has attempts=3, and an attempt that lost its worker is "
            "made again under the same number; name an earlier one, or none"
        )
    with pytest.raises(DefinitionError, match="job 'short' has attempts=1"):
        simulate(flow, faults=[Fault.crash("short", attempt=2)])
    trace = simulate(flow, faults=[Fault.fail("shop-nap", attempt=number) for number in (1, 2)])
    assert trace.missed == (), "of several jobs of a task one has three"
    assert outcomes(trace, "long") == ["retrying", "retrying", "completed"]


def test_a_fault_that_never_struck_is_told() -> None:
    never = Fault.fail("shop-charge", attempt=2), Fault.lost_call(nth=90)
    trace = charged(Fault.crash("shop-load"), *never)
    assert trace.missed == never
    assert trace.timeline().splitlines()[-2:] == [f"never struck: {fault!r}" for fault in never]
    struck = [Fault.cancel(at=50), Fault.lost_reply(), Fault.clock_step(1, at=0), Fault.duplicate("shop-nap")]
    assert simulate(shop.nap(10.0), faults=struck).missed == ()
