"""Clusters of tests' own, whose parts may be killed, and what their handlers tell."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LATE = 240.0


def await_that(holds: Callable[[], Any]) -> Any:
    """Wait until something holds; gives what it is."""
    end = time.monotonic() + LATE
    while not (found := holds()):
        assert time.monotonic() < end, "it does not come to hold"
        threading.Event().wait(0.02)
    return found


class Standing:
    """A scheduler and one worker, each a process in *folder*; the worker with these options besides."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._file = folder / "scheduler.json"
        self._folder = folder
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(self._file), "--no-show")
        await_that(self._file.exists)
        self.address = await_that(self._address)
        self.worker = self._start("worker", "--nthreads", "2", "--no-dashboard", "--no-nanny", *options, self.address)

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        with (self._folder / f"{what}.log").open("wb") as log:
            command = [sys.executable, "-m", "distributed.cli.dask_" + what, *options]
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=self._folder)

    def _address(self) -> str | None:
        import json

        try:
            address: str = json.loads(self._file.read_text())["address"]
        except ValueError:
            return None
        return address

    def kill_scheduler(self) -> None:
        """At once."""
        self.scheduler.send_signal(signal.SIGKILL)
        self.scheduler.wait()

    def close(self) -> None:
        """Whatever is left."""
        for process in (self.worker, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def standing(folder: Path, *options: str) -> Iterator[Standing]:
    """A cluster for a while, whose worker has these options besides."""
    cluster = Standing(folder, *options)
    try:
        yield cluster
    finally:
        cluster.close()


def under_way(executor: Any) -> str:
    """What the cluster still has to do, for who reads of a test that failed."""
    tasks = {flight.task for flight in tuple(executor._way.cluster()._flights.values())}
    return "\n".join(
        f"{task.key}: {task.status}, heard {task.heard_at}, recalled {task.recalled}, {len(task.done)} of "
        f"{len(task.flights)} done"
        for task in tasks
        if task is not None
    )
