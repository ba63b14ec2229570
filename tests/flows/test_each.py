"""`each`: what may be declared, what is refused and how, ids, plans."""

import asyncio
from typing import Any

import pytest

import flows
from flows import DefinitionError, Job, each, optional


@flows.task(queue="each")
def source(n: int = 2) -> list[int]:
    return list(range(n))


@flows.task(queue="each")
def double(number: int) -> int:
    return 2 * number


@flows.task(queue="each")
def add(*numbers: int) -> int:
    return sum(numbers)


@flows.task(queue="each")
def plus(first: int, second: int = 0, *, third: int = 0) -> int:
    return first + second + third


@flows.task(queue="each")
def give(value: Any = None) -> Any:
    return value


@flows.task(queue="each")
def fail(*_: Any) -> int:
    raise ValueError("broken")


@flows.task(queue="each")
def names(children: flows.Children = flows.INJECTED) -> dict[str, Any]:
    return {**children.values, **dict.fromkeys(children.failures, "failed")}


def run(flow: Any, **options: Any) -> flows.Run[Any]:
    return flows.execute(flow, executor="memory://?private=1", **options)


def value(flow: Any) -> Any:
    return run(flow).value


# What fn may be.


async def coroutine(item: Any) -> Job[int]:
    return double(item)


@pytest.mark.parametrize("fn", [None, 3, "double", int, double(1), coroutine], ids=repr)
def test_what_cannot_declare_an_item_is_refused(fn: Any) -> None:
    with pytest.raises(DefinitionError, match=r"each\(\) takes a task or a function of one argument"):
        each(fn, [1])


@pytest.mark.parametrize("given", [None, 3, (double(1), double(2)), "job"], ids=repr)
def test_a_function_that_returns_no_job_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="it must return the job of one item"):
        each(lambda item: given, [1])


def test_the_item_itself_is_no_job_of_it() -> None:
    with pytest.raises(DefinitionError, match="must return the job"):
        each(lambda item: item, [1])  # type: ignore[arg-type, return-value]


def test_a_job_from_outside_is_no_job_of_an_item() -> None:
    outside = double(1)
    with pytest.raises(DefinitionError, match="was made outside of it; it must make the job of one item"):
        each(lambda item: outside, [1])


def test_a_job_made_inside_that_nothing_needs_is_refused_by_name() -> None:
    def body(item: int) -> Job[int]:
        give.using(id="lost")(item)
        return double(item)

    with pytest.raises(DefinitionError, match=r"'give', made inside each\(\) \('double'\), would never run"):
        flows.plan(each(body, [1]))


def test_a_job_made_inside_and_used_outside_is_refused() -> None:
    made: list[Job[int]] = []

    def body(item: int) -> Job[int]:
        made.append(give.using(id="own")())
        return double(item).after(made[0])

    listed = each(body, [1])
    with pytest.raises(DefinitionError, match=r"made inside each\(\) .* and is used outside of it"):
        flows.plan(give([listed.out, made[0].out]))


def test_the_item_used_outside_is_refused() -> None:
    items: list[Any] = []

    def body(item: int) -> Job[int]:
        items.append(item)
        return double(item)

    listed = each(body, [1])
    with pytest.raises(DefinitionError, match=r"the item of an each\(\) is used outside of it"):
        flows.plan(give([listed.out, items[0]]))


def test_fn_is_called_once_and_its_errors_pass_through() -> None:
    calls: list[object] = []

    def body(item: int) -> Job[int]:
        calls.append(item)
        return double(item)

    each(body, list(range(50)))
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError):
        each(lambda item: 1 / 0, [1])  # type: ignore[arg-type, return-value]
    with pytest.raises(TypeError, match="arithmetic"):
        each(lambda item: double(item + 1), source().out)


@pytest.mark.parametrize("items", [3, None, "text", b"bytes", {"a": 1}, {1, 2}, iter([1]), (n for n in [1])], ids=repr)
def test_items_of_wrong_kinds_are_refused(items: Any) -> None:
    with pytest.raises(DefinitionError, match=r"each\(\) takes a list or a reference to one"):
        each(double, items)


