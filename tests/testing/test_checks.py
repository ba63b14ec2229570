"""The assertions: each finds what it is there for, in words that a person can act on."""

import asyncio
import dataclasses
import xml.etree.ElementTree
from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows import Backoff
from flows.testing import (
    EffectLedger,
    Fault,
    Trace,
    always_ends,
    attempts_within_limits,
    backoff_respected,
    cancelled_jobs_never_start,
    check_all,
    children_before_parents,
    committed_once,
    deadline_respected,
    effects_exactly_once,
    fails_only_by_faults,
    failure_policy_respected,
    idempotency_keys_stable,
    newest_lease_wins,
    no_orphans,
    released_once,
    replays_equal,
    results_unaffected,
    simulate,
    starts_bounded,
)
from tests.testing import shop

world = EffectLedger()
"""What the faulty handlers below do; tests clear it."""


@pytest.fixture(autouse=True)
def _nothing_done_yet() -> None:
    world.clear()
    shop.world.clear()


def message(check: Callable[..., None], *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*args, **options)
    return str(caught.value)


def faulty(handler: Callable[..., Any], *faults: Fault, **options: Any) -> Trace[Any]:
    task = flows.task(handler, name="charge", **({"attempts": 3} | options))
    return simulate(task(), faults=faults)


def test_a_double_charge_is_found_and_told_with_all_that_one_needs() -> None:
    trace = faulty(lambda: world.record("charge"), Fault.crash("charge"))
    text = message(effects_exactly_once, trace, world)
    assert "job 'charge' did 'charge' 2 times" in text
    assert "flows.current().idempotency_key" in text
    assert "worker-2" in text
    assert 'simulate(flow, faults=[Fault.crash("charge")])' in text
    effects_exactly_once(faulty(lambda: None), EffectLedger())


def test_a_ledger_that_holds_what_other_simulations_did_is_told() -> None:
    faulty(lambda: world.record("charge"))
    trace = faulty(lambda: world.record("charge"))
    for check in (effects_exactly_once, idempotency_keys_stable):
        assert "To do: clear() the ledger before each simulation" in message(check, trace, world)


def test_a_world_that_honours_the_key_is_charged_once() -> None:
    once = EffectLedger(idempotent=True)
    trace = faulty(
        lambda: once.record("charge", key=flows.current().idempotency_key),
        *(Fault.crash("charge"), Fault.duplicate("charge"), Fault.fail("charge", at="after_effect", attempt=1)),
    )
    assert len(once.effects) > 1
    check_all(trace, once)


def test_an_effect_that_was_swallowed_is_missed() -> None:
    def careless(n: int) -> int:
        if n == 0:
            world.record("charge")
        return n

    task, total = flows.task(careless, name="charge"), flows.task(lambda *n: sum(n), name="total")
    trace = simulate(total(task(0).out, task(1).out))
    assert "'charge#2' completed without its effect" in message(effects_exactly_once, trace, world)
    effects_exactly_once(trace, world, jobs=["charge"])
    assert "'total'" in message(effects_exactly_once, trace, world, jobs=["total"])


def test_a_key_made_of_the_attempt_is_found() -> None:
    def charge() -> None:
        world.record("charge", key=f"{flows.current().job_id}-{flows.current().attempt}")

    trace = faulty(charge, Fault.fail("charge", at="after_effect", attempt=1))
    assert "under changing keys" in message(idempotency_keys_stable, trace, world)
    assert "under changing keys" in message(check_all, trace, world)


def test_a_key_that_two_jobs_share_is_found() -> None:
    task = flows.task(lambda n: world.record("charge", key="the key"), name="charge")
    total = flows.task(lambda *n: len(n), name="total")
    assert "under one key" in message(idempotency_keys_stable, simulate(total(task(1).out, task(2).out)), world)


def test_no_key_at_all_is_found_once_it_matters() -> None:
    trace = faulty(lambda: world.record("charge"), Fault.crash("charge"))
    assert "more than once, and without a key" in message(idempotency_keys_stable, trace, world)


def test_a_run_that_takes_too_long_is_found() -> None:
    def fails() -> None:
        raise TimeoutError("no")

    trace = faulty(fails, backoff=Backoff.fixed("1h"))
    always_ends(trace, within="2h")
    assert "took 7200 s" in message(always_ends, trace, within="1h")


def test_waits_can_be_asserted() -> None:
    trace = simulate(shop.order_flow(), faults=[Fault.fail("shop-charge", times=2)])
    backoff_respected(trace, "shop-charge", [1, "2s"])
    assert "[1.0, 2.0]" in message(backoff_respected, trace, "shop-charge", [1, 1])
    assert "[1.0, 2.0]" in message(backoff_respected, trace, "shop-charge", [1])


def test_a_handler_that_depends_on_more_than_its_arguments_is_found() -> None:
    calls: list[int] = []

    def moody() -> int:
        calls.append(1)
        if len(calls) == 1:
            raise TimeoutError("only the first time")
        return len(calls)

    assert "replays_equal" in message(replays_equal, faulty(moody))
    replays_equal(simulate(shop.order_flow(), seed=3, faults=[Fault.crash("shop-charge")], workers=2))


