"""``--reload``: a worker in a process of its own, started anew when a source file changes. For development."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from flows._cli import _screen

LOOK_SECONDS: Final = 0.5
ASKS_FOR_RESTART: Final = 3
_LEFT_OUT: Final = ("__pycache__", "node_modules", "site-packages")


def worker_command(modules: Sequence[str], options: Mapping[str, object], *, log_json: bool) -> list[str]:
    """The command line of the worker itself."""
    command = [sys.executable, "-m", "flows", "worker", *modules]
    for name, value in options.items():
        if value not in (None, ""):
            command += [name, str(value)]
    return [*command, "--log-json"] if log_json else command


def sources(folder: Path) -> Iterator[tuple[str, int]]:
    """The Python files below a folder with the time of their last change; not those of environments and caches."""
    for place, folders, files in os.walk(folder):
        if "pyvenv.cfg" in files:
            folders.clear()
            continue
        folders[:] = [name for name in folders if name not in _LEFT_OUT and not name.startswith(".")]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(place, name)
                try:
                    yield path, os.stat(path).st_mtime_ns
                except OSError:  # gone meanwhile
                    continue


class Reloader:
    """Keeps one process running, and anew after each change.

    Signals go to the process, which ends as it would by itself. A process that fails is started again at the next
    change: most often that is the mistake being put right.

    Args:
        command: What to run.
        grace: Seconds that the process has to end after a change before it is killed.
        folder: What to look at; the current one when left out.
        variables: Set in its environment.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        grace: float,
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._command = command
        self._environment = os.environ | (variables or {})
        self._grace = grace
        self._folder = folder or Path.cwd()
        self._stopping = False
        self._wake = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run until told to stop; returns the exit code of the last process."""
        former = {number: signal.signal(number, self._forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while True:
                seen = dict(sources(self._folder))
                # A session of its own: an interrupt from the keyboard comes by us, once, and not past us as well.
                self._process = subprocess.Popen(self._command, env=self._environment, start_new_session=True)
                code = self._until_changed(self._process, seen)
                if code is not None:
                    return code
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _until_changed(self, process: subprocess.Popen[bytes], seen: Mapping[str, int]) -> int | None:
        """None once the process has ended and is to be started anew; else the exit code of all."""
        told = False
        while True:
            code = process.poll()
            if code is not None and (self._stopping or code == 0):
                return code if code >= 0 else 128 - code
            if code == ASKS_FOR_RESTART:
                return None
            if code is not None and not told:
                _screen.say(f"flows: the worker has ended with exit code {code}; waiting for a change", "bold red")
                told = True
            changed = self._changed(seen)
            if changed is not None:
                _screen.say(f"flows: {os.path.relpath(changed, self._folder)} has changed; starting anew")
                self._end(process)
                if not self._stopping:
                    return None
            if code is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
            else:
                self._wake.wait(LOOK_SECONDS)

    def _changed(self, seen: Mapping[str, int]) -> str | None:
        now = dict(sources(self._folder))
        return next((path for path in {**seen, **now} if seen.get(path) != now.get(path)), None)

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(self._grace + LOOK_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _forward(self, number: int, _: FrameType | None) -> None:
        self._stopping = True
        self._wake.set()
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
