"""Flows made of numbers: what hypothesis draws is a plain description, and `built` makes a flow of it."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from flows._backoff import Backoff
from flows._each import each, when
from flows._flow import Flow
from flows._job import Job
from flows._opts import Opts
from flows._reference import optional
from flows._task import DEFAULT_QUEUE, Task
from flows.errors import Failed

BACKOFFS: Final = (
    None,
    Backoff.fixed(1),
    Backoff.exponential(1, cap=60, jitter=0.5),
    Backoff.steps([0.5, 30, 3600]),
)
POLICIES: Final = ("fail", "ignore", "continue", "remove", "skip")


class DrawnEdge(NamedTuple):
    """What a job takes of an earlier one: its place, and ``value``, ``optional`` or ``order``."""

    child: int
    kind: str = "value"


class DrawnJob(NamedTuple):
    """One job of a drawn flow.

    Attributes:
        edges: The earlier jobs that it depends on.
        options: What `Opts` is given.
        is_async: Whether its handler is a coroutine function that sleeps for a second.
        items: For a list: over how many items; None: a plain job.
        limit: How many items of a list are open at once.
        condition: Whether it is to run, as another job says at run time; None: it is.
    """

    edges: tuple[DrawnEdge, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    is_async: bool = False
    items: int | None = None
    limit: int | None = None
    condition: bool | None = None

    def __str__(self) -> str:
        words = [f"{name}={value!r}" for name, value in self.options]
        words += [] if self.items is None else [f"each of {self.items} items, limit={self.limit}"]
        words += [] if self.condition is None else [f"when {self.condition}"]
        after = [f"{edge.child}{'' if edge.kind == 'value' else f' ({edge.kind})'}" for edge in self.edges]
        words += [f"after {', '.join(after)}"] if after else []
        return f"{'async ' if self.is_async else ''}{'; '.join(words) or 'plain'}"


class DrawnFlow(Flow[Any]):
    """A drawn flow; its `repr` says what it is made of."""

    __slots__ = ("rows",)

    def __init__(self, rows: Sequence[DrawnJob], roots: tuple[Job[Any], ...]) -> None:
        super().__init__("drawn", roots, several=len(roots) > 1)
        self.rows = tuple(rows)

    def __repr__(self) -> str:
        return "\n".join(["<flow of", *(f"  {number}: {row}" for number, row in enumerate(self.rows)), ">"])


def _sum(number: int, inputs: list[Any]) -> int:
    seen = [one.state if isinstance(one, Failed) else one for one in inputs]
    return zlib.crc32(json.dumps([number, seen]).encode())


def step(number: int, inputs: list[Any]) -> int:
    """The handler of drawn jobs: a check sum of what it takes, so that what is lost or swapped shows in the result."""
    return _sum(number, inputs)


async def async_step(number: int, inputs: list[Any]) -> int:
    """As `step`, on the event loop, in a second."""
    await asyncio.sleep(1)
    return _sum(number, inputs)


def listing(number: int, inputs: list[Any]) -> list[int]:
    """What a list is about."""
    return list(range(number))


def choose(number: int, inputs: list[Any]) -> bool:
    """What a condition hangs on."""
    return bool(number)


_TASKS: Final[dict[Any, Task[..., Any]]] = {
    fn: Task(fn, fn.__name__, DEFAULT_QUEUE, Opts())  # registered nowhere
    for fn in (step, async_step, listing, choose)
}


def built(rows: Sequence[DrawnJob]) -> DrawnFlow:
    """The flow that *rows* describe. Its jobs have the ids ``job-0``, ``job-1`` and so on; all are needed by a root."""
    jobs: list[Job[Any]] = []
    for number, row in enumerate(rows):
        early = any(("on_failure", "continue") in rows[edge.child].options for edge in row.edges)
        jobs.append(_built(number, row, jobs, early=early))
    needed = {edge.child for row in rows for edge in row.edges}
    return DrawnFlow(rows, tuple(job for number, job in enumerate(jobs) if number not in needed))


def _built(number: int, row: DrawnJob, jobs: Sequence[Job[Any]], *, early: bool) -> Job[Any]:
    name = f"job-{number}"
    taken: list[Any] = [
        optional(jobs[edge.child].out) if edge.kind == "optional" else jobs[edge.child].out
        for edge in row.edges
        if edge.kind != "order"
    ]
    before = [jobs[edge.child] for edge in row.edges if edge.kind == "order"]
    task = _TASKS[async_step if row.is_async else step].using(**dict(row.options))
    if row.items is None:
        job: Job[Any] = task.using(id=name)(number, taken)
    else:
        source = _TASKS[listing].using(id=f"{name}-of")(row.items, taken)
        source.after(*before)
        job = each(lambda item: task.using(id=name)(item, []), source.out, limit=row.limit)
    if row.condition is not None and not early:  # a job that a failure releases early cannot wait for a condition
        when(_TASKS[choose].using(id=f"{name}-if")(int(row.condition), []).out, job)
    return job if row.items is not None else job.after(*before)
