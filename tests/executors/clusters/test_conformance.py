"""The executor for Dask passes the suite, on a cluster of processes."""

from collections.abc import Sequence
from typing import Any

import pytest
from distributed import Client

from executors.dask import DaskExecutor
from executors.dask._attempts import ClusterHandler
from executors.dask._way import Way
from flows._handlers import Handler
from flows._plan import Plan
from flows.testing import ExecutorConformance
from tests.executors.clusters.home_calls import Home

pytestmark = pytest.mark.slow


class HomeCalling(DaskExecutor):
    """Its handlers' bodies run in the process of the tests, whose memory they use."""

    def __init__(self, client: Client, home: Home, slots: int) -> None:
        super().__init__(Way(client))
        self.slots = slots
        self._calls = home

    def handlers(self, plan: Plan[Any]) -> Sequence[Handler]:
        handlers = super().handlers(plan)
        for handler in set(handlers):
            assert isinstance(handler, ClusterHandler)
            if handler.place is None:
                handler.fn = self._calls.taking(handler.fn, handler.awaits)
        return handlers


class TestDask(ExecutorConformance):
    concurrency = 50
    pause = 2.0
    wide = 300  # the body of each handler is a call over a socket besides
    capabilities = ExecutorConformance.capabilities - {"limits"}

    @pytest.fixture
    def executor(self, client: Client, home: Home) -> HomeCalling:
        return HomeCalling(client, home, 50)
