"""The replay of recorded workflows takes what instances really hold: long ids, odd names, tasks without a runtime."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "wfcommons.py"


def instance(tmp_path: Path, names: list[str]) -> Path:
    """A diamond a link: each task has the next two as children."""
    tasks = [
        {"name": name, "id": name, "parents": names[max(at - 2, 0) : at], "children": names[at + 1 : at + 3]}
        for at, name in enumerate(names)
    ]
    measured = [{"id": name, "runtimeInSeconds": 1.5} for name in names[1:]]
    path = tmp_path / "instance.json"
    path.write_text(json.dumps({"workflow": {"specification": {"tasks": tasks}, "execution": {"tasks": measured}}}))
    return path


def replay(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), *map(str, arguments)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_names_that_ours_refuse_are_replayed_all_the_same(tmp_path: Path) -> None:
    long = "x" * 300
    names = ["first", f"{long}_ID01", f"{long}_ID02", "tab\there", "größe", "two words", "últ\u200bimo"]
    printed = replay(instance(tmp_path, names), "--scale", "0.01")
    assert "7 jobs, 11 edges, 7 levels" in printed
    assert "critical path        9.0 s over 7 jobs" in printed


def test_fewer_workers_take_longer(tmp_path: Path) -> None:
    tasks = [{"name": f"t{at}", "id": f"t{at}", "parents": [], "children": []} for at in range(4)]
    measured = [{"id": f"t{at}", "runtimeInSeconds": 1.0} for at in range(4)]
    path = tmp_path / "wide.json"
    path.write_text(json.dumps({"workflow": {"specification": {"tasks": tasks}, "execution": {"tasks": measured}}}))
    makespan = replay(path, "--scale", "0.05", "--workers", "1").splitlines()[-1].split()
    assert float(makespan[1]) >= 4.0
