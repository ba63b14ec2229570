"""Every executor passes the suite."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executors.memory import MemoryExecutor
from executors.sqlite import SqliteExecutor
from executors.sqlite._executor import SqliteRecord
from flows._plan import Plan
from flows.executor import RunOptions
from flows.testing import ExecutorConformance
from tests.sizes import size


class TestMemory(ExecutorConformance):
    concurrency = 50
    wide = size(10_000, 3_000)

    @pytest.fixture
    def executor(self) -> MemoryExecutor:
        return MemoryExecutor("memory://?private=1&concurrency=50")

    def test_a_set_is_no_list(self, executor: MemoryExecutor) -> None:
        """It has no order; where results are written down it would not get as far."""
        self.test_what_is_no_list_fails_without_another_try(executor, {1, 2})


@pytest.mark.slow  # as many tests again; what is faster to find is found with many at once
class TestMemoryOneAtATime(ExecutorConformance):
    concurrency = 1

    @pytest.fixture
    def executor(self) -> str:
        return "memory://?private=1&concurrency=1"


class Begun(SqliteExecutor):
    """`submit` only stores; the suite wants what it submits to be worked off, here as by workers elsewhere."""

    def submit(self, plan: Plan[Any], options: RunOptions, *, background: bool) -> SqliteRecord:
        record = super().submit(plan, options, background=False)
        if background:
            self.join(record)
        return record


class TestSqlite(ExecutorConformance):
    concurrency = 50

    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[SqliteExecutor]:
        executor = Begun(f"sqlite:///{tmp_path}/runs.db?concurrency=50&synchronous=normal")
        yield executor
        executor.close()


@pytest.mark.slow
class TestSqliteOneAtATime(ExecutorConformance):
    concurrency = 1

    @pytest.fixture
    def executor(self, tmp_path: Path) -> Iterator[SqliteExecutor]:
        executor = Begun(f"sqlite:///{tmp_path}/runs.db?concurrency=1&synchronous=normal")
        yield executor
        executor.close()
