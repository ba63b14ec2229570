"""DBOS beside us: durable steps on SQLite, in a process of a virtual environment of its own.

DBOS asks for versions of packages that ours need not have, so it never comes into our own environment.
"""

import subprocess
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from benchmarks.environments import Environment, NotThereError

REQUIREMENT = "dbos==3.4.0"
ENVIRONMENT = Environment("dbos", (REQUIREMENT,))
SCRIPT = Path(__file__).parent.parent / "dbos_steps.py"
WARM_UP = 5


class Took(NamedTuple):
    """Seconds that a number of steps took, and those of the processor in them."""

    seconds: float
    processor: float


class Steps:
    """DBOS, ready to run steps over a file in *folder*; a context manager, at whose end its process ends.

    Raises:
        NotThereError: It cannot be installed, or did not start.
    """

    def __init__(self, folder: Path) -> None:
        command = [ENVIRONMENT.ready(), str(SCRIPT), str(folder)]
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        self.run(WARM_UP)

    def run(self, steps: int) -> Took:
        """Run so many steps, one after the other.

        Raises:
            NotThereError: Its process has ended.
        """
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        try:
            self._child.stdin.write(f"{steps}\n")
            self._child.stdin.flush()
            seconds, processor = self._child.stdout.readline().split()
        except (ValueError, OSError) as error:
            self.__exit__(None, None, None)
            raise NotThereError(f"{REQUIREMENT} does not run here (exit code {self._child.returncode})") from error
        return Took(float(seconds), float(processor))

    def __enter__(self) -> "Steps":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
