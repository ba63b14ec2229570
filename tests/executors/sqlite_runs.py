"""Runs of any shape for a SQLite store without an executor: no handler is ever called, the test says how attempts end."""

import itertools
from pathlib import Path
from typing import Any

from executors._stored._shape import Input, Packed, Shape
from executors.sqlite._claims import Drawn
from executors.sqlite._database import Database
from executors.sqlite._store import SqliteStore
from flows._plan import Plan
from flows.executor import RunOptions

_numbers = itertools.count(1)


class Brief:
    """What a grant brings along, for tests to look at."""

    def __init__(self, drawn: Drawn) -> None:
        self.number = drawn.grant.number
        self.inputs: list[Input] = drawn.inputs
        self.row, self.places = drawn.row, drawn.places


class Numbered:
    """Stands for a run in a `Want`."""

    def __init__(self, number: int) -> None:
        self.number = number


def store_at(path: Path, clock: Any = None, synchronous: str = "off") -> SqliteStore:
    return SqliteStore(Database(path, synchronous, clock), Brief)


def packed_of(plan: Plan[Any], **options: Any) -> Packed:
    settings = plan.settings
    queues = list(dict.fromkeys(plan.queues_of))
    name = f"run-{next(_numbers)}"
    shape = Shape(
        size=len(plan),
        roots=plan.roots,
        queues=queues,
        queue=[queues.index(queue) for queue in plan.queues_of],
        priority=[one.priority for one in settings],
        lifo=[int(one.lifo) for one in settings],
        delay_ms=[round(1000 * one.delay) for one in settings],
        attempts=[one.attempts for one in settings],
        flags=[int(job in plan.conditions) | 2 * int(job in plan.lists) for job in range(len(plan))],
        pending=plan.pending,
        edges=plan.dependents,
        codes=plan.effects,
        inputs=plan.inputs,
    )
    rows = [b"%d" % job for job in range(len(plan))]
    return Packed(b"{}", rows, shape, [], RunOptions(name, None, name, **options), plan.limits, plan.name, "")
