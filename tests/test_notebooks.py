"""The notebooks run from top to bottom, and are stored with what that gave."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def said(notebook: nbformat.NotebookNode) -> list[str]:
    """What each cell printed or showed as text."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    return [output.get("text") or output["data"]["text/plain"] for output in outputs]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_stored(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", ""))))
    stored = nbformat.read(path, as_version=4)
    assert said(stored), "stored without outputs"
    again = nbformat.read(path, as_version=4)
    NotebookClient(again, timeout=100, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert said(again) == said(stored)
