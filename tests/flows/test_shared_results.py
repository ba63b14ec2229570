"""What the record under a job-level key means for a job: the whole table, and what makes two jobs the same."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from executors.memory import MemoryRun
from executors.memory._executor import _bindings, _handlers
from flows import Job
from flows._binding import DEPTH_LIMIT
from flows._run_options import run_options
from flows._shared_results import Move, Owner, Shared, check_shared, conflict, decide, digest_of, wait_seconds
from flows._state import STATE_NAMES
from flows._verbs import Grant
from flows.errors import DataError, IdempotencyConflictError

ME = Owner("run-1", "pay")
ENDS = ("completed", "failed", "skipped", "cancelled")

owners = st.builds(Owner, st.sampled_from(("run-1", "run-2")), st.sampled_from(("pay", "other")))
records = st.none() | st.builds(
    Shared, owners, st.sampled_from("ab"), st.booleans(), st.integers(), st.sampled_from((None, *STATE_NAMES))
)


def test_the_table() -> None:
    states = (None, *STATE_NAMES)
    everybody = (ME, Owner("run-1", "other"), Owner("run-2", "pay"))
    cells = [Shared(*cell) for cell in itertools.product(everybody, "ab", (False, True), (0,), states)]
    for shared in cells:
        move = decide(shared, ME, "a")
        if shared.done:
            assert move is (Move.REPLAY if shared.digest == "a" else Move.CONFLICT), shared
        elif shared.owner == ME:
            assert move is Move.GO, shared
        elif shared.owner_state in (None, *ENDS):
            assert move is Move.TAKE_OVER, shared
        else:
            assert move is (Move.WAIT if shared.digest == "a" else Move.CONFLICT), shared
    assert decide(None, ME, "a") is Move.TAKE_OVER


@given(records)
def test_nobody_runs_beside_an_open_owner_and_nobody_waits_for_one_that_has_ended(shared: Shared | None) -> None:
    move = decide(shared, ME, "a")
    others = shared is not None and shared.owner != ME and not shared.done
    if move in (Move.GO, Move.TAKE_OVER):
        assert shared is None or not others or shared.owner_state in (None, *ENDS)
    if move is Move.WAIT:
        assert others
        assert shared is not None
        assert shared.owner_state not in (None, *ENDS)


def test_waits_grow_and_stay_bounded() -> None:
    waits = [wait_seconds(waited) for waited in range(5_000)]
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert waits == sorted(waits)
    assert waits[-1] == max(waits) == 5.0


def test_who_cannot_have_a_key_is_told_who_has_it() -> None:
    error = conflict("k", Shared(Owner("run-2", "pay"), "b", True, 1, None), granted(take.using(id="mine")(1)))
    assert isinstance(error, IdempotencyConflictError)
    assert error.__dict__["job"] == "mine"
    assert "key 'k' of job 'mine' belongs to job 'pay' of run run-2" in str(error)


@flows.task(name="shared-take")
def take(first: Any, *rest: Any, named: int = 1, children: flows.Children = flows.INJECTED) -> None:
    """Never called: only its arguments count."""


def granted(job: Job[Any]) -> Grant:
    """A root without dependencies, as a worker gets it."""
    plan = flows.plan(job)
    handlers = _handlers(plan)
    run = MemoryRun(run_options(None, {}, {}), plan, handlers, _bindings(plan, handlers), lambda: 0.0, 0.0)
    return Grant(run, len(plan) - 1, 1, 1)


def digest(job: Job[Any]) -> str:
    return digest_of(granted(job))


def test_jobs_are_the_same_by_task_and_arguments_alone() -> None:
    same = {
        digest(take(1, named=2)),
        digest(take.using(id="x", attempts=3, queue="elsewhere")(1, named=2)),
        digest(Job("shared-take", data={"named": 2, "first": 1})),
        digest(take(1, named=2).after(take.using(id="before")(0))),
    }
    others = {
        digest(take(2, named=2)),
        digest(take(1, named=3)),
        digest(take(1)),
        digest(take(1, 2, named=2)),
        digest(take("1", named=2)),
        digest(flows.task(lambda first, named: None, name="shared-other")(1, named=2)),
    }
    assert len(same) == 1
    assert len(others) == 6
    assert not same & others


def test_digests_stay_what_they_are() -> None:
    # They stand beside results for as long as those are shared, in stores that outlive the process.
    assert digest(take({"b": [1, 2.5, None], "ü": True}, named=2)) == (
        "7e1776f38a8f2d800af6dd1caca7c9ab1b33ae10c6c17dc474e0c6069a03b9ee"
    )


def test_all_data_that_cannot_be_compared_is_refused_at_once() -> None:
    shared = take.using(idempotency_key="k")
    plan = flows.plan(take(shared.using(id="one")({1}).out, shared.using(id="two")(b"x").out, {3}))
    with pytest.raises(DataError) as caught:
        check_shared(plan)
    assert len(caught.value.problems) == 2


def test_data_may_be_shared_however_deep_it_is() -> None:
    value: Any = 1
    for _ in range(DEPTH_LIMIT - 1):
        value = [value]
    check_shared(flows.plan(take.using(idempotency_key="k")(value)))
    assert digest(take(value))
