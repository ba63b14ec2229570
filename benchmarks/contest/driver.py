"""A contender at work: its worker and its client as processes of their own, which are told what to do over pipes.

Each says `ready`. The client then takes turns, a JSON object a line, and answers each with a line (`hosting`). A turn
has a limit; whoever passes it is ended. So is all that the processes started: they are known by a mark that they hand
on in their environment.
"""

import json
import os
import secrets
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.contest.contenders import Contender
from benchmarks.environments import PLACE, Environment

ROOT = Path(__file__).parent.parent.parent
START_SECONDS = 120.0
LEAVE_SECONDS = 5.0
MARK = "FLOWS_CONTEST"


class FellOutError(Exception):
    """A contender did not do what it was told; says why."""


class Turn(NamedTuple):
    """What a client did: seconds of each call, the value that the last one came to, its memory before and at most."""

    seconds: list[float]
    value: list[int]
    memory: tuple[int, int]


def environment_of(contender: Contender) -> Environment:
    """Where its packages are."""
    return Environment(contender.environment or contender.name, contender.packages)


class AtWork:
    """A contender whose processes run, until it is closed.

    Args:
        place: The URL of its server, or the folder for its files.
        workers: Processes, over Redis.

    Raises:
        NotThereError: Its environment cannot be made.
        FellOutError: A process of it ended before it was ready.
    """

    def __init__(self, contender: Contender, place: str, workers: int = 1) -> None:
        self.contender = contender
        self._environment = environment_of(contender)
        program = self._environment.ready()
        self._mark = secrets.token_hex(8)
        self._said = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - closed in `close`
        self._processes: list[subprocess.Popen[str]] = []
        if contender.module.endswith(".mjs"):
            self._command = [program, str(ROOT / "benchmarks" / "peers" / contender.module)]
        else:
            self._command = [program, "-m", "benchmarks.contest.hosting", contender.name]
        try:
            for _ in range(workers if contender.where == "redis" else 0):
                self._start("worker", place)
            self._client = self._start("client", place)
        except BaseException:
            self.close()
            raise

    def turn(self, shape: str, size: int, *, calls: int = 1, copies: int = 1, limit: float) -> Turn:
        """Have the client run a shape *calls* times, one after the other; with *copies*, so many flows a call.

        Args:
            limit: Seconds after which it is ended.

        Raises:
            FellOutError: It did not answer in that time, or what it did went wrong.
        """
        client = self._client
        assert client.stdin is not None
        told = {"shape": shape, "size": size, "calls": calls, "copies": copies}
        try:
            client.stdin.write(json.dumps(told) + "\n")
            client.stdin.flush()
        except OSError as error:
            raise FellOutError(self._reason(client)) from error
        answer = json.loads(self._line(client, limit))
        if "problem" in answer:
            raise FellOutError(answer["problem"])
        before, most = answer["memory"]
        return Turn(answer["seconds"], answer["value"], (before, most))

    def processor_seconds(self) -> float | None:
        """What all its processes have taken of the processor; None where the system does not tell."""
        try:
            return sum(_processor_seconds(pid) for pid in self._pids())
        except OSError:
            return None

    def close(self) -> None:
        """Have it end, and end what is left of it."""
        for process in self._processes:
            assert process.stdin is not None
            try:
                process.stdin.close()
            except OSError:
                pass
        until = time.monotonic() + (LEAVE_SECONDS if self.contender.where != "redis" else 0.0)
        while time.monotonic() < until and any(process.poll() is None for process in self._processes):
            time.sleep(0.01)
        self._end()
        for process in self._processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._processes.clear()
        self._said.close()

    def _start(self, role: str, place: str) -> "subprocess.Popen[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        # What is compiled is kept, as packages are that have been installed.
        paths = {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(PLACE / "bytecode" / self._environment.name)}
        variables = kept | {MARK: self._mark} | paths | dict(self._environment.variables())
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._said}
        process = subprocess.Popen([*self._command, role, place], cwd=ROOT, env=variables, text=True, **pipes)
        self._processes.append(process)
        if self._line(process, START_SECONDS) != "ready":
            raise FellOutError(f"its {role} did not start")
        return process

    def _line(self, process: "subprocess.Popen[str]", limit: float) -> str:
        assert process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._end()

        watch = threading.Timer(limit, end)
        watch.start()
        line = process.stdout.readline()
        watch.cancel()
        if late.is_set():
            raise FellOutError(f"took longer than {limit:g} s")
        if not line:
            raise FellOutError(self._reason(process))
        return line.strip()

    def _reason(self, process: "subprocess.Popen[str]") -> str:
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return f"ended with code {process.wait()}: {said[-1][:200] if said else 'without a word'}"

    def _end(self) -> None:
        """End all there is, until nothing is left."""
        until = time.monotonic() + LEAVE_SECONDS
        while time.monotonic() < until:
            left = {*self._pids(), *(process.pid for process in self._processes if process.poll() is None)}
            if not left:
                return
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass
            time.sleep(0.01)

    def _pids(self) -> Sequence[int]:
        wanted = f"{MARK}={self._mark}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if wanted in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found


def _processor_seconds(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e9
