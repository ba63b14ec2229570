"""Runs on a cluster that are kept on a Redis server mean what they mean elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from distributed import Client

import flows
from executors.dask import _attempts, executor_at
from executors.dask._attempts import ClusterHandler
from executors.dask._fleet_journal import FleetJournal
from executors.dask._way import Way
from flows.testing._conformance_failure import Failures
from flows.testing._conformance_keys import SharedResults
from flows.testing._conformance_reopening import Reopening
from tests.executors.clusters.clusters import LATE, await_that
from tests.executors.clusters.home_calls import Home
from tests.executors.redis.servers import Server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


class HomeCalling(ClusterHandler):
    """Its body runs in the process of the tests, whose memory it uses."""

    __slots__ = ()
    calls: Any = None

    def __init__(self, task: Any, *, in_process: bool) -> None:
        super().__init__(task, in_process=in_process)
        if self.place is None:
            self.fn = self.calls.taking(self.fn, self.awaits)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


class TestFleetJournal(Failures, SharedResults, Reopening):
    """Parts of the suite: all of it would take minutes, and the rest is the store's or the attempts'."""

    concurrency = 50
    pause = 2.0
    wide = 100

    @pytest.fixture
    def executor(
        self, client: Client, home: Home, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[FleetJournal]:
        monkeypatch.setattr(HomeCalling, "calls", home)
        monkeypatch.setattr(_attempts, "ClusterHandler", HomeCalling)
        executor = FleetJournal(Way(client), f"{server.url}?namespace=suite-{time.monotonic_ns()}", 50)
        yield executor
        executor.close()


SCRIPT = """
import sys, threading
from pathlib import Path
import flows

folder = Path(sys.argv[1])

@flows.task(name="journals-noted")
def noted(number: int) -> int:
    with (folder / "noted").open("a") as file:
        file.write(f"{number} ")
    return number

@flows.task(name="journals-held")
def held(one: int) -> int:
    (folder / "begun").touch()
    while not (folder / "go").exists():
        threading.Event().wait(0.05)
    return one + 1

if __name__ == "__main__":
    flows.execute(held(noted(1).out), executor=sys.argv[2], key="killed")
"""


def test_another_process_goes_on_where_one_was_killed(client: Client, server: Server, tmp_path: Path) -> None:
    (tmp_path / "journals_script.py").write_text(SCRIPT)
    address = client.scheduler_info()["address"].replace("tcp", "dask")
    url = f"{address}?journal={quote(f'{server.url}?namespace=killed&lease=10', safe='')}"
    command = [sys.executable, str(tmp_path / "journals_script.py"), str(tmp_path), url]
    with subprocess.Popen(command, cwd=tmp_path) as first:
        await_that((tmp_path / "begun").exists)
        first.send_signal(signal.SIGKILL)
    (tmp_path / "go").touch()
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LATE, check=False)
    assert again.returncode == 0, again.stderr
    executor: Any = executor_at(url)
    try:
        run = flows.get(key="killed", executor=executor)
        assert (run.state, run.value) == ("completed", 2)
        assert (tmp_path / "noted").read_text() == "1 "
        assert [attempt.outcome for attempt in run.jobs["journals-held"].attempts] == ["lost", "completed"]
    finally:
        executor.close()


def test_usual_workers_of_the_server_leave_the_jobs_alone(client: Client, server: Server) -> None:
    where = flows.task(os.getpid, name="journals-where")
    executor = FleetJournal(Way(client), server.url, 10)
    try:
        with flows.Worker(executor=server.url, queues=["default"], concurrency=2):
            assert flows.execute(where(), executor=executor).value != os.getpid()
            assert flows.execute(where(), executor=server.url).value == os.getpid()
    finally:
        executor.close()


def test_a_task_that_is_not_here_is_refused(client: Client, server: Server) -> None:
    executor = FleetJournal(Way(client), server.url, 10)
    try:
        with pytest.raises(flows.UnknownTaskError, match="journals-nobody"):
            flows.submit(flows.Job("journals-nobody"), executor=executor)
        with pytest.raises(flows.UnsupportedError, match="dask worker"):
            flows.Worker(executor=executor, queues=["default"]).start()
    finally:
        executor.close()
