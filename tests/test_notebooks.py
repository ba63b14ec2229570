"""The notebooks run, and are stored as `make notebooks` stores them: with outputs, without traces of a machine."""

import re
from pathlib import Path
from typing import Any

import pytest

from notebooks.store import HERE, executed, names, read, said, tidied

pytestmark = pytest.mark.slow


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert {"1_declare_and_draw", "2_run_and_watch", "3_failures_retries_policies"} <= set(names())


@pytest.mark.parametrize("name", names())
def test_a_notebook_is_stored_with_outputs_and_nothing_of_the_machine(name: str) -> None:
    stored = read(name)
    assert tidied(read(name)) == stored, "stored by something else than `make notebooks`"
    assert sum(bool(cell.outputs) for cell in code(stored)) >= len(code(stored)) / 2
    text = Path(HERE, f"{name}.ipynb").read_text("utf-8")
    assert not re.search(r"/tmp|/home|/work|/Users|ipykernel_|site-packages", text)


@pytest.mark.parametrize("name", names())
def test_a_notebook_begins_with_a_heading_and_links_to_what_is_there(name: str) -> None:
    texts = [cell.source for cell in read(name).cells if cell.cell_type == "markdown"]
    assert texts[0].startswith(f"# {name[0]} · ")
    for link in re.findall(r"\]\(([^)]+)\)", "\n".join(texts)):
        assert Path(HERE, link).exists(), link


@pytest.mark.parametrize("name", names())
def test_a_notebook_runs_and_shows_what_is_stored(name: str) -> None:
    fresh = executed(name)
    for old, new in zip(code(read(name)), code(fresh), strict=True):
        assert not [output for output in new.outputs if output.get("name") == "stderr"], new.source
        assert [sorted(output) for output in said(new)] == [sorted(output) for output in said(old)], new.source
