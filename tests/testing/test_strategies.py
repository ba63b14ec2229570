"""Strategies draw what they say, name what is there, and shrink to what a person would have written."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st

import flows
from flows import DefinitionError, Job, Opts
from flows._codec import canonical, jsonable
from flows.errors import MissingDependencyError
from flows.testing import (
    check_all,
    effects_exactly_once,
    failures,
    fault_plans,
    flow_graphs,
    payloads,
    retry_policies,
    schedules,
    simulate,
)
from flows.testing._drawn_flows import DrawnFlow, DrawnJob
from flows.testing.strategies import FAULTS, SHAPES
from tests.testing import shop

FOUND = settings(max_examples=2_000, database=None, deadline=None)
MET = settings(FOUND, phases=[Phase.generate])
DRAWN = settings(max_examples=min(30, settings().max_examples), suppress_health_check=[HealthCheck.too_slow])


@DRAWN
@given(st.sampled_from(SHAPES), st.data())
def test_each_shape_can_be_run_and_stays_within_its_size(shape: str, data: st.DataObject) -> None:
    flow = data.draw(flow_graphs(shapes=[shape], max_jobs=6))
    trace = simulate(flow)
    check_all(trace)
    rows = [row for row in flow.rows if row.items is None]
    assert len(rows) + sum(row.items or 0 for row in flow.rows) <= 6
    assert (sum(row.items is not None for row in flow.rows) == 1) is (shape == "each")


@pytest.mark.slow
def test_flows_show_what_they_are_made_of_and_shrink_to_one_job() -> None:
    flow = find(flow_graphs(), lambda flow: True, settings=FOUND)
    assert repr(flow) == "<flow of\n  0: plain\n>"

    def skips(flow: DrawnFlow) -> bool:
        return any(("on_failure", "skip") in row.options for row in flow.rows)

    odd = find(flow_graphs(max_jobs=4), skips, settings=FOUND)
    assert odd.rows == (DrawnJob(options=(("on_failure", "skip"),)),)


@pytest.mark.parametrize("wrong", [{"shapes": ["chian"]}, {"shapes": []}, {"shapes": "chain"}, {"max_jobs": 0}])
def test_a_wrong_wish_is_refused_with_its_remedy(wrong: dict) -> None:
    with pytest.raises(DefinitionError, match=r"did you mean 'chain'|takes some of chain|from 1, not 0"):
        flow_graphs(**wrong)
    with pytest.raises(DefinitionError, match="did you mean 'crash'"):
        fault_plans(shop.order_flow, kinds=["crush"])


@DRAWN
@given(payloads())
def test_payloads_survive_a_store(payload: object) -> None:
    assert json.loads(canonical(jsonable(payload, "it"))) == payload


@pytest.mark.slow
def test_payloads_reach_what_breaks_parsers() -> None:
    assert find(payloads(), lambda one: type(one) is int and one > 2**53, settings=MET)
    assert find(payloads(), lambda one: type(one) is str and "\x00" in one, settings=MET)
    assert find(payloads(), lambda one: type(one) is dict and any(type(x) is list for x in one.values()), settings=MET)


@DRAWN
@given(retry_policies(), failures())
def test_retries_of_any_policy_and_any_failure_keep_their_promises(opts: Opts, failure: Exception) -> None:
    def handler() -> None:
        raise failure

    given: dict[str, Any] = opts.given
    check_all(simulate(flows.task(handler, name="odd-typed", **given)()))
    data = {name: value for name, value in given.items() if name not in ("retry_on", "give_up_on")}
    check_all(simulate(Job("odd", opts=Opts(**data)), handlers={"odd": handler}))


def test_failures_can_leave_signals_out() -> None:
    signals = (flows.GiveUp, flows.Skip, flows.RetryAfter)
    assert isinstance(find(failures(), lambda one: isinstance(one, signals), settings=MET), signals)

    @FOUND
    @given(failures(signals=False))
    def never(one: Exception) -> None:
        assert not isinstance(one, signals)

    never()


@DRAWN
@given(fault_plans(shop.order_flow, max_faults=4), schedules())
def test_faults_name_jobs_of_the_flow_and_schedules_are_literals(faults: tuple, schedule: dict) -> None:
    assert len(faults) <= 4
    assert {fault.job for fault in faults} <= {*flows.plan(shop.order_flow).ids, "shop-reserve", None}
    assert eval(repr(schedule)) == schedule
    check_all(simulate(shop.order_flow, faults=faults, schedule=schedule))


@pytest.mark.parametrize("kind", FAULTS)
def test_each_kind_of_fault_is_drawn_alone_when_asked_for(kind: str) -> None:
    makes = {
        "call": {"lost_reply", "lost_call", "doubled_call", "late_call"},
        "worker": {"worker_leaves", "worker_joins"},
    }.get(kind, {kind})
    drawn = find(fault_plans(shop.order_flow, kinds=[kind]), lambda faults: bool(faults), settings=MET)
    assert {fault.kind for fault in drawn} <= makes


@pytest.mark.slow
def test_a_double_charge_is_found_and_shrinks_to_one_fault() -> None:
    def charged_twice(faults: tuple) -> bool:
        shop.world.clear()
        trace = simulate(shop.order_flow, faults=faults)
        try:
            effects_exactly_once(trace, shop.world)
        except AssertionError:
            return True
        return False

    faults = find(fault_plans(shop.order_flow), charged_twice, settings=FOUND)
    assert len(faults) == 1
    assert faults[0].job == "shop-charge"


def test_without_hypothesis_a_hint_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "flows.testing.strategies")
    with pytest.raises(MissingDependencyError, match="pip install hypothesis"):
        exec("from flows.testing import fault_plans", {})


@pytest.mark.slow
def test_the_first_example_loads_nothing_which_would_count_against_its_deadline() -> None:
    drawn = """
import sys, flows
from flows.testing import effects_exactly_once, fault_plans, schedules, simulate

@flows.task
def step(number: int) -> int:
    return number

flow = step(step(1).out)
fault_plans(flow), schedules()
before = set(sys.modules)
simulate(flow, faults=(), schedule={1: 1}, workers=2)
print(*set(sys.modules) - before)
"""
    call, root = [sys.executable, "-c", drawn], Path(__file__).parents[2]
    assert subprocess.run(call, cwd=root, stdout=subprocess.PIPE, text=True, check=True).stdout == "\n"
