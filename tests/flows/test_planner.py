"""The planner: order, ids, cycles, options, snapshots; what it refuses."""

import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import Job, Opts, Queue
from flows._opts import Options
from flows.errors import CycleError, DataError, DefinitionError, DuplicateJobError

take = flows.task(lambda *values, **named: values, name="take")


def order(root: Any) -> tuple[str, ...]:
    return tuple(flows.plan(root).order)


def test_ids_are_numbered_by_first_visit_from_the_root() -> None:
    left, right = take(take(1).out), take(2)
    root = take(left.out, right.out)
    plan = flows.plan(root)
    assert [plan.ids[plan.position_of(job) or 0] for job in (root, left, right)] == ["take", "take#2", "take#4"]
    assert plan.order == ("take#3", "take#2", "take#4", "take")


def test_arguments_come_before_children_and_children_before_order_only_edges() -> None:
    argument, keyword, child, ordered = (take.using(id=name)() for name in ("arg", "kw", "child", "after"))
    job = Job("take", data={"a": argument.out, "b": [keyword.out]}, children=[child]).after(ordered)
    assert order(job) == ("arg", "kw", "child", "after", "take")
    typed = take(argument.out, x=keyword.out).after(ordered)
    assert order(typed) == ("arg", "kw", "after", "take")


def test_numbers_pass_by_ids_that_were_given() -> None:
    jobs = [take(), take.using(id="take#2")(), take(), Job("take#2"), take()]
    assert order(take(*(job.out for job in jobs))) == ("take#3", "take#2", "take#4", "take#2#2", "take#5", "take")


def test_a_name_may_look_like_the_number_of_another() -> None:
    assert order(take(take().out, Job("take#2").out, take().out)) == ("take#2", "take#2#2", "take#3", "take")


def test_an_id_given_takes_the_name_of_another() -> None:
    assert order(take(take.using(id="take")().out)) == ("take", "take#2")


@given(st.lists(st.sampled_from(["a", "b", "a#2", "a#3", None]), max_size=8), st.data())
def test_ids_are_unique_whatever_names_and_ids_are_given(given_ids: list[str | None], data: st.DataObject) -> None:
    unique = [one for place, one in enumerate(given_ids) if one is None or one not in given_ids[:place]]
    names = [data.draw(st.sampled_from(["a", "b", "a#2"])) for _ in unique]
    root = Job("a", children=[Job(name, id=one) for name, one in zip(names, unique, strict=True)])
    ids = flows.plan(root).ids
    assert len(set(ids)) == len(ids) == len(unique) + 1
    assert {one for one in unique if one} <= set(ids)


def test_children_stand_before_their_parents_and_shared_jobs_once() -> None:
    shared = take.using(id="shared")()
    a, b = take.using(id="a")(shared.out, shared.out), take.using(id="b")(shared.out)
    assert order(take(a.out, b.out, shared.out)) == ("shared", "a", "b", "take")


@st.composite
def dags(draw: st.DrawFn) -> tuple[Job[Any], "networkx.DiGraph[str]"]:
    """A random DAG under one root, with the graph that it should plan to."""
    jobs: list[Job[Any]] = []
    graph: networkx.DiGraph[str] = networkx.DiGraph()
    for number in range(draw(st.integers(1, 12))):
        name = f"j{number}"
        below = draw(st.lists(st.sampled_from(jobs), max_size=4)) if jobs else []
        split = draw(st.integers(0, len(below)))
        job = Job("take", id=name, children=below[:split]).after(*below[split:])
        graph.add_node(name)
        graph.add_edges_from((other.id or "", name) for other in below)
        jobs.append(job)
    root = Job("take", id="root", children=jobs)
    graph.add_edges_from((job.id or "", "root") for job in jobs)
    return root, graph


@given(dags())
def test_order_levels_and_critical_path_are_those_of_networkx(made: tuple[Job[Any], "networkx.DiGraph[str]"]) -> None:
    root, graph = made
    plan = flows.plan(root)
    place = {job_id: position for position, job_id in enumerate(plan.order)}
    assert set(place) == set(graph)
    assert set(plan.graph.edges) == set(graph.edges)
    assert all(place[child] < place[parent] for child, parent in graph.edges)
    assert [sorted(level) for level in plan.levels] == [
        sorted(level) for level in networkx.topological_generations(graph)
    ]
    path = plan.critical_path()
    assert len(path) == networkx.dag_longest_path_length(graph) + 1
    assert all(graph.has_edge(child, parent) for child, parent in pairwise(path))


