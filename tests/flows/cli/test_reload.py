"""--reload: a process started anew when a source file changes, and ended as it would have been."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from flows._cli._app import app
from flows._cli._reload import Reloader, sources, worker_command

ROOT = Path(__file__).resolve().parents[3]
SUPERVISOR = """
import sys
from flows._cli._reload import Reloader
sys.exit(Reloader([sys.executable, "child.py"], grace=20).run())
"""
CHILD = """
import pathlib, signal, sys, threading
def stop(*_):
    print("stopped", flush=True)
    sys.exit({code})
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("began {what}", flush=True)
{then}
while True:
    threading.Event().wait(60)
"""


def test_sources_are_the_python_files_of_the_project(tmp_path: Path) -> None:
    for name in ("a.py", "pkg/b.py", ".hidden/c.py", "__pycache__/d.py", "env/e.py", "env/pyvenv.cfg", "notes.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    assert {os.path.relpath(path, tmp_path) for path, _ in sources(tmp_path)} == {"a.py", os.path.join("pkg", "b.py")}


def test_the_worker_is_called_as_it_was_but_for_the_reloading() -> None:
    command = worker_command(["app"], {"--name": "first", "--queues": "", "--concurrency": None}, log_json=True)
    assert command[1:] == ["-m", "flows", "worker", "app", "--name", "first", "--log-json"]


def test_the_executor_is_told_where_no_list_of_processes_shows_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[list[str], str]] = []
    monkeypatch.setattr(Reloader, "run", lambda self: made.append((self._command, self._environment["FLOWS_EXECUTOR"])))
    url = "redis://:hush@localhost"
    CliRunner().invoke(app, ["worker", "app", "--executor", url, "--reload", "-q", "a"])
    ((command, told),) = made
    assert (url in command, told) == (False, url)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    def write(what: str, code: int = 0, then: str = "") -> None:
        path = tmp_path / "child.py"
        path.write_text(CHILD.format(what=what, code=code, then=then))
        os.utime(path, ns=(0, int.from_bytes(what.encode(), "big") % 10**15))  # within one tick of a clock or not

    return write


@pytest.mark.slow
def test_a_change_starts_anew_and_a_signal_ends_it(tmp_path: Path, write: Callable[..., None]) -> None:
    write("first", code=7)
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None

        def said() -> str:
            assert process.stdout is not None
            return process.stdout.readline().strip()

        assert said() == "began first"
        write("second", then="sys.exit(1)")
        assert [said() for _ in range(3)] == ["flows: child.py has changed; starting anew", "stopped", "began second"]
        assert "exit code 1; waiting for a change" in said()
        write("third", code=9)
        assert [said() for _ in range(2)] == ["flows: child.py has changed; starting anew", "began third"]
        process.send_signal(signal.SIGTERM)
        assert said() == "stopped"
        assert process.wait(60) == 9


def test_a_process_that_ends_well_ends_it(tmp_path: Path) -> None:
    marker = tmp_path / "again"
    code = f"import pathlib, sys; p = pathlib.Path({str(marker)!r})\nif p.exists(): sys.exit(0)\np.touch(); sys.exit(3)"
    assert Reloader([sys.executable, "-c", code], grace=20, folder=tmp_path).run() == 0
    assert marker.exists()  # 3 asks to be started again
