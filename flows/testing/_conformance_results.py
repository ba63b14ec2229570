"""Conformance: results reach those that take them, whole or in part, in every form a flow can be declared in."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import QUEUE, Suite, Where, failing, needs, states


@dataclasses.dataclass
class Order:
    """A result with attributes."""

    sku: str
    counts: list[int]


@flows.task(name="conformance-give", queue=QUEUE)
def give(value: Any = None) -> Any:
    """Its argument, as it is."""
    return value


@flows.task(name="conformance-add", queue=QUEUE)
def add(*numbers: int) -> int:
    """The sum of its arguments."""
    return sum(numbers)


@flows.task(name="conformance-sum", queue=QUEUE)
def sum_of_children(children: flows.Children = flows.INJECTED, plus: int = 0) -> int:
    """The sum of its children's results."""
    return int(sum(children.values.values())) + plus


class Results(Suite):
    """Values, references, injected parameters, data."""

    def test_a_lone_job_gives_its_result(self, executor: Where) -> None:
        run = flows.execute(give("done"), executor=executor)
        assert (run.state, run.value, states(run)) == ("completed", "done", {"conformance-give": "completed"})

    def test_an_async_handler_gives_its_result(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        async def double(number: int) -> int:
            return 2 * number

        assert flows.execute(double(double(give(3).out).out), executor=executor).value == 12

    def test_a_diamond_runs_its_shared_job_once_and_both_sides_see_it(self, executor: Where) -> None:
        calls: list[str] = []

        @flows.task(queue=QUEUE)
        def load() -> int:
            calls.append("load")
            return 5

        shared = load()
        run = flows.execute(add(add(shared.out, 1).out, add(shared.out, 10).out), executor=executor)
        assert (run.value, calls) == (21, ["load"])
        assert list(run.jobs) == ["load", "conformance-add#2", "conformance-add#3", "conformance-add"]

    def test_several_roots_give_a_tuple(self, executor: Where) -> None:
        @flows.flow
        def pair() -> tuple[flows.Job[Any], flows.Job[Any], flows.Job[Any]]:
            shared = give(1)
            return add(shared.out, 1), shared, give(None)

        assert flows.execute(pair, executor=executor).value == (2, 1, None)

    def test_one_root_in_a_tuple_gives_a_tuple_of_one(self, executor: Where) -> None:
        assert flows.execute(flows.flow(lambda: (give(7),), name="one"), executor=executor).value == (7,)

    @pytest.mark.parametrize("value", [None, 0, 0.0, False, "", [], {}], ids=repr)
    def test_a_result_that_is_false_is_a_result(self, executor: Where, value: Any) -> None:
        run = flows.execute(give([give(value).out, give(value).out]), executor=executor)
        assert run.value == [value, value]
        assert type(run.value[0]) is type(value)
        assert run.jobs["conformance-give#2"].value == value

    def test_parts_of_results_are_taken_by_key_position_and_attribute(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        def load() -> dict[str, Any]:
            return {"order": Order("book", [3, 4]), "list": [{"a b": (1, 2)}], "items": "a key, no method"}

        out = load().out
        parts = [out["order"].sku, out["order"].counts[-1], out["list"][0]["a b"][1], out["items"]]
        assert flows.execute(give(parts), executor=executor).value == ["book", 4, 2, "a key, no method"]

    def test_references_are_found_in_lists_tuples_and_dicts(self, executor: Where) -> None:
        one, two = give(1), give(2)
        nested = {"a": [one.out, {"b": (two.out, 3)}], "c": one}
        value = flows.execute(give(nested), executor=executor).value
        assert (value["a"][0], list(value["a"][1]["b"]), value["c"]) == (1, [2, 3], 1)

    @pytest.mark.parametrize("taken", ["key", "position", "attribute"])
    def test_a_part_that_is_not_there_fails_the_job_without_retry(self, executor: Where, taken: str) -> None:
        calls: list[Any] = []
        spoilt = flows.task(calls.append, name="spoilt", queue=QUEUE, attempts=3)
        out = give({"a": [1]}).out
        part, spot, kind = {
            "key": (out["a b"], "['a b']", "dict"),
            "position": (out["a"][4], "[4]", "list"),
            "attribute": (out["a"].size, ".size", "list"),
        }[taken]
        run = flows.execute(spoilt(part), executor=executor, check=False)
        error = run.jobs["spoilt"].error
        assert (run.state, calls, len(run.jobs["spoilt"].attempts)) == ("failed", [], 1)
        assert error is not None
        assert spot in error.message
        assert kind in error.message

    def test_a_literal_flow_gives_data_and_children_to_its_handlers(self, executor: Where) -> None:
        root = flows.Job(
            "conformance-sum",
            queue=QUEUE,
            data={"plus": 100},
            children=[
                flows.Job("conformance-give", queue=QUEUE, data={"value": 1}, id="one"),
                flows.Job("conformance-sum", children=[flows.Job("conformance-give", data={"value": 20})], id="two"),
            ],
        )
        run = flows.execute(root, executor=executor)
        assert run.value == 121
        assert [run.jobs[job_id].value for job_id in ("one", "two")] == [1, 20]

    def test_data_is_made_what_the_parameters_say(self, executor: Where) -> None:
        @flows.task(name="conformance-hints", queue=QUEUE)
        def hints(order: Order, count: int = 1, *, ratio: float = 0.5, **rest: Any) -> list[Any]:
            return [type(order) is Order, order.counts, count, ratio, rest]

        data = {"order": {"sku": "book", "counts": ["1", 2]}, "count": "3", "more": "x"}
        job = flows.Job("conformance-hints", queue=QUEUE, data=data)
        assert flows.execute(job, executor=executor).value == [True, [1, 2], 3, 0.5, {"more": "x"}]

    def test_data_that_does_not_fit_is_refused_before_anything_runs(self, executor: Where) -> None:
        calls: list[int] = []

        @flows.task(name="conformance-strict", queue=QUEUE)
        def strict(number: int) -> None:
            calls.append(number)

        children = [flows.Job("conformance-strict", queue=QUEUE, data=data) for data in ({"number": 1}, {"numbr": "x"})]
        with pytest.raises(flows.DataError, match="numbr"):
            flows.execute(flows.Job("conformance-sum", queue=QUEUE, children=children), executor=executor)
        assert calls == []

    def test_children_are_read_by_id_in_declared_order(self, executor: Where) -> None:
        @flows.task(queue=QUEUE)
        def collect(first: int, children: flows.Children = flows.INJECTED) -> list[Any]:
            with pytest.raises(KeyError, match="lost"):
                children["lost"]
            return [
                [*map(list, children.items())],
                children.get("b"),
                children.get("order-only"),
                dict(children.failures),
                first,
            ]

        jobs = [give.using(id=name)(position) for position, name in enumerate("cab")]
        ordered = give.using(id="order-only")(9)
        typed = collect(jobs[0].out).after(ordered)
        literal = flows.Job("collect", queue=QUEUE, data={"first": jobs[0].out}, children=jobs[1:]).after(ordered)
        assert flows.execute(typed, executor=executor).value == [[["c", 0]], None, None, {}, 0]
        assert flows.execute(literal, executor=executor).value == [[["c", 0], ["a", 1], ["b", 2]], 2, None, {}, 0]

    def test_children_of_a_handler_that_does_not_ask_are_edges_only(self, executor: Where) -> None:
        job = flows.Job("conformance-give", queue=QUEUE, data={"value": 1}, children=[give.using(id="below")(2)])
        run = flows.execute(job, executor=executor)
        assert (run.value, run.jobs["below"].value) == (1, 2)

    def test_a_handler_learns_about_its_job(self, executor: Where) -> None:
        @flows.task(queue=QUEUE, attempts=2)
        def look(context: flows.Context = flows.INJECTED) -> list[Any]:
            now = flows.current()
            same = (now.run_id, now.job_id, now.attempt) == (context.run_id, context.job_id, context.attempt)
            return [
                same,
                context.run_id,
                context.job_id,
                context.task,
                context.queue,
                context.attempt,
                context.attempts,
            ]

        run = flows.execute(look.using(id="me", queue="conformance-2")(), executor=executor)
        assert run.value == [True, run.id, "me", "look", "conformance-2", 1, 2]
        assert run.jobs["me"].queue == "conformance-2"

    @pytest.mark.parametrize("returned", ["coroutine", "generator", "async generator"])
    def test_a_result_that_is_not_finished_fails_the_job_without_retry(self, executor: Where, returned: str) -> None:
        async def coroutine() -> int:
            return 1

        def generator() -> Iterator[int]:
            yield 1

        async def async_generator() -> AsyncIterator[int]:
            yield 1

        made = {"coroutine": coroutine, "generator": generator, "async generator": async_generator}[returned]
        forgetful = flows.task(lambda: made(), name="forgetful", queue=QUEUE, attempts=3)
        run = flows.execute(forgetful(), executor=executor, check=False)
        error = run.jobs["forgetful"].error
        assert (run.state, len(run.jobs["forgetful"].attempts)) == ("failed", 1)
        assert error is not None
        assert returned.removeprefix("async ") in error.message

    def test_names_and_data_are_any_text(self, executor: Where) -> None:
        name, key = "заказ 注文 📦", "größe ✓"
        namer = flows.task(lambda **data: data, name=name, queue=QUEUE)
        run = flows.execute(namer.using(id="№ 1 'quoted' [x]")(**{key: "\u0000\n𝄞"}), executor=executor)
        assert (run.value, list(run.jobs)) == ({key: "\u0000\n𝄞"}, ["№ 1 'quoted' [x]"])

    def test_a_job_fails_alone_of_its_run(self, executor: Where) -> None:
        first = flows.execute(failing()(), executor=executor, check=False)
        assert (first.state, flows.execute(give(1), executor=executor).value) == ("failed", 1)

    @needs("embedded")
    def test_a_task_that_is_not_registered_is_refused_before_anything_runs(self, executor: Where) -> None:
        calls: list[int] = []
        known = flows.task(lambda: calls.append(1), name="known", queue=QUEUE)
        root = flows.Job("conformance-nobody", queue=QUEUE, children=[known()])
        with pytest.raises(flows.UnknownTaskError, match="conformance-nobody"):
            flows.execute(root, executor=executor)
        assert calls == []
