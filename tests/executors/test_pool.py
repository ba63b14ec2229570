"""An executor of a stranger's, over a pool of threads, found by its entry point, passes the suite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from examples.thread_pool_executor import ThreadPool
from flows import _executors
from flows._executors import executor_of
from flows.testing import ExecutorConformance

ENTRY = "[flows.executors]\nthreads = examples.thread_pool_executor:ThreadPool\n"


@pytest.mark.slow
class TestThreadPool(ExecutorConformance):
    concurrency = 8
    capabilities = ExecutorConformance.capabilities - ThreadPool.lacks

    @pytest.fixture
    def executor(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadPool]:
        installed = tmp_path / "acme-1.0.dist-info"
        installed.mkdir()
        (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        (installed / "entry_points.txt").write_text(ENTRY)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setattr(_executors, "_shared", {})
        executor = executor_of("threads://8")
        assert isinstance(executor, ThreadPool)
        yield executor
        executor.close()
