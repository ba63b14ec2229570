"""Packing: a planned flow as what a store keeps of it. All that can be wrong with it is said before anything is stored.

A row is a JSON array, cut off after the last entry that says something::

    [id, kind, binding, ids, more]

*kind* is an index into the header's table of (task name, queue of the task, queue of the job, options). *binding* is a
list of children, where every argument is the whole result of one; else an object with the arguments' templates. *ids*
are those of the children whose ends a grant brings along, in one text. *more* is an object with what few jobs have; see
`executors._stored._rows`.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from typing import Any, Final

from executors._stored._blanks import blank_of, filled
from executors._stored._header import common_part, write_header
from executors._stored._limits import LIMITS, Limits
from executors._stored._options import given_to, refuse_code, settings_to
from executors._stored._rows import NO_KIND, RowWriter, Space
from executors._stored._shape import GATED, LIST, SHARES, Outer, Packed, PackedBody, Shape
from flows import _registry
from flows._bodies import Body, bodies_of
from flows._job import Job
from flows._opts import Queue
from flows._plan import Plan
from flows._state import EFFECTS
from flows.errors import DefinitionError
from flows.executor import RunOptions

OPEN_ATTEMPTS: Final = 0
"""In the shape: the producer did not know the task."""


def pack(plan: Plan[Any], options: RunOptions, limits: Limits = LIMITS) -> Packed:
    """*plan* as a store keeps it.

    Data is written down, and that of literal jobs checked against the type hints of tasks that are known here.

    Raises:
        DefinitionError: Options of a job are code, or the flow has more jobs than *limits* let it; with the job's id.
        DataError: Data has no JSON form, does not fit its handler, or is larger than *limits* let it be.
    """
    if len(plan) <= limits.jobs:
        packed = filled(plan, options, limits.data)
        if packed is not None:
            return packed
    else:
        raise DefinitionError(
            f"flow {plan.name!r} has {len(plan):,} jobs, and at most {limits.jobs:,} are taken; split it, fan out with "
            "each(), or raise max_jobs in the executor's URL"
        )
    refuse_code(plan)
    was_on = gc.isenabled()
    gc.disable()  # packing makes containers and no garbage, as planning does
    try:
        tables = _Tables(limits)
        bodies = {body: number for number, body in enumerate(bodies_of(plan))}
        space = Space(plan.ids, _column(plan, "on_failure"), tables.kinds_of(plan))
        writer, rows, shape = _packed(plan, space, bodies, tables)
        around = dict.fromkeys(plan.lists.values(), space)
        parts = [_packed_body(body, bodies, tables, around) for body in bodies]
        tables.check()
        fingerprint = "" if options.key is None else plan.fingerprint
        bodies_to = [(rows, body) for _, rows, body in parts]
        common = common_part(plan, options, tables.kinds(), tables.settings, bodies_to)
        kept = None if parts else blank_of(plan, options, writer, rows, shape, common)
        header = write_header(options, fingerprint, common)
        bodies_packed = [part for part, _, _ in parts]
        return Packed(header, rows, shape, bodies_packed, options, plan.limits, plan.name, fingerprint, kept)
    finally:
        if was_on:
            gc.enable()


class _Tables:
    """What many jobs have in common, written once; and the problems found on the way."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.settings: list[dict[str, Any]] = []
        self._kinds: dict[Any, int] = {}
        self._written: list[list[Any]] = []
        self._held: list[Any] = []
        """Keeps what `_kinds` knows by its address."""
        self.attempts: list[int] = []
        self.problems: list[DefinitionError] = []

    def kinds(self) -> list[list[Any]]:
        return self._written

    def kinds_of(self, plan: Plan[Any]) -> list[int]:
        """The number of the kind of each job."""
        known = self._kinds
        found = []
        keys = zip(plan.names, map(id, plan.tasks), plan.queues_of, map(id, plan.settings), strict=True)
        for job, key in enumerate(keys):
            kind = known.get(key)
            if kind is None:
                kind = known[key] = self._add(plan, job)
            found.append(kind)
        return found

    def _add(self, plan: Plan[Any], job: int) -> int:
        name, task, queue, settings = plan.names[job], plan.tasks[job], plan.queues_of[job], plan.settings[job]
        self._held += (task, settings)
        data = settings_to(settings)
        attempts = settings.attempts
        if task is None:
            home = queue
            if _registry.find(name, queue) is None:
                data["given"] = _given(plan, job)
                attempts = OPEN_ATTEMPTS
        else:
            home = task.home.name if isinstance(task.home, Queue) else task.home
        try:
            number = self.settings.index(data)
        except ValueError:
            number = len(self.settings)
            self.settings.append(data)
        self._written.append([name, home, queue, number, int(task is not None)])
        self.attempts.append(attempts)
        return len(self._written) - 1

    def check(self) -> None:
        if self.problems:
            raise DefinitionError.of(self.problems)


