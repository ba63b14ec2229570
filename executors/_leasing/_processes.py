"""Processes to run handlers in: children of our own, kept for the next job and run.

Not `ProcessPoolExecutor`: there, one child that is killed breaks the pool, and no single job can be stopped. A child
here has a private socket to its parent; when either side is gone, the other sees the end of it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import spawn
from multiprocessing.connection import Connection
from typing import Any, Final

from executors._leasing._monitor import monitor
from executors._leasing._wire import dumps
from flows.errors import ExecutorError

KEPT_SECONDS: Final = 10.0
"""How long an idle child is kept."""

TERM_SECONDS: Final = 1.0
"""How long a child may take to end after it was told to, before it is killed."""

LOOK_SECONDS: Final = 1.0
"""How often busy children are looked at: one may die unheard, if a process that it forked holds its socket."""

_STEP_SECONDS: Final = 0.02

_BOOT: Final = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "  # Ctrl-C goes to all: the parent decides
    "import sys; from multiprocessing.connection import Connection; link = Connection(int(sys.argv[1])); "
    "start = link.recv(); sys.path[:] = start['path']; "
    "from executors._leasing._child import serve; serve(link, start)"
)


class Child:
    """One process for handlers, as its parent sees it. Its deadlines and ends belong to the `Processes`.

    Attributes:
        number: The call that it is busy with, or was last.
        doom: Why it was told to end, once it was.
    """

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self.process = subprocess.Popen(
                    [*_command(), "-c", _BOOT, str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                )
        except BaseException:
            ours.close()
            raise
        self._socket = ours
        self._link: Connection[Any, Any] = Connection(os.dup(ours.fileno()))
        self._sending = threading.Lock()
        self.number = 0
        self.busy = True
        self.doom: str | None = None
        self.deadlines: list[tuple[float, str]] = []
        self.until = 0.0  # when it is ended if idle, or killed if doomed
        with contextlib.suppress(OSError):  # it is dead already: whoever sends a job finds out
            self.send(b"", dumps(_start()))

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self.process.pid

    def send(self, tag: bytes, data: bytes) -> None:
        """Say something to the child.

        Raises:
            OSError: It is gone.
        """
        with self._sending:
            self._link.send_bytes(tag + data)

    def receive(self) -> tuple[bytes, bytes] | None:
        """Wait for what the child says next; None: it is gone."""
        try:
            message = self._link.recv_bytes()
        except (EOFError, OSError):
            return None
        return message[:1], message[1:]

    def hang_up(self) -> None:
        """End the talk, for the child and for the thread that waits for it."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def bury(self) -> str:
        """Make sure that it is gone; for the thread that talks to it.

        Returns:
            How it ended, in words.
        """
        self.process.kill()
        code = self.process.wait()
        self.close()
        if code >= 0:
            return f"ended with exit code {code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
        return f"was killed by signal {-code}"

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
        self._link.close()

    def disown(self) -> None:
        """After a fork, in the new process: it is another's child, and its socket too."""
        self.process.returncode = 0
        self.close()


class Processes:
    """The children of this process: hands them out, keeps their times, ends them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: set[Child] = set()
        self._idle: list[Child] = []
        self._closed = False

    def take(self) -> Child:
        """A child for one call: an idle one, else a new one.

        Raises:
            ExecutorError: The interpreter is going down.
            OSError: No process could be started.
        """
        with self._lock:
            while self._idle:
                child = self._idle.pop()
                if child.process.poll() is None:
                    child.busy = True
                    child.number += 1
                    return child
                self._forget(child)
        child = Child()
        child.number = 1
        with self._lock:
            self._children.add(child)
            closed = self._closed
        if closed:
            self.drop(child)
            raise ExecutorError("the interpreter is going down: no process is started for a job any more")
        monitor.watch(self)
        return child

    def give_back(self, child: Child) -> str | None:
        """A call has been answered: the child is free for others, unless it was told to end meanwhile.

        Returns:
            Why it was.
        """
        with self._lock:
            child.deadlines.clear()
            if child.doom is None:
                child.busy = False
                child.until = time.monotonic() + KEPT_SECONDS
                self._idle.append(child)
                monitor.ring_before(child.until)
        if child.doom is not None:
            self.drop(child)
        return child.doom

    def drop(self, child: Child) -> str:
        """A child is gone, or is to be at once.

        Returns:
            How it ended, in words.
        """
        with self._lock:
            self._children.discard(child)
        return child.bury()

    def end_by(self, child: Child, number: int, instant: float, why: str) -> None:
        """Have the child ended at *instant*, by the monotonic clock, if it is still busy with call *number* then."""
        with self._lock:
            if not child.busy or child.number != number:
                return
            child.deadlines.append((instant, why))
        monitor.ring_before(instant)

    def tick(self, now: float) -> float | None:
        """The monitor's look: is anybody out of time?"""
        with self._lock:
            times = [self._look(child, now) for child in tuple(self._children)]
            if not self._children:
                monitor.unwatch(self)
        return min(times) if times else None

    def close(self) -> None:
        """The interpreter is going down: end all children, busy or not."""
        with self._lock:
            self._closed = True
            children = tuple(self._children)
            self._idle.clear()
        for child in children:
            child.doom = child.doom or "closed"
            child.hang_up()
        deadline = time.monotonic() + TERM_SECONDS
        for child in children:
            if not child.busy:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.0, deadline - time.monotonic()))
            child.process.kill()
            child.process.wait()

    def disown(self) -> None:
        """After a fork, in the new process: none of these is ours."""
        for child in self._children:
            child.disown()

    def _look(self, child: Child, now: float) -> float:
        dead = child.process.poll() is not None
        if dead:
            child.hang_up()  # whoever waits for an answer need not any longer
            if not child.busy:
                self._forget(child)
        elif child.doom is not None:
            if now >= child.until:
                child.process.kill()
                child.until = now + TERM_SECONDS
            return now + _STEP_SECONDS
        elif child.busy:
            due = min(child.deadlines, default=None)
            if due is not None and due[0] <= now:
                child.doom = due[1]
                child.until = now + TERM_SECONDS
                child.process.terminate()
                return now + _STEP_SECONDS
            return min(now + LOOK_SECONDS, now + LOOK_SECONDS if due is None else due[0])
        elif child.until <= now:
            self._idle.remove(child)
            child.doom = "idle"
            child.until = now + TERM_SECONDS
            child.hang_up()
            return now + _STEP_SECONDS
        else:
            return child.until
        return now + LOOK_SECONDS

    def _forget(self, child: Child) -> None:
        self._children.discard(child)
        if child in self._idle:
            self._idle.remove(child)
        child.close()


def _command() -> list[str]:
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [os.fsdecode(spawn.get_executable()), *flags, "-P"]


def _start() -> dict[str, Any]:
    """What a child needs to import what its parent could."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    file = getattr(main, "__file__", None)
    script: dict[str, str] = {}
    if name is not None:
        script["init_main_from_name"] = name
    elif file is not None:
        script["init_main_from_path"] = os.path.abspath(file)
    return {"path": [entry for entry in sys.path if isinstance(entry, str)], "argv": sys.argv, "main": script}


processes = Processes()


def _after_fork() -> None:
    processes.disown()
    processes.__init__()  # type: ignore[misc]  # its children are the parent's


def _at_exit() -> None:
    processes.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
