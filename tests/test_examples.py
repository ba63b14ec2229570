"""Each example is one idea: short, explained, run by a plain `python`, and proves what it claims."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LINES = 80


def test_there_are_examples() -> None:
    assert "order_flow.py" in [path.name for path in EXAMPLES]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_is_short_explained_and_proves_itself(path: Path) -> None:
    source = path.read_text("utf-8")
    tree = ast.parse(source)
    assert len(source.splitlines()) < LINES
    assert ast.get_docstring(tree), "a module docstring says what it shows"
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree)), "it ends in asserts"


@pytest.mark.parametrize(
    "path",
    [path if path.name == "order_flow.py" else pytest.param(path, marks=pytest.mark.slow) for path in EXAMPLES],
    ids=lambda path: path.name,
)
def test_example_runs(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
