"""Peers over Redis: each is two programs, a worker and a client, which may be in another language.

Both say `ready` when they are. The client then reads turns, one JSON object a line (`shape`, `size`, `calls`), and
answers each with the seconds of its calls and the value of the last one. BullMQ is installed in a cache folder of its
own, by the package managers of its languages, when it is first measured.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.fleet.server import NotThereError

HERE = Path(__file__).parent
NODE_PACKAGES = ("bullmq@6.7.0", "ioredis@5.11.1")
PYTHON_PACKAGES = ("bullmq==3.4.4", "redis==8.1.0")
INSTALL_SECONDS = 600
TURN_SECONDS = 600


class Turn(NamedTuple):
    """What a client did: seconds of each call, and the value that the last one came to."""

    seconds: list[float]
    value: int


def cache() -> Path:
    """Where peers are installed."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "flows-benchmarks"


def ours() -> Sequence[str]:
    """The command of this library."""
    return (sys.executable, "-m", "benchmarks.fleet.flows_")


def bullmq_node() -> Sequence[str]:
    """The command of BullMQ on Node, installed if it is not yet."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotThereError("node and npm are not installed")
    folder = cache() / "-".join(("node", *NODE_PACKAGES))
    _install(folder, lambda: _run(npm, "install", "--no-audit", "--no-fund", "--prefix", str(folder), *NODE_PACKAGES))
    return (node, str(HERE / "bullmq.mjs"), str(folder / "node_modules"))


def bullmq_python() -> Sequence[str]:
    """The command of BullMQ on Python, in an environment of its own, made if it is not there yet."""
    folder = cache() / "-".join((f"python{sys.version_info[0]}.{sys.version_info[1]}", *PYTHON_PACKAGES))
    python = str(folder / "bin" / "python")

    def install() -> None:
        venv.create(folder, with_pip=True, clear=True)
        _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_PACKAGES)

    _install(folder, install)
    return (python, str(HERE / "bullmq_.py"))


def _install(folder: Path, install: Callable[[], None]) -> None:
    done = folder / ".installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        install()
        done.touch()


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise NotThereError(f"{Path(command[0]).name} could not install it: {said.splitlines()[-1][:200]}") from error


PEERS: dict[str, Callable[[], Sequence[str]]] = {
    "flows": ours,
    "bullmq-node": bullmq_node,
    "bullmq-python": bullmq_python,
}


@dataclass
class Fleet:
    """One peer at work, in a database of its own: a client, and workers as processes of their own.

    Raises:
        NotThereError: It cannot be had here.
    """

    peer: str
    port: int
    workers: int = 1

    def __post_init__(self) -> None:
        self._command = PEERS[self.peer]()
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for _ in range(self.workers):
                self._start("worker")
            self._client = self._start("client")
            self.turn("fan_in", 3, 5)  # what is loaded late is loaded now
        except BaseException:
            self.close()
            raise

    def turn(self, shape: str, size: int, calls: int = 1) -> Turn:
        """Have the client do *calls* runs of a shape, one after the other (`orders`: so many flows at once)."""
        client = self._client
        assert client.stdin is not None
        client.stdin.write(json.dumps({"shape": shape, "size": size, "calls": calls}) + "\n")
        client.stdin.flush()
        answer = json.loads(self._line(client))
        return Turn(answer["seconds"], answer["value"])

    def close(self) -> None:
        """End its processes."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.communicate()
        self._processes.clear()

    def _start(self, role: str) -> "subprocess.Popen[str]":
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        command = [*self._command, role, str(self.port), str(list(PEERS).index(self.peer))]
        process = subprocess.Popen(command, cwd=HERE.parent.parent, text=True, **pipes)
        self._processes.append(process)
        if self._line(process) != "ready":
            raise NotThereError(f"its {role} did not start")
        return process

    def _line(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        watch = threading.Timer(TURN_SECONDS, process.kill)
        watch.start()
        line = process.stdout.readline()
        watch.cancel()
        if not line:
            raise NotThereError(f"it ended with code {process.wait()}")
        return line.strip()