@given(dags(), st.data())
def test_the_critical_path_with_durations_is_the_longest(
    made: tuple[Job[Any], "networkx.DiGraph[str]"], data: st.DataObject
) -> None:
    root, graph = made
    seconds = {node: float(data.draw(st.integers(0, 9))) for node in graph}
    path = flows.plan(root).critical_path(seconds)
    longest: dict[str, float] = {}
    for node in networkx.topological_sort(graph):
        longest[node] = seconds[node] + max((longest[child] for child in graph.predecessors(node)), default=0.0)
    assert sum(seconds[job] for job in path) == max(longest.values())
    assert all(graph.has_edge(child, parent) for child, parent in pairwise(path))


PRINT_PLAN = """
import flows
take = flows.task(lambda *values: values, name="take")
pool = [take.using(id=f"x{number}")({"b": number, "a": [number]}) for number in range(20)]
named = {name: pool[number].out for number, name in enumerate("zyxw")}
root = take(*(job.out for job in pool), named).after(*pool[5:9])
plan = flows.plan(root)
print(plan.order, plan.levels, plan.critical_path(), plan.queues, plan.fingerprint, plan.explain(), sep="\\n")
"""


def test_the_same_declaration_plans_alike_in_every_process() -> None:
    texts = {
        subprocess.run(
            [sys.executable, "-c", PRINT_PLAN],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("0", "4242")
    }
    assert len(texts) == 1
    assert "x19" in texts.pop()


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=10), st.booleans())
def test_a_result_taken_twice_is_one_edge_and_two_arguments(picks: list[list[int]], one_is_odd: bool) -> None:
    jobs = [take()]
    for number, taken in enumerate(picks):
        jobs.append(take(*(jobs[pick % len(jobs)].out for pick in taken)))
        if one_is_odd and number == len(picks) // 2:
            jobs[-1].after(jobs[0], jobs[0])
    plan = flows.plan(take(*(job.out for job in jobs)))
    edges = set()
    for position, (binding, inputs) in enumerate(zip(plan.bindings, plan.inputs, strict=True)):
        if isinstance(binding, tuple):
            assert inputs == tuple(dict.fromkeys(binding))
            assert plan.pending[position] == len(inputs)
        edges |= {(child, position) for child in inputs}
    laid = [(child, dependent) for child, dependent, effect in plan.edges() if not effect]
    assert len(laid) == len(set(laid))
    assert set(laid) == edges


def test_ids_are_the_same_whenever_they_are_asked_for() -> None:
    job = take()
    early, late = flows.plan(take(job.out, take(job.out).out)), flows.plan(take(job.out, take(job.out).out))
    assert early.ids == ["take#2", "take#3", "take"]
    flows.execute(late)
    job.id = job.name = "other"
    assert late.ids == early.ids


def cycle_of(root: Any) -> tuple[tuple[str, ...], str]:
    with pytest.raises(CycleError) as caught:
        flows.plan(root)
    return caught.value.cycle, str(caught.value)


def test_a_job_that_depends_on_itself_is_a_cycle() -> None:
    job = Job("a")
    assert cycle_of(job.after(job)) == (("a", "a"), "job 'a' depends on itself")


def test_a_cycle_through_after_is_named_in_order() -> None:
    first, second, third = Job("a"), Job("b"), Job("c")
    second.after(first)
    third.after(second)
    first.after(third)
    cycle, said = cycle_of(Job("root", children=[third]))
    assert (cycle[0], set(cycle), len(cycle)) == (cycle[-1], {"a", "b", "c"}, 4)
    assert " -> ".join(cycle) in said
    runs_before = {("a", "b"), ("b", "c"), ("c", "a")}
    assert set(pairwise(cycle)) == runs_before


