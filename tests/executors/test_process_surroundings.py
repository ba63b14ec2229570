"""A handler that leaves its process other than it was found does no harm to the jobs after it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from executors._leasing import _processes
from executors._leasing._processes import processes
from executors.memory import MemoryExecutor
from tests.executors.latch import gather
from tests.executors.process_scripts import ends
from tests.executors.process_tasks import spoil, surroundings, where

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """A child of the test's own, before and after."""
    _end_all()
    yield
    _end_all()


def _end_all() -> None:
    with processes._lock:
        children = tuple(processes._children)
        processes._idle.clear()
    for child in children:
        processes.drop(child)


def execute(flow: flows.Job[Any]) -> flows.Run[Any]:
    return flows.execute(flow, executor=MemoryExecutor("memory://?private=1&processes=1"))


@pytest.mark.parametrize("what", ["folder", "signals", "timer", "fork"])
def test_what_a_handler_changes_in_its_process_is_not_the_next_one_s(what: str, tmp_path: Path) -> None:
    spoiled = spoil(what, str(tmp_path))
    pid, found = execute(gather(spoiled.out, surroundings(spoiled.out).out)).value
    assert found == (pid, os.getcwd(), [], 0.0)


def test_a_thread_that_a_handler_leaves_behind_holds_up_neither_jobs_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoiled = spoil("thread")
    pid, found = execute(gather(spoiled.out, surroundings(spoiled.out).out)).value
    assert found[0] == pid
    monkeypatch.setattr(_processes, "KEPT_SECONDS", 0.02)
    execute(where())
    assert ends(pid)
