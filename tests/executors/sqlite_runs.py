"""Runs of any shape for a SQLite store without an executor: no handler is called, the test says how attempts end."""

import itertools
from pathlib import Path
from typing import Any

from executors._stored import Header, Packed, brief, pack
from executors.sqlite._claims import Drawn
from executors.sqlite._database import Database
from executors.sqlite._store import SqliteStore
from flows._plan import Plan
from flows.executor import RunOptions

_numbers = itertools.count(1)


class Numbered:
    """Stands for a run in a `Want`."""

    def __init__(self, number: int) -> None:
        self.number = number


def briefed(store: SqliteStore, drawn: Drawn) -> Any:
    """What a worker is given."""
    grant = drawn.grant
    header = Header(store.database.read("header_of", grant.number)[0][0])
    return brief(header, grant.job, drawn.row, drawn.inputs, place=drawn.places, gated=drawn.gated)


def store_at(path: Path, clock: Any = None, synchronous: str = "off") -> SqliteStore:
    store = SqliteStore(Database(path, synchronous, clock), lambda drawn: briefed(store, drawn))
    return store


def packed_of(plan: Plan[Any], **options: Any) -> Packed:
    name = f"run-{next(_numbers)}"
    return pack(plan, RunOptions(name, None, name, **options))
