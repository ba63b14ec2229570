"""What the planner refuses, and in which words: cycles, ids taken, values that may be missing, endless data."""

from itertools import pairwise
from typing import Any

import pytest

import flows
from flows import Job
from flows.errors import CycleError, DataError, DefinitionError, DuplicateJobError

take = flows.task(lambda *values, **named: values, name="refused-take")


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
    assert set(cycle_of(second)[0]) == {"refused-take", "refused-take#2"}


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
        assert "refused-take" in flows.plan(fine).order


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
    assert flows.plan(take(nested(64))).order == ("refused-take",)


def test_the_job_whose_data_is_wrong_is_told_by_its_number() -> None:
    with pytest.raises(DataError, match="job 'refused-take#3': a set cannot hold references"):
        flows.plan(take(take(1).out, take({take(2)}).out))


def test_problems_are_told_in_the_order_of_the_jobs() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(DefinitionError) as caught:
        flows.plan(take.using(id="outer")(take.using(id="inner")(endless).out, endless))
    assert [str(problem).partition(":")[0] for problem in caught.value.problems] == ["job 'inner'", "job 'outer'"]
