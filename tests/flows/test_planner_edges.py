"""The planner: what each edge says, roots, the order of problems, the garbage collector."""

import gc
from typing import Any

import pytest

import flows
from flows import Job
from flows._planner import Planner
from flows._state import CONTINUE, FAIL, IGNORE, ORDER_ONLY, SHARED, SKIP
from flows.errors import DefinitionError

take = flows.task(lambda *values, **named: values, name="planner-edge")


def test_an_edge_says_what_its_kind_and_the_policy_of_its_child_make_of_it() -> None:
    goes_on, skips, fails, shared = (
        take.using(id=policy, on_failure=policy)() for policy in ("continue", "skip", "fail", "ignore")
    )
    listed = flows.each(lambda item: take.using(id="listed")(item, flows.optional(shared.out)), fails.out)
    listed.after(goes_on)
    data = {"x": flows.optional(skips.out), "y": fails.out, "z": flows.optional(fails.out)}
    job = Job("planner-edge", id="job", data=data, children=[shared])
    job.after(goes_on, skips, fails, shared.after(fails))
    when = flows.when(fails.out, take.using(id="when")())
    both = flows.when(fails.out, take.using(id="both")(fails.out))
    plan: flows.Plan[Any] = flows.plan(flows.Flow("f", (listed, job, when, both), several=True))
    edges = sorted((plan.ids[child], plan.ids[dependent], effect) for child, dependent, effect in plan.edges())
    assert edges == [
        ("continue", "job", CONTINUE | ORDER_ONLY),
        ("continue", "listed", IGNORE | ORDER_ONLY),
        ("fail", "both", FAIL),
        ("fail", "ignore", FAIL | ORDER_ONLY),
        ("fail", "job", FAIL),
        ("fail", "job", IGNORE),
        ("fail", "listed", FAIL),
        ("fail", "when", FAIL),
        ("ignore", "job", IGNORE),
        ("ignore", "listed", IGNORE | ORDER_ONLY | SHARED),
        ("skip", "job", IGNORE),
        ("skip", "job", SKIP | ORDER_ONLY),
    ]
    place = {job_id: at for at, job_id in enumerate(plan.ids)}
    pending = [plan.pending[place[name]] for name in ("listed", "job", "when", "both", "ignore", "fail")]
    assert pending == [3, 6, 1, 1, 1, 0]
    assert [[plan.ids[child] for child in plan.inputs[place[name]]] for name in ("listed", "job", "when", "both")] == [
        *(["fail"], ["skip", "fail", "ignore"], [], ["fail"])
    ]
    assert plan.optional == {place["job"]: {place["skip"], place["fail"]}}


def test_a_root_may_need_one_that_was_returned_before_it_or_after() -> None:
    first, second = take.using(id="first")(), take.using(id="second")()
    needs_both = take.using(id="both")(first.out, second.out)
    last = take.using(id="last")(second.out)
    plan: flows.Plan[Any] = flows.plan(flows.Flow("f", (needs_both, first, last), several=True))
    assert (plan.order, plan.roots) == (("first", "second", "both", "last"), (2, 0, 3))


def test_problems_are_told_in_the_order_of_the_jobs() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(DefinitionError) as caught:
        flows.plan(take.using(id="outer")(take.using(id="inner")(endless).out, x=endless))
    assert [str(problem).partition(":")[0] for problem in caught.value.problems] == ["job 'inner'", "job 'outer'"]


def test_a_plan_keeps_what_the_flow_says_of_its_retention() -> None:
    assert flows.plan(flows.Flow.parse({"name": "planner-edge", "opts": {"removeOnComplete": True}})).retention
    assert not flows.plan(take()).retention


def test_no_garbage_is_looked_for_while_planning_and_afterwards_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    monkeypatch.setattr(Planner, "check", lambda self: seen.append(gc.isenabled()))
    flows.plan(take())
    assert gc.isenabled()
    gc.disable()
    try:
        flows.plan(take())
        assert not gc.isenabled()
    finally:
        gc.enable()
    assert seen == [False, False]
