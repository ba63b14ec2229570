"""The assertions on what a trace tells: on order, on what parents see, on effects that may be done twice, on spans."""

from collections.abc import Callable
from typing import Any

import pytest

import flows
from flows import Children, Job, Opts
from flows.testing import (
    EffectLedger,
    Fault,
    check_all,
    effects_at_least_once,
    order_of,
    parent_sees_all_children,
    simulate,
    spans_complete,
)
from tests.testing import shop


def message(check: Callable[..., None], *args: Any, **options: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        check(*args, **options)
    return str(caught.value)


def test_an_order_can_be_asserted() -> None:
    trace = simulate(shop.order_flow())
    order_of(trace, "shop-load", "shop-charge", "shop-close")
    text = message(order_of, trace, "shop-charge", "shop-load")
    assert "'shop-load' began before 'shop-charge' had ended" in text
    assert "To do: where 'shop-load' must wait" in text
    failed = simulate(shop.order_flow(), faults=[Fault.fail("shop-load", times=None)])
    assert "'shop-close' never began" in message(order_of, failed, "shop-load", "shop-close")
    for wrong in (("shop-load",), ("shop-load", "shop-chrge")):
        with pytest.raises(flows.DefinitionError, match=r"two jobs|shop-charge"):
            order_of(trace, *wrong)


def test_a_child_that_is_kept_from_its_parent_is_found() -> None:
    def child(fails: bool) -> str:
        if fails:
            raise ValueError("no")
        return "yes"

    def parent(children: Children) -> list[str]:
        return children.keys()

    leaf, removed = (
        Job("told", id=f"told-{policy}", data={"fails": True}, opts=Opts(on_failure=policy))
        for policy in ("ignore", "remove")
    )
    flow = Job("asks", children=[Job("told", id="yes", data={"fails": False}), leaf, removed])
    trace = simulate(flow, handlers={"told": child, "asks": parent})
    check_all(trace)
    (asked,) = (attempt for attempt in trace.attempts if attempt.job == "asks")
    assert asked.saw == (frozenset(("yes",)), frozenset(("told-ignore",)))
    for saw, missed in (((), ("told-ignore",)), "yes"), ((("yes",), ()), "told-ignore"):
        asked.saw = frozenset(saw[0]), frozenset(saw[1])
        assert f"'asks' was not given what '{missed}' came to" in message(parent_sees_all_children, trace)


def test_an_effect_may_be_asked_for_once_or_more_often() -> None:
    world = EffectLedger()

    def charge() -> None:
        world.record("charge")

    trace = simulate(flows.task(charge, name="charge")(), faults=[Fault.crash("charge")])
    effects_at_least_once(trace, world)
    world.clear()
    assert "completed without its effect" in message(effects_at_least_once, trace, world, jobs=["charge"])


def test_spans_that_do_not_tell_what_happened_are_found() -> None:
    faults = [Fault.fail("shop-charge", attempt=1), Fault.crash("shop-load")]
    trace = simulate(shop.order_flow("12345"), faults=faults, spans=True)
    spans_complete(trace, secrets=["12345"])
    assert "tells 'shop-charge'" in message(spans_complete, trace, secrets=["shop-charge"])
    whole = trace.spans
    for at, wrong in (
        (0, "<shop-load on worker-1: crashed> has no span"),
        (2, "a span of 'shop-charge' has no link to one of 'shop-charge'"),
        (-1, "several traces"),
    ):
        trace.spans = tuple(span for span in whole if span is not whole[at])
        assert wrong in message(spans_complete, trace)
    trace.spans = whole
    next(attempt for attempt in trace.attempts if attempt.job == "shop-mail").outcome = "failed"
    assert "its span tells of no error" in message(spans_complete, trace)
    with pytest.raises(flows.DefinitionError, match="spans=True"):
        spans_complete(simulate(shop.load("a")))
