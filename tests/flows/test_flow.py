"""`@flow`: what the function returns becomes a flow, and what it forgot is named."""

from collections.abc import Iterator
from typing import Any

import pytest

import flows
from flows import Flow, Job
from flows.errors import DefinitionError

give = flows.task(lambda value=None: value, name="flow-give")


@flows.flow
def one(value: int = 1) -> Job[Any]:
    """One job."""
    return give(value)


def declared(fn: Any, name: str = "declared") -> Any:
    return flows.flow(name=name)(fn)


def test_a_flow_function_builds_a_flow_and_runs_nothing() -> None:
    built = one(5)
    assert isinstance(built, Flow)
    assert (built.name, len(built.roots), built.roots[0].args, built.several) == ("one", 1, (5,), False)
    assert (one.name, one.__doc__, repr(one)) == ("one", "One job.", "<flow function 'one'>")
    assert one.fn().name == "flow-give"
    assert repr(built) == "<flow 'one'>"


def test_each_call_builds_anew() -> None:
    assert one().roots[0] is not one().roots[0]


def test_a_name_can_be_given() -> None:
    assert flows.flow(name="other name")(lambda: give())().name == "other name"


def test_a_tuple_makes_several_roots() -> None:
    built = declared(lambda: (give(1), give(2)))()
    assert (len(built.roots), built.several, flows.plan(built).order) == (2, True, ("flow-give", "flow-give#2"))


def test_the_same_job_may_be_several_roots() -> None:
    def twice() -> tuple[Job[Any], Job[Any]]:
        job = give(1)
        return job, job

    assert flows.execute(declared(twice)).value == (1, 1)


def test_a_root_may_be_below_another() -> None:
    def both() -> tuple[Job[Any], Job[Any]]:
        job = give(1)
        return give([job.out]), job

    assert flows.execute(declared(both)).value == ([1], 1)


@pytest.mark.parametrize("returned", [None, 42, "x", [], (), [give()], (give(), 3), give().out, one], ids=range(9))
def test_what_is_no_job_is_refused_with_the_flow_s_name(returned: object) -> None:
    with pytest.raises(DefinitionError, match="flow 'declared' returned"):
        declared(lambda: returned)()


async def coroutine() -> None: ...


def generator() -> Iterator[Job[Any]]:
    yield give()


class Kind:
    pass


@pytest.mark.parametrize("fn", [coroutine, generator, Kind, 42, "x"], ids=range(5))
def test_what_is_no_plain_function_is_refused(fn: Any) -> None:
    with pytest.raises(DefinitionError, match="@flow takes a plain function that returns a job, not"):
        flows.flow(fn)


@pytest.mark.parametrize("name", ["", "a\nb", 7, "x" * 129])
def test_a_wrong_name_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="flow name"):
        flows.flow(name=name)(lambda: give())


def test_a_job_that_nothing_returned_depends_on_is_named() -> None:
    def forgets() -> Job[Any]:
        give.using(id="forgotten")()
        Job("flow-literal", children=[Job("flow-below")])
        return give()

    with pytest.raises(DefinitionError) as caught:
        flows.plan(declared(forgets))
    problems = caught.value.problems
    assert ["'flow-give'" in problems[0] or "'forgotten'" in problems[0], len(problems)] == [True, 3]
    assert all("would never run" in problem and "flow 'declared'" in problem for problem in problems)


def test_what_is_refused_is_refused_before_anything_runs() -> None:
    calls: list[int] = []
    count = flows.task(lambda: calls.append(1), name="flow-count")

    def forgets() -> Job[Any]:
        count()
        return count()

    with pytest.raises(DefinitionError, match="flow-count"):
        flows.execute(declared(forgets))
    assert calls == []


def test_jobs_that_only_order_or_optional_edges_reach_are_reached() -> None:
    def reaches() -> Job[Any]:
        optional, ordered, child, nested = give(1), give(2), give(3), give(4)
        literal = Job("flow-give", children=[child], data={"value": {"deep": [nested.out]}})
        return give([flows.optional(optional.out), literal.out]).after(ordered)

    assert len(flows.plan(declared(reaches))) == 6


def test_jobs_made_outside_are_no_part_of_the_check() -> None:
    outside = give.using(id="outside")(0)
    flow = declared(lambda: give(outside.out))
    give.using(id="elsewhere")(1)
    assert flows.plan(flow).order == ("outside", "flow-give")


def test_a_flow_inside_a_flow_checks_its_own_jobs() -> None:
    def outer() -> Job[Any]:
        inner = declared(lambda: give.using(id="inner")(1), "inner")()
        return give(inner.roots[0].out)

    assert flows.plan(declared(outer)).order == ("inner", "flow-give")


def test_an_error_of_the_function_comes_through_and_leaves_no_trace() -> None:
    def fails() -> Job[Any]:
        give.using(id="lost")()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        declared(fails)()
    assert flows.plan(declared(lambda: give())).order == ("flow-give",)


@pytest.mark.parametrize("roots", [(), (3,), (give(), None)], ids=range(3))
def test_a_flow_is_about_one_job_at_least(roots: Any) -> None:
    with pytest.raises(DefinitionError, match=r"flow 'empty' is about .*; its roots are jobs, at least one"):
        Flow("empty", roots, several=True)


def test_methods_plan_and_of() -> None:
    assert flows.Flow.of(one).name == "one"
    assert one().plan().order == ("flow-give",)
    job = give(1)
    assert (Flow.of(job).name, Flow.of(job).roots) == ("flow-give", (job,))


def test_a_bare_literal_job_is_a_flow() -> None:
    assert flows.execute(Job("flow-give", data={"value": 3})).value == 3
