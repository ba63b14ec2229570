"""The command in processes of its own: exit codes, signals, pipes, terminals, and what is not installed."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).resolve().parents[3]
APP = '''
"""An app."""
import signal, sys, threading
import flows

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as it is where the tests run in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

@flows.task(name="proc-say")
def say(word: str) -> str:
    print("a handler prints", word)
    return word

@flows.task(name="proc-hold")
def hold() -> None:
    print("holding", flush=True)
    while not flows.current().cancelled:
        threading.Event().wait(0.01)
    flows.current().check()

@flows.task(name="proc-number")
def number(n: int) -> int:
    flows.current().progress((n, 3))
    return n

@flows.task(name="proc-sum")
def add(*numbers: int) -> int:
    return sum(numbers)

@flows.flow
def talk(word="grüße ✓") -> flows.Job[str]:
    return say(word)

@flows.flow
def held() -> flows.Job[None]:
    return hold()

@flows.flow
def many(n: int = 300) -> flows.Job[int]:
    return add(*[number(i % 4).out for i in range(n)])
'''


@pytest.fixture(autouse=True)
def app(tmp_path: Path) -> Path:
    path = tmp_path / "proc_app.py"
    path.write_text(APP, "utf-8")
    return path


def environment(**more: str) -> dict[str, str]:
    known = {name: value for name, value in os.environ.items() if name not in ("FLOWS_EXECUTOR", "NO_COLOR", "COLUMNS")}
    return known | {"PYTHONPATH": str(ROOT), "TERM": "xterm"} | more


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "flows", *args]


def call(tmp_path: Path, *args: str, **more: str) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command(*args), cwd=tmp_path, env=environment(**more), capture_output=True, timeout=60, encoding="utf-8"
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def started(tmp_path: Path, *args: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(*args), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(stream: IO[str] | None, *texts: str) -> None:
    """Read until all of these have been said, in whatever order."""
    assert stream is not None
    left = set(texts)
    for line in stream:
        left -= {text for text in left if text in line}
        if not left:
            return
    pytest.fail(f"{left} was never said")


@pytest.mark.slow
def test_output_is_the_value_alone_and_json_is_kept_clean_of_what_handlers_print(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "proc_app:talk", "--json")
    assert json.loads(done.stdout)["value"] == "grüße ✓"
    assert "a handler prints" in done.stderr
    assert call(tmp_path, "run", "proc_app.py:talk").stdout == "a handler prints grüße ✓\ngrüße ✓\n"


@pytest.mark.slow
def test_a_terminal_that_knows_ascii_only_gets_ascii(tmp_path: Path) -> None:
    done = call(tmp_path, "run", "proc_app:talk", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == r"gr\xfc\xdfe \u2713"
    assert (done.stdout + done.stderr).isascii()
    document = json.loads(call(tmp_path, "run", "proc_app:talk", "--json", PYTHONIOENCODING="ascii").stdout)
    assert document["value"] == "grüße ✓"


@pytest.mark.slow
@pytest.mark.parametrize(("code", "args"), [(0, ("run", "proc_app:many")), (2, ("run", "proc_app:none"))])
def test_exit_codes(tmp_path: Path, code: int, args: tuple[str, ...]) -> None:
    assert call(tmp_path, *args).returncode == code


@pytest.mark.slow
def test_an_interrupt_cancels_the_run_and_ends_with_130(tmp_path: Path) -> None:
    with started(tmp_path, "run", "proc_app:held", "--json") as process:
        until(process.stderr, "held: run ", "holding")
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "cancelling the run" in told
    assert "proc-hold cancelled" in told
    assert told.endswith("interrupted\n")
    assert "Traceback" not in told


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_while_its_modules_are_imported_ends_well(tmp_path: Path) -> None:
    (tmp_path / "proc_slow.py").write_text(
        "import os, threading\nos.write(2, b'importing\\n')\nthreading.Event().wait(60)\n", "utf-8"
    )
    with started(tmp_path, "worker", "proc_slow", "-e", "sqlite:///proc.db") as process:
        until(process.stderr, "importing")
        process.terminate()
        _, told = process.communicate(timeout=60)
    assert process.returncode == 0, told
    assert told.endswith("told to end before the worker began\n")


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    with started(tmp_path, "plan", "proc_app:many", "--arg", "n=20000", "--json") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        told = process.stderr.read()
        process.wait(60)
    assert (process.returncode, told) == (141, "")


def screens(*args: str, cwd: Path, **more: str) -> Generator[str]:
    """What a command writes to a terminal, of 80 columns if nothing else is said, in pieces."""
    main, side = pty.openpty()
    os.set_inheritable(side, True)
    process = subprocess.Popen(
        command(*args),
        cwd=cwd,
        env=environment(**{"COLUMNS": "80", "LINES": "24"} | more),
        stdout=side,
        stderr=side,
        stdin=side,
    )
    os.close(side)
    try:
        while True:
            try:
                piece = os.read(main, 65536)
            except OSError:  # the other end is closed
                return
            if not piece:
                return
            yield piece.decode("utf-8", "replace")
    finally:
        os.close(main)
        process.kill()
        process.wait(60)


@pytest.mark.slow
def test_on_a_terminal_the_run_is_redrawn_within_its_columns(tmp_path: Path) -> None:
    with closing(screens("run", "proc_app:many", cwd=tmp_path)) as written:
        text = "".join(written)
    assert "\x1b[" in text
    pieces = re.split(r"\x1b\[[0-9;?]*[A-Zhl]|[\r\n]", re.sub(r"\x1b\[[0-9;]*m", "", text))
    plain = "\n".join(piece for piece in pieces if piece)
    assert "301 of 301 jobs" in plain
    assert "proc-number#*" in plain
    assert "300/300" in plain
    assert max(map(len, pieces)) <= 80
    assert plain.rstrip().endswith("450")


@pytest.mark.slow
def test_no_color_is_heeded(tmp_path: Path) -> None:
    with closing(screens("run", "proc_app:talk", cwd=tmp_path, NO_COLOR="1")) as pieces:
        text = "".join(pieces)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)


def test_without_the_extra_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ModuleNotFoundError(\"No module named 'typer'\", name='typer')\n")
    done = call(tmp_path, "--help")
    assert done.returncode == 2
    assert "pip install 'flowproducer[cli]'" in done.stderr


def test_the_help_is_quick_because_little_is_loaded(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['flows', '--help']\nimport flows._cli\ntry: flows._cli.main()\n"
    code += "finally: print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    heavy = {"rich.console", "rich.live", "pydantic", "networkx", "asyncio", "executors", "flows.operating"}
    assert not loaded & {*heavy, "flows._cli._view", "flows._explain", "flows._table"}
