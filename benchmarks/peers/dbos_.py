"""DBOS beside us: durable steps on SQLite, in a process of a virtual environment of its own.

DBOS asks for versions of packages that ours need not have, so it never comes into our own environment. Its own is
made when it is first measured, inside the environment that runs the benchmarks.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

REQUIREMENT = "dbos==3.4.0"
SCRIPT = Path(__file__).parent.parent / "dbos_steps.py"
PLACE = Path(sys.prefix) / "peers" / REQUIREMENT.replace("==", "-")
WARM_UP = 5


class NotThereError(Exception):
    """DBOS cannot be installed here."""


class Took(NamedTuple):
    """Seconds that a number of steps took, and those of the processor in them."""

    seconds: float
    processor: float


def interpreter() -> Path:
    """The Python that has DBOS; its environment is made, where there is none.

    Raises:
        NotThereError: It cannot be, with the reason.
    """
    python = PLACE / "bin" / "python"
    done = PLACE / "installed"
    if not done.exists():
        shutil.rmtree(PLACE, ignore_errors=True)
        for command in (
            [sys.executable, "-m", "venv", str(PLACE)],
            [str(python), "-m", "pip", "install", "--quiet", REQUIREMENT],
        ):
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            if ran.returncode:
                shutil.rmtree(PLACE, ignore_errors=True)
                raise NotThereError(f"{REQUIREMENT}: {ran.stderr.strip().splitlines()[-1]}")
        done.touch()
    return python


class Steps:
    """DBOS, ready to run steps over a file in *folder*; a context manager, at whose end its process ends.

    Raises:
        NotThereError: It cannot be installed, or did not start.
    """

    def __init__(self, folder: Path) -> None:
        command = [str(interpreter()), str(SCRIPT), str(folder)]
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
