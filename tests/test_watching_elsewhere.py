"""Runs that other processes submit and work off are watched like one's own, whatever keeps them."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import _watch
from tests.executors.redis.servers import shared
from tests.flows.cli.test_process import screens

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]
SHOP = '''
"""Submits and works off a run, of which one job goes on until a line comes in."""
import sys
import flows

@flows.task(queue="elsewhere")
def look() -> list[int]:
    return [0, 1, 2]

@flows.task(queue="elsewhere", attempts=2)
def fetch(item: int) -> int:
    if item == 1 and flows.current().attempt == 1:
        raise ConnectionError("<b>not now</b>")
    return item

@flows.task(queue="elsewhere")
def finish(fetched: list[int]) -> int:
    print("holding", flush=True)
    sys.stdin.readline()
    return sum(fetched)

@flows.flow
def shop() -> flows.Job[int]:
    return finish(flows.each(fetch, look().out).out)

with flows.Worker(executor=sys.argv[1], queues=["elsewhere"], concurrency=2):
    flows.submit(shop, executor=sys.argv[1], key="elsewhere").wait("60s")
'''


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/elsewhere.db"
        return
    shared().ask("FLUSHALL")
    yield shared().url
    shared().ask("FLUSHALL")


@contextmanager
def going_on(url: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A run in a process of its own that waits for a line."""
    (folder / "elsewhere.py").write_text(SHOP)
    with started([sys.executable, "elsewhere.py", url], folder) as shop:
        assert shop.stdout is not None
        assert shop.stdout.readline() == "holding\n"
        yield shop


@contextmanager
def started(command: list[str], folder: Path) -> Iterator["subprocess.Popen[str]"]:
    piped: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, **piped) as process:
        try:
            yield process
        finally:
            process.kill()


def states(svg: str) -> dict[str, str]:
    return dict(re.findall(r'data-box="([^"]*)" data-state="([^"]*)"', svg))


DONE = ["look", "fetch", "fetch[0]", "fetch[1]", "fetch[2]"]


@pytest.mark.parametrize("interactive", [False, True])
def test_a_notebook_watches_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interactive: bool) -> None:
    shown: list[dict[str, Any]] = []
    first, over = threading.Event(), threading.Event()

    def show(bundle: dict[str, Any]) -> None:
        shown.append(bundle)
        if "image/svg+xml" in bundle:
            first.set()
            if states(bundle["image/svg+xml"]).get("finish") == "completed":
                over.set()

    monkeypatch.setattr(_watch, "_cell", lambda: show)
    with going_on(url, tmp_path) as shop:
        run = flows.get(key="elsewhere", executor=url)
        watching = threading.Thread(target=flows.watch, args=(run,), kwargs={"interactive": interactive})
        watching.start()
        assert first.wait(60)
        early = next(bundle for bundle in shown if "image/svg+xml" in bundle)
        assert states(early["image/svg+xml"]) == dict.fromkeys(DONE, "completed") | {"finish": "active"}
        assert "2 attempts" in early["image/svg+xml"]
        shop.communicate("\n", timeout=60)
        assert over.wait(60)
        watching.join(60)
    assert set(states(shown[-1]["image/svg+xml"]).values()) == {"completed"}
    assert "completed, 6 jobs: 6 done" in shown[-1]["text/plain"]


def test_a_terminal_watches_it(url: str, tmp_path: Path) -> None:
    seen, columns = "", "120" if url.startswith("sqlite") else "44"
    with going_on(url, tmp_path) as shop:
        for piece in screens("runs", "watch", "--key", "elsewhere", "-e", url, cwd=tmp_path, COLUMNS=columns):
            seen += piece
            if "finish" in seen and shop.stdin is not None and not shop.stdin.closed:
                shop.stdin.write("\n")
                shop.stdin.close()
    plain = re.sub(r"\x1b\[[0-9;]*m", "", seen)
    frames = re.split(r"\x1b\[[0-9;?]*[A-Zhl]|[\r\n]+", plain[plain.index("shop  running") :])
    assert "5 of 6 jobs" in plain
    assert "6 of 6 jobs" in plain
    assert any(line.startswith("● finish") for line in frames)
    assert any(line.startswith("✓ finish") for line in frames)
    assert max(map(len, frames)) <= int(columns)


def test_a_pipe_is_told_line_by_line(url: str, tmp_path: Path) -> None:
    with going_on(url, tmp_path) as shop:
        command = [sys.executable, "-m", "flows", "runs", "watch", "--key", "elsewhere", "-e", url]
        with started(command, tmp_path) as watching:
            assert watching.stderr is not None
            told = []
            for line in watching.stderr:
                told.append(line)
                if "fetch completed" in line:
                    break
            shop.communicate("\n", timeout=60)
            out, rest = watching.communicate(timeout=60)
    text = "".join(told) + rest
    assert out == ""
    assert "fetch[1] retrying: ConnectionError: <b>not now</b>" in text
    assert "finish completed" in text
    assert "\x1b" not in text
    assert watching.returncode == 0