def test_a_handler_that_ignores_its_timeout_is_found() -> None:
    trace = simulate(shop.nap.using(timeout="10s", attempts=1)(5.0))
    trace.attempts[0].ended_at = 11.0
    assert "timeout of 10 s" in message(deadline_respected, trace)


def tampered() -> Trace[Any]:
    """The trace of an order with a retry, a crash and an ignored failure, to be falsified."""
    faults = [Fault.fail("shop-charge", attempt=1), Fault.crash("shop-charge"), Fault.fail("shop-mail")]
    trace = simulate(shop.order_flow(), faults=faults)
    check_all(trace)
    return trace


def with_events(trace: Trace[Any], change: Callable[[list[flows.Event]], None]) -> Trace[Any]:
    events = list(trace.events)
    change(events)
    trace.events = events
    return trace


def place(events: list[flows.Event], kind: str, job: str | None = None) -> int:
    return next(at for at, event in enumerate(events) if event.kind == kind and job in (None, event.job))


def test_a_parent_that_began_too_early_is_found() -> None:
    def early(events: list[flows.Event]) -> None:
        events.insert(place(events, "completed", "shop-charge"), events.pop(place(events, "started", "shop-close")))

    text = message(children_before_parents, with_events(tampered(), early))
    assert "'shop-close' began before shop-charge" in text


def test_a_job_that_ended_or_began_twice_is_found() -> None:
    for check, kind in ((committed_once, "completed"), (released_once, "started")):

        def twice(events: list[flows.Event], kind: str = kind) -> None:
            events.append(events[place(events, kind, "shop-charge")])

        assert "'shop-charge'" in message(check, with_events(tampered(), twice))


def test_a_start_after_the_end_is_found() -> None:
    def late(events: list[flows.Event]) -> None:
        events.append(dataclasses.replace(events[place(events, "started", "shop-load")]))

    assert "after it had ended" in message(cancelled_jobs_never_start, with_events(tampered(), late))
    assert "after the run had ended" in message(no_orphans, with_events(tampered(), late))


def test_a_job_that_is_left_open_is_found() -> None:
    trace = tampered()
    trace.states = {"shop-charge": "waiting"}
    assert "shop-charge is waiting" in message(no_orphans, trace)


def test_a_zombie_that_is_heard_is_found() -> None:
    trace = simulate(shop.order_flow(), faults=[Fault.duplicate("shop-charge")])
    newest_lease_wins(trace)
    zombie = next(attempt for attempt in trace.attempts if attempt.outcome == "refused")
    zombie.outcome = "completed"
    assert "older attempt of job 'shop-charge'" in message(newest_lease_wins, trace)
    assert "2 results of job 'shop-charge'" in message(committed_once, trace)
    zombie.fence = max(attempt.fence for attempt in trace.attempts if attempt.job == "shop-charge")
    assert "have the fences" in message(newest_lease_wins, trace)


def test_too_many_attempts_and_starts_are_found() -> None:
    trace = tampered()
    trace.attempts = trace.attempts * 4
    assert "at most 6 are promised" in message(starts_bounded, trace)
    next(one for one in trace.attempts if one.job == "shop-load").number = 2
    assert "attempts=1 and was tried more often" in message(attempts_within_limits, trace)


def test_a_wait_that_was_cut_short_or_is_another_than_declared_is_found() -> None:
    trace = tampered()
    failed = next(attempt for attempt in trace.attempts if attempt.outcome == "retrying")
    failed.backoff = 1.5
    assert "before its wait of 1.5 s" in message(backoff_respected, trace)
    failed.backoff = 0.5
    assert "waited 0.5 s after attempt 1, not 1 s" in message(backoff_respected, trace)


def test_a_failure_that_was_not_heeded_is_found() -> None:
    trace = tampered()
    trace.states = trace.states | {"shop-charge": "failed"}
    assert "shop-charge failed: says failed" in message(failure_policy_respected, trace)
    trace = simulate(shop.order_flow(), faults=[Fault.fail("shop-load")])
    check_all(trace)
    trace.states = trace.states | {"shop-close": "skipped"}
    assert "'shop-close' is skipped" in message(failure_policy_respected, trace)


def test_a_start_beyond_the_deadline_is_found() -> None:
    trace = simulate(shop.nap(5.0, shop.nap(50.0).out), timeout="20s")
    deadline_respected(trace)
    trace.attempts[0].store_began_at += 60.0
    assert "after the run's deadline" in message(deadline_respected, trace)


def test_a_list_needs_no_effect_of_its_own() -> None:
    task = flows.task(lambda sku: world.record("reserve", key=flows.current().idempotency_key), name="reserve")
    check_all(simulate(flows.each(task, ["tea", "pot"])), world)


