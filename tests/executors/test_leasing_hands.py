"""When a crew takes a task for one that is worth more hands: not for one slow attempt, at once for two in a row."""

from contextvars import Context
from typing import Any

import pytest

import flows
from executors._leasing._crew import Crew
from executors._leasing._gate import Gate
from executors._leasing._long_tasks import LONG_SECONDS
from executors.memory import MemoryStore
from flows._worker import Woken
from tests.executors.columns import Clock, put

JOBS = 400


def hands_called(monkeypatch: pytest.MonkeyPatch, *long: int) -> int:
    """How many hands one hand calls at most, that works off a run whose attempts number *long* take long."""
    clock = Clock()

    @flows.task(name="hands-step")
    def step(number: int) -> int:
        if number in long:
            clock.now += 2 * LONG_SECONDS
        return number

    @flows.flow
    def wide() -> Any:
        return tuple(step(number) for number in range(JOBS))

    called = [0]
    monkeypatch.setattr(Gate, "call", lambda gate, wanted, line: called.append(wanted))
    store = MemoryStore(clock=clock, epoch=0.0)
    run = put(store, flows.plan(wide()))
    crew = Crew(store, run, slots=64, name="hands", on_end=lambda: None)
    crew.gate.enter()
    crew.turn(Woken())
    Context().run(crew._help)
    assert run.ended
    assert list(run.values) == list(range(JOBS))
    return max(called)


def test_one_attempt_that_took_long_calls_no_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hands_called(monkeypatch, 3) == 0


def test_attempts_that_took_long_with_others_between_call_no_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hands_called(monkeypatch, *range(0, JOBS, 2)) == 0


def test_two_in_a_row_call_hands_for_the_jobs_that_are_already_in_line(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hands_called(monkeypatch, JOBS - 20, JOBS - 19) == 18


def test_two_in_a_row_call_hands_for_those_that_come(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hands_called(monkeypatch, *range(JOBS)) >= 32
