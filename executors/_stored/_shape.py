"""What a store is given of a run: columns of numbers that its machine works with, and bytes that it never looks into.

A run is stored as a *header*, a *row* for each job, and a *shape*. Header and rows are JSON of this package's own
writing; the shape is what a store needs to decide which job may run when, and holds no value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from flows.executor import RunOptions

FORM: Final = 1
"""The version of the stored form; written in every header."""

GATED: Final = 1
"""A flag of a job: it has a condition, and is granted as a control job before it goes to its queue."""

LIST: Final = 2
"""A flag of a job: it is a list, and granted as a control job to be expanded."""

SHARES: Final = 4
"""A flag of a job: its result is shared under an idempotency key of its own."""


@dataclass(slots=True)
class Shape:
    """The columns of the jobs of a run, or of a body, as a store's machine takes them: one entry a job, in run order.

    Attributes:
        size: How many jobs there are.
        roots: The jobs that the flow is about.
        queues: The names of the queues in use; `queue` has an index into it for each job. Lists and jobs with a
            condition have their own queue here, too; the store puts them into `flows._state.CONTROL_QUEUE` as long
            as their flags say so. A list has that queue itself.
        priority, lifo, delay_ms: As the job's options say.
        attempts: Tries allowed; 0 where the producer did not know the task. Then the worker decides, and says
            `End.FAILED` when they are spent; the store stops at 1,000.
        flags: `GATED`, `LIST` and `SHARES`, or-ed.
        pending: How many edges lead in; in a body all but those from the item.
        edges: The jobs that wait for it, one entry an edge.
        codes: For a job with an edge that is not a plain ``fail`` edge: the code of each edge, beside `edges`; see
            `flows._state` (``FAIL`` to ``SKIP``, or-ed with ``ORDER_ONLY`` and ``SHARED``).
        inputs: The jobs whose ends a grant must bring along, in the order in which the worker expects them.
        body: For a list: the number of its body, in `Packed.bodies`.
    """

    size: int
    roots: tuple[int, ...]
    queues: list[str]
    queue: Sequence[int]
    priority: Sequence[int]
    lifo: Sequence[int]
    delay_ms: Sequence[int]
    attempts: Sequence[int]
    flags: Sequence[int]
    pending: Sequence[int]
    edges: Sequence[Sequence[int]]
    codes: dict[int, list[int]]
    inputs: Sequence[Sequence[int]]
    body: dict[int, int] = field(default_factory=dict)


class Outer(NamedTuple):
    """An edge into a body's job from around it.

    Attributes:
        link: Its child: a place in the body's index space, above `Shape.size`.
        dependent: One of the body's own jobs.
        effect: The code of the edge.
    """

    link: int
    dependent: int
    effect: int


@dataclass(slots=True)
class PackedBody:
    """What a list stamps out for each of its items.

    The index space of a body: its own jobs (0 up to ``shape.size``), then the item, then its links. Whoever stamps
    item *i* of a list whose block begins at *first* has ``base = first + i * shape.size``; place *p* of the space is
    row ``base + p`` for an own job, and ``links[p - size - 1]`` of the expanded list for a link, where that is a row.

    Attributes:
        shape: The columns of its own jobs; `inputs` are places in the index space, and whoever reads them leaves out
            the item and links that are items of lists around (see `Items.links`). Edges lead to own jobs only; the
            edge from the root to the list is not among them, its code is `root_effect`.
        root: The job whose result is the item's.
        root_effect: The code of the edge from the root to the list: what its end does to the list.
        drops: Whether an item that did not complete is left out of the list's value (policy ``remove``).
        limit: How many items may be open at once; None for all.
        links: For each link its place in the index space around, which is the flow's own or another body's.
        outer: The edges that lead in from links. One from a link that is an item only takes away a pending edge, as
            items are always there.
    """

    shape: Shape
    root: int
    root_effect: int
    drops: bool
    limit: int | None
    links: Sequence[int]
    outer: Sequence[Outer]


@dataclass(slots=True)
class Packed:
    """A flow as a store keeps it. All of it has been checked: nothing can be wrong with it any more.

    Attributes:
        header: JSON; opaque to stores.
        rows: JSON for each job, opaque to stores; beside the columns of `shape`.
        shape: What the store's machine needs.
        bodies: What lists stamp out, by number; those inside others included.
        options: As submitted.
        limits: For each queue that the flow knows as a `Queue`: its concurrency, and its rate as (starts, seconds).
        name: The flow's name.
        fingerprint: For a run with a key; else empty, since nobody will compare it.
        kept: Where a store may keep what it works out of all but the id, the key, the trace and the data, for the next
            run of which only these are others; None where there will be none.
    """

    header: bytes
    rows: list[bytes]
    shape: Shape
    bodies: list[PackedBody]
    options: RunOptions
    limits: Mapping[str, tuple[int | None, tuple[int, float] | None]]
    name: str
    fingerprint: str
    kept: dict[str, Any] | None = None


class Place(NamedTuple):
    """Where a stamped job stands: which item of which list it belongs to. A job has one for each list around it.

    Attributes:
        list_job: The row of the list.
        body: The number of its body.
        position: Which item.
        base: The row of the item's first job.
        item: The item: the payload that the settle of the list brought.
        links: What the list's settle brought as `Items.links`.
    """

    list_job: int
    body: int
    position: int
    base: int
    item: bytes
    links: Sequence[int]


class Input(NamedTuple):
    """How a child of a granted job ended.

    Attributes:
        child: Its row.
        state: The code of its state. A child that does not count, because the job was released before it had ended,
            has one below ``COMPLETED`` and no payload, whatever has become of it since: the store applies `cut`.
        payload: Of a completed one its value (of a list: `gathered`), where empty means null; else its failure, or
            that of the first cause, or None where there is neither.
        first: The state of the first cause, where the payload is that one's failure and not the child's own; may be
            left out, as that failure has another job's id in it.
    """

    child: int
    state: int
    payload: bytes | None
    first: int | None = None


class Items(NamedTuple):
    """The value of a settle that ends `End.EXPANDED`.

    Attributes:
        payloads: Each item.
        links: For each link of the list's body the row that it stands for; or ``-1 - level``, where it is the item of
            a list around: of the outermost with level 0.
    """

    payloads: list[bytes]
    links: list[int]