def test_an_error_that_no_fault_raised_is_found() -> None:
    def careless() -> int:
        stock: dict[str, int] = {}
        return stock["sku"]

    trace = faulty(careless, Fault.fail("charge", attempt=1))
    assert "job 'charge' raised KeyError: 'sku' by itself" in message(fails_only_by_faults, trace)
    fails_only_by_faults(trace, besides=[KeyError])
    fails_only_by_faults(faulty(lambda: None, Fault.fail("charge", exc=shop.CardDeclined("no"))))
    fails_only_by_faults(faulty(lambda: None, Fault.crash("charge", times=None)))


def test_an_attempt_that_ends_as_its_run_is_cancelled_has_raised_nothing_by_itself() -> None:
    @flows.task(name="checks-ends")
    async def ends(*, badly: bool) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if badly:
                raise KeyError("sku")

    cancel = Fault.cancel(at=1.0)
    fails_only_by_faults(simulate(ends(badly=False), faults=[cancel]))
    assert "KeyError" in message(fails_only_by_faults, simulate(ends(badly=True), faults=[cancel]))


def test_a_result_that_tells_of_attempts_is_found() -> None:
    task = flows.task(lambda: flows.current().attempt, name="charge", attempts=2)
    total = flows.task(lambda *parts: sum(parts), name="total", attempts=2)
    results_unaffected(simulate(total(task().out, task().out), faults=[Fault.fail("total", attempt=1)]))
    trace = simulate(total(task().out, task().out), faults=[Fault.fail("charge", attempt=1)])
    text = message(results_unaffected, trace)
    assert "the result of job 'charge' is another one" in text
    assert "here:           2" in text
    failed = simulate(total(task().out, task().out), faults=[Fault.fail("charge")])
    results_unaffected(failed)


def test_what_nothing_would_be_asserted_of_is_refused() -> None:
    trace = simulate(shop.order_flow())
    with pytest.raises(flows.DefinitionError, match="no job 'shop-chrage'; there are shop-charge"):
        effects_exactly_once(trace, world, jobs=["shop-chrage"])
    with pytest.raises(flows.DefinitionError, match="takes ids of jobs"):
        effects_exactly_once(trace, world, jobs="shop-charge")
    with pytest.raises(flows.DefinitionError, match="no job 'shop-chrage'"):
        backoff_respected(trace, "shop-chrage")
    with pytest.raises(flows.DefinitionError, match="name it with job="):
        backoff_respected(trace, waits=["1s"])
    assert message(always_ends, simulate(shop.nap(9.0)), within="1s").endswith("The same again: simulate(flow)")
    with pytest.raises(flows.DefinitionError, match="as text"):
        world.record("charge", key=3)  # type: ignore[arg-type]


def test_a_trace_draws_itself() -> None:
    trace = simulate(shop.order_flow("<7>"), faults=[Fault.crash("shop-charge"), Fault.cancel(at=40.0)])
    drawing = xml.etree.ElementTree.fromstring(trace.to_svg())
    texts = [node.text for node in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert {"worker-1", "worker-2", "the world", "shop-charge", "crashed", "cancels the run"} <= set(texts)
    assert trace._repr_svg_() == trace.to_svg()


@pytest.mark.parametrize("fault", [Fault.crash("shop-load"), Fault.slow("shop-load", 45), Fault.clock_step(60, at=1)])
def test_faults_widen_the_bounds_of_a_deadline_and_do_not_lift_them(fault: Fault) -> None:
    trace = simulate(shop.order_flow, faults=[fault], workers=2, timeout="10m")
    deadline_respected(trace)
    assert trace._record.deadline_at is not None
    trace.attempts[-1].store_began_at = trace._record.deadline_at + 40
    deadline_respected(trace)
    trace.attempts[-1].store_began_at += 300
    with pytest.raises(AssertionError, match="began after the run's deadline"):
        deadline_respected(trace)


def test_a_crash_elsewhere_excuses_no_timeout_that_was_not_heeded() -> None:
    work = shop.nap.using(timeout="10s", attempts=1)
    trace = simulate(work.using(id="second")(1.0, work.using(id="first")(5.0).out), faults=[Fault.crash("first")])
    deadline_respected(trace)
    second = trace.attempts[-1]
    second.ended_at = second.began_at + 11.0
    with pytest.raises(AssertionError, match="has a timeout of 10 s and completed after 11 s"):
        deadline_respected(trace)


@pytest.mark.parametrize(
    "check", [always_ends, check_all, replays_equal, results_unaffected], ids=lambda one: one.__name__
)
@pytest.mark.parametrize("what", ["run", None])
def test_what_is_no_trace_is_refused(check: Any, what: str | None) -> None:
    given = simulate(shop.load("a")).run if what == "run" else None
    with pytest.raises(flows.DefinitionError, match=rf"{check.__name__} takes the trace that simulate\(\) returns"):
        check(given)


def test_what_is_no_ledger_is_refused() -> None:
    wrong: Any = []
    for check in (effects_exactly_once, idempotency_keys_stable, check_all):
        with pytest.raises(flows.DefinitionError, match="takes the EffectLedger"):
            check(simulate(shop.load("a")), wrong)
