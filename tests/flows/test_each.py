"""`each`: what may be declared, what is refused and how, ids, plans."""

from typing import Any

import pytest

import flows
from flows import DefinitionError, Job, each
from tests.case_ids import shown
from tests.flows.each_tasks import add, double, give, plus, run, source, value

# What fn may be.


async def coroutine(item: Any) -> Job[int]:
    return double(item)


@pytest.mark.parametrize("fn", [None, 3, "double", int, double(1), coroutine], ids=shown)
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

    with pytest.raises(DefinitionError, match=r"job 'lost', made inside each\(\) \('double'\), would never run"):
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


@pytest.mark.parametrize("items", [3, None, "text", b"bytes", {"a": 1}, {1, 2}, iter([1]), (n for n in [1])], ids=shown)
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
