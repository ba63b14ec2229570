"""A handler that waits for a run which needs the place that the handler holds: that is refused, not waited for."""

from pathlib import Path

import pytest

import flows
from executors.sqlite import SqliteExecutor
from flows import Queue

pytestmark = pytest.mark.slow

narrow = Queue("waits-narrow", concurrency=1)
executors: list[SqliteExecutor] = []


@flows.task(queue=narrow)
def narrow_leaf() -> int:
    return 1


@flows.task(queue=narrow)
def narrow_outer(depth: int) -> int:
    flow = narrow_between(depth) if depth else narrow_leaf()
    return int(flows.execute(flow, executor=executors[0]).value)


@flows.task
def narrow_between(depth: int) -> int:
    return int(flows.execute(narrow_leaf(), executor=executors[0]).value)


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.timeout(60)
def test_places_that_are_used_up_by_waiting_handlers(tmp_path: Path, depth: int) -> None:
    executors[:] = [SqliteExecutor(f"sqlite:///{tmp_path}/runs.db?synchronous=normal")]
    run = flows.execute(narrow_outer(depth), executor=executors[0], check=False)
    assert run.state == "failed"
    assert "is used up by handlers that would wait for the run" in str(run.jobs["narrow_outer"].error)
    executors[0].close()
