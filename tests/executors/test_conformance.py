"""Every executor passes the suite."""

import pytest

from executors.memory import MemoryExecutor
from flows.testing import ExecutorConformance


class TestMemory(ExecutorConformance):
    concurrency = 50

    @pytest.fixture
    def executor(self) -> MemoryExecutor:
        return MemoryExecutor("memory://?private=1&concurrency=50")


@pytest.mark.slow  # as many tests again; what is faster to find is found with many at once
class TestMemoryOneAtATime(ExecutorConformance):
    concurrency = 1

    @pytest.fixture
    def executor(self) -> str:
        return "memory://?private=1&concurrency=1"