@pytest.mark.parametrize("limit", [0, -1, 1.5, "2", True], ids=repr)
def test_wrong_limits_are_refused(limit: Any) -> None:
    with pytest.raises(DefinitionError, match="limit"):
        each(double, [1], limit=limit)


def nest(depth: int, items: Any) -> Job[Any]:
    return each(double if depth == 1 else lambda item: nest(depth - 1, item), items)


def test_lists_nest_as_deep_as_is_said_and_no_deeper() -> None:
    flows.plan(nest(64, source().out))
    with pytest.raises(DefinitionError, match="nests deeper than 64 levels"):
        flows.plan(nest(65, source().out))


@pytest.mark.parametrize("taken", ["double[0]", "double[7]", "double[0][1]"])
def test_ids_that_items_will_have_cannot_be_given(taken: str) -> None:
    with pytest.raises(flows.DuplicateJobError, match="that of an item"):
        flows.plan(give([each(double, [1]).out, give.using(id=taken)().out]))


def test_an_id_inside_that_is_taken_outside_is_refused() -> None:
    with pytest.raises(flows.DuplicateJobError, match="'mine'"):
        flows.plan(
            give([give.using(id="mine")().out, each(lambda item: double(double.using(id="mine")(item).out), [1]).out])
        )


def test_an_item_that_releases_its_list_early_is_refused() -> None:
    with pytest.raises(DefinitionError, match="on_failure='continue'"):
        flows.plan(each(double.using(on_failure="continue"), [1]))


def test_a_source_that_may_be_missing_is_refused() -> None:
    with pytest.raises(DefinitionError, match="may be no value"):
        flows.plan(each(double, source().on_failure("ignore").out))


def test_holes_inside_a_body_are_refused() -> None:
    with pytest.raises(DefinitionError, match="'first'"):
        flows.plan(each(lambda item: plus(double(item).on_failure("ignore").out), [1]))
    shared = double(1).on_failure("remove")
    with pytest.raises(DefinitionError, match="'first'"):
        flows.plan(each(lambda item: plus(shared.out, item), [1]))


def test_documents_cannot_hold_lists() -> None:
    with pytest.raises(DefinitionError, match="each"):
        flows.flow(lambda: each(double, [1]), name="listed")().to_dict()


def test_errors_leave_nothing_behind_in_the_flow_that_is_being_made() -> None:
    @flows.flow
    def careful() -> Job[int]:
        with pytest.raises(DefinitionError):
            each(lambda item: 3, [1])  # type: ignore[arg-type, return-value]
        return double(1)

    assert value(careful) == 2


# Ids and plans.


def ids(flow: Any) -> list[str]:
    return list(run(flow).jobs)


def test_ids_of_items_come_from_the_body() -> None:
    assert ids(each(double, source().out)) == ["source", "double", "double[0]", "double[1]"]
    assert ids(each(double.using(id="twice"), [5])) == ["twice", "twice[0]"]
    assert ids(each(lambda item: double(double(item).out), [5])) == ["double", "double#2[0]", "double[0]"]
    assert ids(each(lambda item: add(give.using(id="in")(item).out), [5])) == ["add", "in[0]", "add[0]"]
    nested = each(lambda row: each(double, row), [[1], [2, 3]])
    assert sorted(ids(nested)) == ["double", "double[0]", "double[0][0]", "double[1]", "double[1][0]", "double[1][1]"]


def test_two_lists_of_one_task_are_numbered() -> None:
    flow = give([each(double, [1]).out, each(double, [2, 3]).out])
    assert run(flow).value == [[2], [4, 6]]
    assert ids(flow) == ["double", "double#2", "give", "double[0]", "double#2[0]", "double#2[1]"]


def test_plans_and_fingerprints_are_the_same_from_build_to_build_and_tell_bodies_apart() -> None:
    def build(factor: int = 1, policy: Any = "fail", limit: int | None = None) -> str:
        listed = each(lambda n: plus(n, second=factor).on_failure(policy), source().out, limit=limit)
        return flows.plan(listed).fingerprint

    assert build() == build()
    assert build() == build(limit=3)
    assert len({build(), build(2), build(policy="ignore")}) == 3


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
    assert value(each(lambda row: nest(1, row), source(0).out)) == []
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
    assert (result.jobs["double[2]"].task, result.jobs["double[2]"].queue) == ("double", "each")
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