def _packed(
    plan: Plan[Any], space: Space, bodies: Mapping[Body, int], tables: _Tables, links: Sequence[Outer] = ()
) -> tuple[RowWriter, list[bytes], Shape]:
    """The rows of a plan, or of a body's, with what has written them, and their shape.

    Args:
        space: What its bindings may refer to.
        links: Edges into a body from around it.
    """
    lists = {job: bodies[body] for job, body in plan.lists.items()}
    writer = RowWriter(plan, space, lists, links, tables.limits)
    rows = writer.rows()
    tables.problems += writer.problems
    settings, size = plan.settings, len(plan)
    queues = list(dict.fromkeys(plan.queues_of))
    place = {queue: number for number, queue in enumerate(queues)}
    flags = [0] * size
    for job in plan.conditions:
        flags[job] |= GATED
    for job in lists:
        flags[job] |= LIST
    shares = any(one.idempotency_key is not None for one in plan.distinct)
    for job in range(size) if shares else ():
        flags[job] |= SHARES if settings[job].idempotency_key is not None else 0
    return (
        writer,
        rows,
        Shape(
            size=size,
            roots=plan.roots,
            queues=queues,
            queue=[0] * size if len(queues) == 1 else [place[queue] for queue in plan.queues_of],
            priority=_column(plan, "priority"),
            lifo=[int(one) for one in _column(plan, "lifo")],
            delay_ms=[round(1000 * one) for one in _column(plan, "delay")],
            attempts=[tables.attempts[kind] for kind in space.kinds[:size]],
            flags=flags,
            pending=plan.pending,
            edges=plan.dependents,
            codes=plan.effects,
            inputs=writer.inputs,
            body=lists,
        ),
    )


def _packed_body(
    body: Body, bodies: Mapping[Body, int], tables: _Tables, around: dict[Body, Space]
) -> tuple[PackedBody, list[bytes], Body]:
    """A body and its rows.

    Args:
        around: The space around each body; those of bodies inside this one are added.
    """
    outside = around[body]
    space = Space(
        body.names,
        [*_column(body.plan, "on_failure"), "fail", *[outside.policies[link] for link in body.links]],
        [*tables.kinds_of(body.plan), NO_KIND, *[outside.kinds[link] for link in body.links]],
    )
    around.update(dict.fromkeys(body.plan.lists.values(), space))
    outer = [Outer(*edge) for edge in body.outer]
    _, rows, shape = _packed(body.plan, space, bodies, tables, outer)
    policy = body.plan.settings[body.root].on_failure
    packed = PackedBody(shape, body.root, EFFECTS[policy], policy == "remove", body.limit, list(body.links), outer)
    return packed, rows, body


def _column(plan: Plan[Any], name: str) -> list[Any]:
    """One of the options, a job at a time."""
    values = {getattr(one, name) for one in plan.distinct}
    if len(values) == 1:
        return [*values] * len(plan)
    return [getattr(one, name) for one in plan.settings]


def _given(plan: Plan[Any], job: int) -> list[dict[str, Any]]:
    """What is given for a job of a task that is not known here: its queue's options and its own."""
    declared: Job[Any] = next(one for one, position in plan._positions.items() if position == job)
    queue = declared.queue
    return [given_to(queue.opts if isinstance(queue, Queue) else None), given_to(declared.opts)]