def test_a_cycle_through_children_and_references_is_named() -> None:
    first = take.using(id="first")()
    second = take.using(id="second")([{"x": first.out}])
    third = Job("third", children=[second])
    first.after(third)
    assert set(cycle_of(take(third.out))[0]) == {"first", "second", "third"}


def test_jobs_without_ids_are_told_apart_in_a_cycle() -> None:
    first = take()
    second = take(first.out)
    first.after(second)
    assert set(cycle_of(second)[0]) == {"take", "take#2"}


def test_a_long_cycle_is_shown_by_its_ends() -> None:
    jobs = [take()]
    for _ in range(5_000):
        jobs.append(take(jobs[-1].out))
    jobs[0].after(jobs[-1])
    cycle, said = cycle_of(jobs[-1])
    assert len(cycle) == 5_002
    assert len(said) < 1_000
    assert "..." in said


def test_two_jobs_of_one_id_are_refused_with_both() -> None:
    with pytest.raises(DuplicateJobError) as caught:
        flows.plan(Job("root", children=[Job("a", id="x"), Job("b", id="x")]))
    assert "two jobs have the id 'x' (tasks 'a' and 'b')" in str(caught.value)
    assert caught.value.job == "x"


def test_all_problems_are_told_at_once_up_to_twenty() -> None:
    wrong = [take.using(id="same")({1, take().out}) for _ in range(30)]
    with pytest.raises(DefinitionError) as caught:
        flows.plan(take(*(job.out for job in wrong)))
    lines = str(caught.value).splitlines()
    assert (lines[0], len(lines), lines[-1]) == ("59 problems:", 22, "… and 39 more")
    assert len(caught.value.problems) == 59


@pytest.mark.parametrize(
    ("options", "resolved"),
    [
        ((None, None, None), 1),
        ((2, None, None), 2),
        ((2, 3, None), 3),
        ((2, 3, 4), 4),
        ((2, None, 4), 4),
        ((None, None, 4), 4),
    ],
)
def test_a_job_s_options_go_over_its_task_s_over_its_queue_s(options: tuple[int | None, ...], resolved: int) -> None:
    on_queue, on_task, on_job = (Options() if one is None else Options(attempts=one) for one in options)
    task = flows.task(lambda: None, name="planner-precedence", queue=Queue("planner-q", **on_queue), **on_task)
    typed = task.using(**on_job)()
    literal = Job("planner-precedence", opts=Opts(**on_job) if on_job else None)
    for job in (typed, literal):
        plan = flows.plan(job)
        assert (plan.settings[0].attempts, plan.queues) == (resolved, {"planner-q": 1})


def test_a_job_on_another_queue_takes_the_options_of_that_queue() -> None:
    task = flows.task(lambda: None, name="planner-moved", queue=Queue("planner-home", attempts=9), timeout=3)
    moved = flows.plan(task.using(queue=Queue("planner-away", attempts=5))()).settings[0]
    plain = flows.plan(task.using(queue="planner-away")()).settings[0]
    assert (moved.attempts, moved.timeout, plain.attempts, plain.timeout) == (5, 3.0, 1, 3.0)


def test_a_literal_without_queue_waits_where_its_task_does() -> None:
    flows.task(lambda: None, name="planner-located", queue="planner-there")
    plan = flows.plan(Job("root", children=[Job("planner-located"), Job("planner-unknown"), Job("b", queue="c")]))
    assert plan.queues == {"planner-there": 1, "default": 2, "c": 1}


def test_a_plan_is_a_snapshot() -> None:
    data: dict[str, Any] = {"a": [1, {"b": 2}]}
    below = take.using(id="below")([data], named=data)
    literal = Job("take", id="literal", data=data)
    root = take.using(id="root")(below.out, literal.out)
    plan, again = flows.plan(root), flows.plan(root)
    before = (plan.fingerprint, plan.order, plan.settings[0].on_failure)
    data["a"][1]["b"] = 99
    data["c"] = 3
    below.on_failure("ignore").after(take.using(id="new")())
    literal.id = literal.name = "changed"
    root.on_failure("skip")
    assert (plan.fingerprint, plan.order, plan.settings[0].on_failure) == before
    assert again.fingerprint == before[0]
    expected = {"a": [1, {"b": 2}]}
    assert flows.execute(plan).jobs["below"].value == ([expected],)


