"""`each`: what runs, with which arguments, and what comes of it."""

import asyncio
from typing import Any

import pytest

import flows
from flows import Job, each, optional
from tests.flows.each_tasks import add, double, fail, give, plus, run, source, value

# What runs.


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], []),
        ([1], [2]),
        ((1, 2), [2, 4]),
        (range(3), [0, 2, 4]),
        ([double(1).out, 5, give({"a": [7]}).out["a"][0]], [4, 10, 14]),
        ([double(1), (give(2)).out], [4, 4]),
    ],
    ids=["none", "one", "tuple", "range", "references", "jobs"],
)
def test_lists_that_are_given_at_once(items: Any, expected: list[int]) -> None:
    assert value(each(double, items)) == expected


def test_later_changes_to_the_list_do_not_reach_the_flow() -> None:
    items = [1]
    listed = each(double, items)
    items.append(2)
    assert value(listed) == [2]


@pytest.mark.parametrize("part", [lambda out: out.rows, lambda out: out["rows"]], ids=["attribute", "key"])
def test_a_part_of_a_result_may_be_the_list_and_parts_of_items_are_taken(part: Any) -> None:
    rows = give({"rows": [{"n": 1, "more": [5]}, {"n": 2, "more": [6]}]})
    assert value(each(lambda row: add(row["n"], row.more[0]), part(rows.out))) == [6, 8]


def test_three_levels_take_items_and_jobs_of_each_level_around() -> None:
    base = give(1000)

    def row(r: Any) -> Job[Any]:
        ten = double(r["plus"])

        def cell(c: Any) -> Job[Any]:
            return each(lambda n: add(n, c["plus"], ten.out, base.out, r["plus"]), c["ns"])

        return each(cell, r["cells"])

    rows = [{"plus": 100, "cells": [{"plus": 10, "ns": [1, 2]}, {"plus": 20, "ns": []}]}, {"plus": 200, "cells": []}]
    flow = give(each(row, give(rows).out).out)
    assert value(flow) == [[[1311, 1312], []], []]
    result = run(flow)
    assert sum(job_id.startswith("double") for job_id in result.jobs) == 2
    assert [job_id for job_id in result.jobs if job_id.count("[") == 3] == ["add[0][0][0]", "add[0][0][1]"]


def test_each_of_each_with_empty_lists() -> None:
    assert value(each(lambda row: each(double, row), [[], [], []])) == [[], [], []]
    assert value(each(lambda row: each(double, row), give([]).out)) == []
    assert value(each(lambda row: add(each(double, row).out[0]), [[1], [2]])) == [2, 4]


def test_lists_of_lists_may_feed_lists() -> None:
    first = each(double, source(3).out)
    assert value(each(lambda n: plus(n, 1), each(double, first.out).out)) == [1, 5, 9]


@pytest.mark.parametrize("kinds", ["positional", "keyword", "container"])
def test_items_reach_every_place_of_a_call(kinds: str) -> None:
    body: Any = {
        "positional": lambda item: plus(item, 1),
        "keyword": lambda item: plus(1, third=item),
        "container": lambda item: give({"a": [item, (item, {"b": item})]}),
    }[kinds]
    expected: Any = {"positional": [6], "keyword": [6], "container": [{"a": [5, (5, {"b": 5})]}]}[kinds]
    assert value(each(body, [5])) == expected


def test_bodies_of_literals() -> None:
    listed: Job[Any] = each(lambda n: Job("plus", data={"first": n, "third": 1}, children=[Job("give")]), [1, 2])
    assert value(listed) == [2, 3]
    with pytest.raises(flows.UnknownTaskError, match="nobody"):
        run(each(lambda n: Job("nobody"), [1]))
    with pytest.raises(flows.DataError, match="numbr"):
        run(each(lambda n: Job("double", data={"numbr": 1}), [1]))


def test_a_body_sees_its_own_children_and_shared_ones() -> None:
    shared = give.using(id="shared")("s")

    def body(n: Any) -> Job[Any]:
        bad = fail.using(id="bad")().on_failure("ignore")
        return Job("names", children=[give.using(id="own")(n), shared, bad])

    assert value(each(body, [7])) == [{"own[0]": 7, "shared": "s", "bad[0]": "failed"}]


