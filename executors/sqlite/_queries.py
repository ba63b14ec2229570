"""The statements of the store: one file each under ``queries``, which says what it is for in its first line."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final

_HERE: Final = files("executors.sqlite")


@cache
def query(name: str) -> str:
    """The statement in ``queries/<name>.sql``, without its comments."""
    text = (_HERE / "queries" / f"{name}.sql").read_text("utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip()


def schema() -> str:
    """The tables of a new file."""
    return (_HERE / "schema.sql").read_text("utf-8")