def test_a_plan_of_a_plan_is_itself() -> None:
    plan = flows.plan(take())
    assert flows.plan(plan) is plan


@pytest.mark.parametrize("policy", ["ignore", "remove", "continue"])
def test_a_value_that_may_be_missing_needs_a_place_that_can_do_without(policy: Any) -> None:
    strict = flows.task(lambda value, other=1: value, name="planner-strict")
    job = take.using(id="below", on_failure=policy)()
    with pytest.raises(DefinitionError) as caught:
        flows.plan(strict.using(id="above")(job.out))
    assert "job 'above': parameter 'value' takes the result of 'below', which has on_failure=" in str(caught.value)
    assert "flows.optional(job.out)" in str(caught.value)
    for fine in (
        strict(flows.optional(job.out)),
        strict(1, job.out),
        strict([job.out]),
        strict({"a": job.out}),
        strict(1).after(job),
        take(job.out),
        Job("take", children=[job]),
    ):
        assert len(flows.plan(fine)) == 2


def test_a_job_beside_one_that_continues_may_be_missing_too() -> None:
    strict = flows.task(lambda value, other=1: value, name="planner-strict")
    with pytest.raises(DefinitionError, match="may still be running when a dependency with on_failure='continue'"):
        flows.plan(strict(take().out, take().on_failure("continue").out))
    with pytest.raises(DefinitionError, match="may still be running"):
        flows.plan(strict(take().out).after(take().on_failure("continue")))
    for fine in (
        strict(take().out, flows.optional(take().on_failure("continue").out)),
        strict(take().out, take().on_failure("ignore").out),
        strict(take().out).after(take().on_failure("remove")),
        flows.each(strict, take().out).after(take().on_failure("continue")),
    ):
        assert "take" in flows.plan(fine).order


@pytest.mark.parametrize("value", [{1, 2}, frozenset("a"), b"x", object(), lambda: 1], ids=range(5))
def test_data_need_not_be_json_to_be_planned(value: object) -> None:
    assert flows.execute(take(value)).value == (value,)


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append({"again": value})
    return value


@pytest.mark.parametrize("make", [lambda: nested(65), lambda: nested(100_000), circular], ids=range(3))
def test_data_that_nests_without_end_is_refused_with_its_job(make: Any) -> None:
    with pytest.raises(DataError, match="job 'deep': data nests deeper than 64 levels, or is circular"):
        flows.plan(take(take.using(id="deep")(make()).out))
    with pytest.raises(DataError, match="job 'deep'"):
        flows.plan(Job("root", children=[Job("take", id="deep", data={"x": make()})]))


def test_data_as_deep_as_the_limit_is_fine() -> None:
    assert flows.plan(take(nested(64))).order == ("take",)


def test_the_job_whose_data_is_wrong_is_told_by_its_number() -> None:
    with pytest.raises(DataError, match="job 'take#3': a set cannot hold references"):
        flows.plan(take(take(1).out, take({take(2)}).out))


# Limits of queues


def test_a_plan_has_the_limits_of_the_queues_that_it_knows_as_such() -> None:
    home = Queue("home", concurrency=3, rate="10/30s")
    at_home = flows.task(lambda *_: None, name="at-home", queue=home)
    moved = at_home.using(queue=Queue("moved", rate="1/s"))
    named = at_home.using(queue="named")
    assert flows.plan(named()).limits == {}
    assert flows.plan(at_home(moved().out, named().out)).limits == {"moved": (None, (1, 1.0)), "home": (3, (10, 30.0))}
    assert (
        flows.plan(Job("at-home")).limits
        == flows.plan(Job("at-home", queue="home")).limits
        == {"home": (3, (10, 30.0))}
    )


def test_within_a_flow_a_queue_with_limits_outweighs_one_without() -> None:
    job = flows.task(lambda *_: None, name="job")
    bare, limited = job.using(queue=Queue("q")), job.using(queue=Queue("q", concurrency=2))
    assert flows.plan(bare()).limits == {"q": (None, None)}
    assert flows.plan(bare(limited().out)).limits == flows.plan(limited(bare().out)).limits == {"q": (2, None)}
