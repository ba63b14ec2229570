"""Scripts that are run in an interpreter of their own: what becomes of children when that is interrupted or ends."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.executors.latch import PATIENCE

TASKS = """
import os, signal, sys, threading, warnings
import flows

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background

@flows.task(run_in="process")
def hang() -> None:
    print(os.getpid(), flush=True)
    threading.Event().wait(60)

@flows.task(run_in="process")
def where() -> int:
    return os.getpid()
"""


@contextlib.contextmanager
def started(tmp_path: Path, body: str) -> Iterator[subprocess.Popen[str]]:
    """A script with the tasks above, in a process group of its own, as a shell would start it."""
    script = tmp_path / "script.py"
    script.write_text(TASKS + body)
    with subprocess.Popen(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(tmp_path: Path, body: str) -> tuple[int, str]:
    """The exit code and output of a script."""
    with started(tmp_path, body) as process:
        output, _ = process.communicate(timeout=PATIENCE * 2)
        return process.returncode, output


def first_number(process: subprocess.Popen[str]) -> int:
    """What the script prints first."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(OSError):
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def ends(pid: int) -> bool:
    """Whether a process ends soon."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if not is_alive(pid):
            return True
        pause.wait(0.02)
    return False
