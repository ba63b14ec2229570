"""Conformance: lists known only at run time (`each`) and conditions (`when`)."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import flows
from flows.testing._conformance_kit import Oops, Suite, Where, failing, states
from flows.testing._conformance_results import add, give

QUEUE = "conformance-lists"


@flows.task(name="conformance-odd", queue=QUEUE)
def odd_fails(number: int) -> int:
    """Fails for odd numbers."""
    if number % 2:
        raise Oops(f"{number} is odd")
    return number * 10


@flows.task(name="conformance-odd-skips", queue=QUEUE)
def odd_skips(number: int) -> int:
    """Skips odd numbers."""
    if number % 2:
        raise flows.Skip(f"{number} is odd")
    return number * 10


def shown(values: list[Any]) -> list[Any]:
    """With the state in the place of each `flows.Failed`."""
    return [value.state if isinstance(value, flows.Failed) else value for value in values]


class Lists(Suite):
    """`each` and `when`."""

    @pytest.mark.parametrize("size", [0, 1, 3, 1200])
    def test_the_value_of_a_list_is_its_items_results_in_their_order(self, executor: Where, size: int) -> None:
        run = flows.execute(flows.each(lambda n: add(n, 1), give(list(range(size))).out), executor=executor)
        assert run.value == list(range(1, size + 1))
        assert len(run.jobs) == size + 2

    def test_items_have_the_lists_id_and_their_index(self, executor: Where) -> None:
        run = flows.execute(give(flows.each(add, give([5, 6]).out).out), executor=executor)
        jobs = {job_id: view.value for job_id, view in run.jobs.items()}
        assert jobs["conformance-add[0]"] == 5
        assert jobs["conformance-add[1]"] == 6
        assert jobs["conformance-add"] == [5, 6] == run.value
        assert run.jobs["conformance-add[1]"].idempotency_key == f"{run.id}/conformance-add[1]"
        assert list(run.jobs["conformance-add"].attempts) == []

    @pytest.mark.parametrize("items", [[], [1, 2], (3,), range(2)], ids=repr)
    def test_a_list_may_be_given_at_once(self, executor: Where, items: Any) -> None:
        assert flows.execute(flows.each(add, items), executor=executor).value == list(items)

    def test_references_may_sit_in_a_list_that_is_given_at_once(self, executor: Where) -> None:
        items = [give(1).out, 2, give({"a": [3]}).out["a"][0]]
        assert flows.execute(flows.each(add, items), executor=executor).value == [1, 2, 3]

    def test_lists_stand_in_lists(self, executor: Where) -> None:
        base = give(100)
        rows = flows.each(
            lambda row: flows.each(lambda cell: add(cell, base.out, row["plus"]), row["cells"]),
            give([{"plus": 1, "cells": [1, 2]}, {"plus": 2, "cells": []}, {"plus": 3, "cells": [4]}]).out,
        )
        run = flows.execute(rows, executor=executor)
        assert run.value == [[102, 103], [], [107]]
        assert run.jobs["conformance-add[2][0]"].value == 107

    def test_jobs_from_outside_are_shared_and_run_once(self, executor: Where) -> None:
        calls: list[int] = []

        @flows.task(queue=QUEUE)
        def seven() -> int:
            calls.append(7)
            return 7

        shared = seven()
        run = flows.execute(flows.each(lambda n: add(n, shared.out), give([1, 2, 3]).out), executor=executor)
        assert (run.value, calls) == ([8, 9, 10], [7])

    def test_a_body_may_be_a_graph(self, executor: Where) -> None:
        calls: list[int] = []
        note = flows.task(lambda number: calls.append(number), name="note", queue=QUEUE)

        def body(number: int) -> flows.Job[Any]:
            first = add(number, 1)
            left, right = add(first.out, 10), add(first.out, 100)
            return add(left.out, right.out).after(note(number))

        run = flows.execute(flows.each(body, give([1, 2]).out), executor=executor)
        assert run.value == [114, 116]
        assert sorted(calls) == [1, 2]
        assert len(run.jobs) == 2 + 2 * 5

    def test_items_open_at_once_are_limited(self, executor: Where) -> None:
        open_now, most, lock = [0], [0], threading.Lock()
        together = threading.Event()

        def hold(number: int) -> int:
            with lock:
                open_now[0] += 1
                most[0] = max(most[0], open_now[0])
            together.wait(0.01)
            with lock:
                open_now[0] -= 1
            return number

        task = flows.task(hold, queue=QUEUE)
        run = flows.execute(flows.each(task, give(list(range(9))).out, limit=2), executor=executor)
        assert (run.value, most[0] <= 2) == (list(range(9)), True)

    def test_a_limit_of_one_takes_the_items_in_order(self, executor: Where) -> None:
        taken: list[int] = []
        task = flows.task(lambda number: taken.append(number), name="take", queue=QUEUE)
        flows.execute(flows.each(task, give(list(range(20))).out, limit=1), executor=executor)
        assert taken == list(range(20))

    @pytest.mark.parametrize("limit", [None, 1])
    @pytest.mark.parametrize(
        ("task", "policy", "state", "value"),
        [
            (odd_fails, "fail", "failed", None),
            (odd_fails, "ignore", "completed", [0, "failed", 20, "failed"]),
            (odd_fails, "remove", "completed", [0, 20]),
            (odd_fails, "skip", "skipped", None),
            (odd_skips, "fail", "skipped", None),
            (odd_skips, "ignore", "completed", [0, "skipped", 20, "skipped"]),
            (odd_skips, "remove", "completed", [0, 20]),
            (odd_skips, "skip", "skipped", None),
        ],
        ids=lambda given: getattr(given, "name", str(given)),
    )
    def test_an_items_policy_acts_on_the_list(
        self, executor: Where, task: Any, policy: Any, state: str, value: Any, limit: Any
    ) -> None:
        items = flows.each(lambda n: task(n).on_failure(policy), give([0, 1, 2, 3]).out, limit=limit)
        run = flows.execute(items, executor=executor, check=False)
        view = run.jobs[items]
        assert (view.state, shown(view.value) if value is not None else None) == (state, value)
        if state == "failed":
            assert (view.error or view).type == "DependencyFailedError"  # type: ignore[union-attr]
            with pytest.raises(flows.FlowFailedError, match=r"[13] is odd"):
                run.check()

    @pytest.mark.parametrize("value", [None, 3, "text", {"a": 1}, True], ids=repr)
    def test_what_is_no_list_fails_without_another_try(self, executor: Where, value: Any) -> None:
        items = flows.each(add, give(value).out)
        run = flows.execute(items, executor=executor, check=False)
        error = run.jobs[items].error
        assert run.state == "failed"
        assert error is not None
        assert (error.type, type(value).__name__ in error.message) == ("DataError", True)

    def test_a_path_that_leads_nowhere_fails_the_list(self, executor: Where) -> None:
        run = flows.execute(flows.each(add, give({"rows": 1}).out["lines"]), executor=executor, check=False)
        assert "lines" in str(run.jobs["conformance-add"].error)

    def test_a_list_whose_source_failed_fails_and_nothing_of_it_runs(self, executor: Where) -> None:
        run = flows.execute(flows.each(add, failing()().out), executor=executor, check=False)
        assert states(run) == {"broken": "failed", "conformance-add": "failed"}

    @pytest.mark.parametrize("truth", [True, 1, "a", [0], False, 0, "", [], None, {}], ids=repr)
    def test_a_job_runs_if_its_condition_holds(self, executor: Where, truth: Any) -> None:
        calls: list[int] = []
        task = flows.task(lambda: calls.append(1), name="perhaps", queue=QUEUE)
        perhaps = flows.when(give(truth).out, task())
        follower = give(perhaps.out)
        run = flows.execute(follower, executor=executor)
        state = "completed" if truth else "skipped"
        assert (len(calls), run.jobs[perhaps].state, run.jobs[follower].state) == (bool(truth), state, state)
        if not truth:
            assert list(run.jobs[perhaps].attempts) == []
            assert "condition" in str(run.jobs[perhaps].error)

    @pytest.mark.parametrize("condition", [True, False])
    def test_a_condition_may_be_known_at_once(self, executor: Where, condition: bool) -> None:
        job = flows.when(condition, give(1))
        assert flows.execute(job, executor=executor).jobs[job].state == ("completed" if condition else "skipped")

    def test_all_conditions_of_a_job_must_hold(self, executor: Where) -> None:
        check = give({"a": 1, "b": 0})
        both = flows.when(check.out["a"], flows.when(check.out["b"], give(1)))
        assert flows.execute(both, executor=executor).jobs[both].state == "skipped"

    def test_a_skipped_job_is_done_for_those_that_only_come_after_it(self, executor: Where) -> None:
        assert flows.execute(give(1).after(flows.when(False, give(2))), executor=executor).value == 1

    def test_a_list_may_have_a_condition_and_items_may(self, executor: Where) -> None:
        none = flows.each(add, [1]).on_failure("ignore")
        some = flows.each(lambda n: flows.when(n, add(n)).on_failure("remove"), give([0, 1, 2]).out)
        run = flows.execute(give([flows.when(False, none).out, some.out]), executor=executor)
        assert run.value == [[1, 2]]

    def test_a_condition_that_cannot_be_judged_fails_the_job(self, executor: Where) -> None:
        class Odd:
            def __bool__(self) -> bool:
                raise Oops("neither")

        make = flows.task(lambda: Odd(), name="make", queue=QUEUE)
        job = flows.when(make().out, give(1))
        run = flows.execute(job, executor=executor, check=False)
        assert run.jobs[job].state == "failed"
