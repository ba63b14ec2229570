"""Executes the notebooks and stores them with their outputs: `python notebooks/store.py [NAME ...]`.

An output that says the same as the one stored before, times and ids of runs aside, is left as it was, so that a change
shows only where something has changed. What only tells when and by which program a cell was run is left out.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
CHANGING = re.compile(
    r"\b[0-9a-f]{32}\b"  # ids of runs
    r"|datetime\.datetime\([^)]*\)"
    r"|\d{4}-\d\d-\d\d[T ][\d:.+]+"
    r"|\b\d+-\d+\b"  # workers
    r"|\d+(\.\d+)? (µs|ms|s|min|h)\b"
    r"|\d+\.\d at once"
    r"|[·█▓▶░ ]{2,}"  # bars
)
DRAWN = re.compile(r"-[0-9a-f]{10}\b|-?\d+(\.\d+)?")  # digests, lengths and places
PIECES = re.compile(r"<[^>]*>|[^<>]+")
LABELS = re.compile(r"(?<=>)[✓✗▶○] [^<]+")  # of bars, cut where there is no room: titles say the same
PLAIN = {"kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}}


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.ipynb"))


def read(name: str) -> Any:
    return nbformat.read(HERE / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def executed(name: str) -> Any:
    """The notebook with fresh outputs. Raises if a cell raises."""
    notebook = read(name)
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {key: value for key, value in os.environ.items() if not key.startswith(("FLOWS_", "PYTEST_"))}
    client = NotebookClient(notebook, timeout=90, kernel_name="python3", resources={"metadata": {"path": str(HERE)}})
    client.execute(env=env | {"PYTHONPATH": os.pathsep.join(paths)})
    return tidied(notebook)


def tidied(notebook: Any) -> Any:
    """The notebook without what belongs to one execution or one machine; pieces of a stream are put together."""
    notebook.metadata = dict(PLAIN) | {"language_info": {"name": "python"}}
    number = 0
    for place, cell in enumerate(notebook.cells, 1):
        cell.id, cell.metadata = f"cell-{place}", {}
        if cell.cell_type == "code":
            number += 1
            cell.execution_count = number
            cell.outputs = _joined([_tidied(output, number) for output in cell.outputs])
    return notebook


def _tidied(output: Any, number: int) -> Any:
    if "execution_count" in output:
        output.execution_count = number
    output.pop("transient", None)
    return output


def _joined(outputs: list[Any]) -> list[Any]:
    """Streams come in pieces, as it happens."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


def said(cell: Any) -> list[dict[str, str]]:
    """What the outputs of a cell say, times and ids of runs aside."""
    return [
        {
            kind: _drawn(text) if kind == "image/svg+xml" else CHANGING.sub("#", str(text))
            for kind, text in {**output.get("data", {}), "text": output.get("text", "")}.items()
        }
        for output in cell.get("outputs", ())
    ]


def _drawn(picture: str) -> str:
    """Its words and shapes, wherever they stand: a few milliseconds put bars into another order."""
    masked = DRAWN.sub("#", CHANGING.sub("#", LABELS.sub("", picture)))
    return "\n".join(sorted(set(PIECES.findall(masked))))


def store(name: str) -> None:
    """Execute and write, keeping the outputs that say the same as before."""
    before = read(name)
    after = executed(name)
    for old, new in zip(before.cells, after.cells, strict=True):
        if new.cell_type == "code" and said(old) == said(new):
            new.outputs = old.outputs
    nbformat.write(tidied(after), HERE / f"{name}.ipynb")  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    for one in sys.argv[1:] or names():
        store(one)
        print(f"stored {one}")
