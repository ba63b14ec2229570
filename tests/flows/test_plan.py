"""Plans as they are read: levels, paths, queues, graph, text; and that size costs no stack."""

import sys
from collections.abc import Iterator
from typing import Any

import networkx
import pytest

import flows
from flows import Job, Opts, Plan

take = flows.task(lambda *values: values, name="step")
gather = flows.task(lambda values: values, name="step-gather")


def order_flow() -> Job[Any]:
    load = take.using(id="load", queue="orders")()
    paid = take.using(id="pay", queue="payments", attempts=5, timeout="30s", priority=2)(load.out)
    mail = take.using(id="mail", queue="mail", delay="1m", on_failure="ignore")(load.out)
    return take.using(id="process", queue="orders")(paid.out).after(mail)


@pytest.fixture
def plan() -> Plan[Any]:
    return flows.plan(order_flow())


def test_order_levels_queues_and_size(plan: Plan[Any]) -> None:
    assert plan.order == ("load", "pay", "mail", "process")
    assert plan.levels == [["load"], ["pay", "mail"], ["process"]]
    assert plan.queues == {"orders": 2, "payments": 1, "mail": 1}
    assert (len(plan), repr(plan)) == (4, "<plan of 'step': 4 jobs, 3 queues>")


def test_a_job_stands_one_level_above_its_highest_dependency() -> None:
    low = take.using(id="low")()
    high = take.using(id="high")(low.out)
    assert flows.plan(take.using(id="top")(low.out, high.out)).levels == [["low"], ["high"], ["top"]]


@pytest.mark.parametrize(
    ("durations", "path"),
    [
        (None, ["load", "pay", "process"]),
        ({"mail": 9.0, "pay": 1.0, "process": 0.5}, ["load", "mail", "process"]),
        ({"pay": 9.0, "mail": 1.0, "step": 0.5}, ["load", "pay", "process"]),
        ({"step": 2.0, "mail": 3.0}, ["load", "mail", "process"]),
        ({"mail": 1.0}, ["load", "mail", "process"]),
    ],
)
def test_the_critical_path_is_the_one_that_takes_longest(
    plan: Plan[Any], durations: dict[str, float] | None, path: list[str]
) -> None:
    assert plan.critical_path(durations) == path


def test_the_graph_has_jobs_by_id_with_edges_from_child_to_parent(plan: Plan[Any]) -> None:
    graph = plan.graph
    assert isinstance(graph, networkx.DiGraph)
    assert (graph.name, list(graph)) == ("step", list(plan.order))
    assert graph.nodes["pay"] == {"task": "step", "queue": "payments"}
    assert dict(graph.edges) == {
        ("load", "pay"): {"policy": "fail", "order_only": False},
        ("load", "mail"): {"policy": "fail", "order_only": False},
        ("pay", "process"): {"policy": "fail", "order_only": False},
        ("mail", "process"): {"policy": "ignore", "order_only": True},
    }
    graph.clear()
    assert len(plan.graph) == 4


def test_an_edge_by_value_and_by_order_is_one_edge_of_the_graph() -> None:
    below = take.using(id="below", on_failure="skip")()
    graph = flows.plan(take.using(id="top")(flows.optional(below.out)).after(below)).graph
    assert dict(graph.edges) == {("below", "top"): {"policy": "ignore", "order_only": False}}


def test_explain_tells_the_plan_in_words(plan: Plan[Any]) -> None:
    assert plan.explain().splitlines() == [
        "flow step: 4 jobs in 3 levels",
        "queues: orders (2), payments (1), mail (1)",
        "critical path: load -> pay -> process",
        "  load [orders]",
        "  pay [payments] (5 attempts, timeout 30 s, priority 2) after load",
        "  mail [mail] (delay 60 s, on failure ignore) after load",
        "  process [orders] after pay, mail (order only)",
    ]


def test_explain_of_one_job_and_of_very_many() -> None:
    assert flows.plan(take()).explain().splitlines()[0] == "flow step: 1 job in 1 level"
    text = flows.plan(take(*(take().out for _ in range(5_000)))).explain()
    assert "5,001 jobs in 2 levels" in text
    assert "and 4961 more jobs" in text.replace(",", "")
    assert len(text) < 4_000


def test_the_plan_of_a_literal_reads_the_same() -> None:
    root = Job("process", id="process", children=[Job("pay", id="pay", opts=Opts(attempts=2)), Job("mail", id="mail")])
    plan = flows.plan(root)
    assert (plan.order, plan.levels) == (("pay", "mail", "process"), [["pay", "mail"], ["process"]])
    assert "pay [default] (2 attempts)" in plan.explain()


def test_position_of_finds_jobs_of_the_flow_alone() -> None:
    root = order_flow()
    plan = flows.plan(root)
    assert plan.position_of(root) == 3
    assert plan.position_of(take()) is None


@pytest.fixture
def little_stack() -> Iterator[None]:
    """What is left of a small stack once pytest's own frames are on it."""
    before = sys.getrecursionlimit()
    depth = len(_frames())
    sys.setrecursionlimit(depth + 200)
    yield
    sys.setrecursionlimit(before)


def _frames() -> list[Any]:
    frames, frame = [], sys._getframe()
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return frames


def chain(length: int) -> Job[Any]:
    job = take()
    for _ in range(length - 1):
        job = take(job.out)
    return job


@pytest.mark.usefixtures("little_stack")
@pytest.mark.slow
def test_a_chain_of_100_000_jobs_costs_no_stack() -> None:
    plan = flows.plan(chain(100_000))
    assert (len(plan), plan.ids[-1], len(plan.levels), len(plan.critical_path())) == (100_000, "step", 100_000, 100_000)
    assert "100,000 jobs in 100,000 levels" in plan.explain()


@pytest.mark.slow
@pytest.mark.usefixtures("little_stack")
def test_a_chain_of_literals_with_every_kind_of_edge_costs_no_stack() -> None:
    job = Job("step")
    for number in range(10_000):
        kind = number % 3
        job = (
            Job("step", children=[job])
            if kind == 0
            else Job("step").after(job)
            if kind == 1
            else take({"a": [job.out]})
        )
    plan = flows.plan(job)
    assert len(plan.levels) == 10_001
    assert len(plan.fingerprint) == 64
    assert len(plan.graph.edges) == 10_000


@pytest.mark.slow
@pytest.mark.usefixtures("little_stack")
def test_a_fan_in_of_1_000_000_jobs_plans() -> None:
    root = gather([take().out for _ in range(1_000_000)])
    plan = flows.plan(root)
    assert (len(plan), plan.ids[0], plan.ids[-2], len(plan.levels)) == (1_000_001, "step", "step#1000000", 2)
    assert len(plan.inputs[-1]) == 1_000_000


def test_the_critical_path_leads_to_a_root_through_jobs_that_cost_nothing() -> None:
    @flows.task
    def step(before: object = None) -> None: ...

    plan = flows.plan(step.using(id="c")(step.using(id="b")(step.using(id="a")().out).out))
    assert plan.critical_path({"a": 2.0}) == plan.critical_path({}) == ["a", "b", "c"]