def test_optional_and_order_only_edges_inside_and_into_bodies() -> None:
    outside, late = fail.using(id="outside")(), fail.using(id="late")().on_failure("remove")

    def body(n: Any) -> Job[Any]:
        inside = fail.using(id="inside")(n)
        return give([optional(inside.out), optional(outside.out), n]).after(late)

    (row,) = value(each(body, [4]))
    assert [getattr(one, "job", one) for one in row] == ["inside[0]", "outside", 4]


def test_a_shared_job_that_fails_fails_each_item() -> None:
    shared = fail.using(id="shared")()
    result = run(each(lambda n: add(n, shared.out), [1, 2]), check=False)
    assert {job_id: view.state for job_id, view in result.jobs.items()} == {
        "shared": "failed",
        "add": "failed",
        "add[0]": "failed",
        "add[1]": "failed",
    }
    assert (result.jobs["add[0]"].error or result).job == "add[0]"  # type: ignore[union-attr]


def test_the_policy_of_the_list_acts_on_those_that_depend_on_it() -> None:
    listed = each(fail, [1])
    assert run(give(each(fail, [1]).on_failure("skip").out)).jobs["give"].state == "skipped"
    assert value(give([optional(listed.out)]))[0].type == "DependencyFailedError"
    assert value(give(5).after(each(fail, [1]).on_failure("ignore"))) == 5


def test_a_list_comes_after_what_it_is_told_to_and_heeds_its_failure() -> None:
    assert run(each(double, [1]).after(fail()), check=False).jobs["double"].state == "failed"
    result = run(each(double, [1]).after(fail().on_failure("continue"), give()))
    assert result.value == [2]


def test_several_lists_as_roots() -> None:
    @flows.flow
    def pair() -> tuple[Job[list[int]], Job[list[int]]]:
        shared = source(3)
        return each(double, shared.out), each(lambda n: plus(n, 1), shared.out, limit=1)

    assert value(pair) == ([0, 2, 4], [1, 2, 3])


def test_async_handlers_and_async_callers() -> None:
    @flows.task
    async def later(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1

    async def main() -> Any:
        return (await flows.aexecute(each(lambda n: double(later(n).out), source(50).out, limit=7))).value

    assert asyncio.run(main()) == [2 * (n + 1) for n in range(50)]


def test_items_are_retried_delayed_and_have_priorities() -> None:
    tries: list[int] = []

    @flows.task(attempts=3, backoff=flows.Backoff.fixed(0), delay="1ms", priority=2)
    def flaky(n: int) -> int:
        tries.append(n)
        if tries.count(n) < 3:
            raise ValueError("again")
        return n

    result = run(each(flaky, [1, 2]))
    assert (result.value, len(tries), len(result.jobs["flaky[0]"].attempts)) == ([1, 2], 6, 3)


def test_a_copy_of_the_plan_can_be_run_again() -> None:
    plan = flows.plan(each(double, source(2).out))
    assert [value(plan), value(plan)] == [[0, 2], [0, 2]]
    assert plan.order == ("source", "double")


def test_jobs_are_found_by_object_while_rows_are_added() -> None:
    listed = each(double, source(3).out)
    result = run(listed)
    assert result.jobs[listed].value == [0, 2, 4]
    assert (result.jobs["double[2]"].task, result.jobs["double[2]"].queue) == ("double", "each-runs")
    with pytest.raises(KeyError):
        result.jobs["double[3]"]


def test_results_of_lists_are_lists_even_of_failures_to_be_skipped() -> None:
    def moody(n: int) -> int:
        if n == 1:
            raise flows.Skip("one")
        return n

    task = flows.task(moody, name="moody")
    states = [getattr(one, "state", one) for one in value(each(task.using(on_failure="ignore"), [0, 1, 2]))]
    assert states == [0, "skipped", 2]
    assert value(each(task.using(on_failure="remove"), [0, 1, 2])) == [0, 2]


@pytest.mark.slow
def test_a_list_of_a_hundred_thousand() -> None:
    assert value(each(double, source(100_000).out)) == list(range(0, 200_000, 2))
