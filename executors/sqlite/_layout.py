"""The layout of a run: what was submitted of each job, and which rows the items of its lists have.

It never changes but by growing, so what is known of it stays true whatever other processes do.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from executors._stored import GATED, LIST, Outer, PackedBody, Place, Shape
from flows._state import CONTROL_QUEUE, FAIL

ATTEMPTS_LIMIT: Final = 1000
"""How often a job is tried whose attempts the worker knows, and not the store."""


class Block(NamedTuple):
    """The rows of some items of a list.

    Attributes:
        first: The first row.
        list_job: The list.
        body: The number of its body.
        start: Which item comes first.
        items: How many there are in it.
        stride: Rows an item.
        links: As the settle of the list brought them.
    """

    first: int
    list_job: int
    body: int
    start: int
    items: int
    stride: int
    links: Sequence[int]


class Fetch(NamedTuple):
    """How a layout gets what it does not know yet.

    Attributes:
        plan: Chunk number -> its shape as JSON.
        block: Row -> the last block that begins at or before it.
        blocks: List -> its blocks.
        lists: Job -> the lists whose items have edges from it.
        item: (list, item) -> its payload.
    """

    plan: Callable[[int], str]
    block: Callable[[int], Block]
    blocks: Callable[[int], list[Block]]
    lists: Callable[[int], list[int]]
    item: Callable[[int, int], bytes]


class Layout:
    """What each job of a run is, wherever it came from.

    Attributes:
        shape: The flow's own jobs.
        bodies: What lists stamp out.
        delayed, gated, listed, sharing: Whether any job has a delay or a condition, is a list, or shares its result.
    """

    def __init__(self, shape: Shape, bodies: Sequence[PackedBody], fetch: Fetch, facts: Mapping[str, Any]) -> None:
        self.shape = shape
        self.bodies = bodies
        self.fetch = fetch
        self.delayed, self.gated, self.listed, self.sharing = (
            bool(facts[name]) for name in ("delayed", "gated", "listed", "sharing")
        )
        self._firsts: list[int] = []
        self._blocks: dict[int, Block] = {}

    def block_of(self, job: int) -> Block:
        """The block that has the row of a stamped job."""
        place = bisect_right(self._firsts, job) - 1
        if place >= 0:
            block = self._blocks[self._firsts[place]]
            if job < block.first + block.items * block.stride:
                return block
        block = self.fetch.block(job)
        self.know(block)
        return block

    def know(self, block: Block) -> None:
        """A block that has come to be, or was fetched."""
        if block.first not in self._blocks:
            self._blocks[block.first] = block
            insort(self._firsts, block.first)

    def of(self, job: int) -> tuple[Shape, int]:
        """The shape that describes a job, and its place in it."""
        if job < self.shape.size:
            return self.shape, job
        block = self.block_of(job)
        return self.bodies[block.body].shape, (job - block.first) % block.stride

    def base(self, job: int) -> tuple[Block, int, int]:
        """The block of a stamped job, the first row of its item, and which item that is."""
        block = self.block_of(job)
        item = (job - block.first) // block.stride
        return block, block.first + item * block.stride, block.start + item

    def queue(self, job: int) -> str:
        """The queue that the job goes to when nothing of it is the library's own work any more."""
        shape, place = self.of(job)
        return CONTROL_QUEUE if shape.flags[place] & LIST else shape.queues[shape.queue[place]]

    def flags(self, job: int) -> int:
        """What kind of job it is."""
        shape, place = self.of(job)
        return shape.flags[place]

    def attempts(self, job: int) -> int:
        """How often it may be tried."""
        shape, place = self.of(job)
        return shape.attempts[place] or ATTEMPTS_LIMIT

    def body(self, job: int) -> PackedBody:
        """What the list *job* stamps out."""
        shape, place = self.of(job)
        return self.bodies[shape.body[place]]

    def inputs(self, job: int) -> Sequence[int]:
        """The jobs whose results it takes."""
        shape, place = self.of(job)
        inputs = shape.inputs[place]
        if shape is self.shape:
            return inputs
        block, base, _ = self.base(job)
        found = []
        for one in inputs:
            if one < block.stride:
                found.append(base + one)
            elif one > block.stride and block.links[one - block.stride - 1] >= 0:
                found.append(block.links[one - block.stride - 1])
        return found

    def places(self, job: int) -> list[Place]:
        """Which items of which lists a stamped job belongs to, the outermost first."""
        found: list[Place] = []
        while job >= self.shape.size:
            block, base, index = self.base(job)
            item = self.fetch.item(block.list_job, index)
            found.append(Place(block.list_job, block.body, index, base, item, block.links))
            job = block.list_job
        return found[::-1]

    def row_of_item(self, block: Block, index: int) -> int:
        """The first row of an item of a block."""
        return block.first + (index - block.start) * block.stride

    def blocks_of(self, job: int) -> list[Block]:
        """The blocks of a list."""
        return self.fetch.blocks(job)

    def base_of_item(self, job: int, index: int) -> tuple[Block, int]:
        """The block of an item of a list, and its first row."""
        for block in self.blocks_of(job):
            if block.start <= index < block.start + block.items:
                return block, self.row_of_item(block, index)
        raise IndexError(index)


class Edges:
    """The dependents of each job; those in the items of lists worked out.

    Args:
        begun: How many items of a list have been stamped out.
        linked: Which jobs share their results with the items of lists.
    """

    __slots__ = ("_begun", "_layout", "_linked")

    def __init__(self, layout: Layout, begun: Any, linked: Any) -> None:
        self._layout = layout
        self._begun = begun
        self._linked = linked

    def __getitem__(self, job: int) -> Sequence[int]:
        layout = self._layout
        if job < layout.shape.size:
            edges = layout.shape.edges[job]
        else:
            shape, place = layout.of(job)
            block, base, _ = layout.base(job)
            edges = [base + one for one in shape.edges[place]]
            if place == layout.bodies[block.body].root:
                edges.append(block.list_job)
        if job in self._linked:
            return [*edges, *[row for row, _ in self.added(job)]]
        return edges

    def get(self, job: int) -> Sequence[int] | None:
        """The effect codes of a job's edges; None where all are plain ``fail`` edges."""
        layout = self._layout
        shape, place = layout.of(job)
        codes = shape.codes.get(place)
        if job >= layout.shape.size:
            block = layout.block_of(job)
            body = layout.bodies[block.body]
            if place == body.root and (codes or body.root_effect != FAIL):
                codes = [*(codes or [FAIL] * len(shape.edges[place])), body.root_effect]
        if job in self._linked:
            added = [effect for _, effect in self.added(job)]
            if codes or any(added):
                codes = [*(codes or [FAIL] * (len(self[job]) - len(added))), *added]
        return codes

    def added(self, job: int) -> Iterator[tuple[int, int]]:
        """The edges from *job* into items of lists that share it, as (row, effect)."""
        layout = self._layout
        for one in layout.fetch.lists(job):
            body = layout.body(one)
            begun = self._begun.get(one, 0)
            for block in layout.blocks_of(one):
                outer = outer_edges(body, block, job)
                for index in range(block.start, min(block.start + block.items, begun)):
                    base = layout.row_of_item(block, index)
                    yield from [(base + edge.dependent, edge.effect) for edge in outer]


def outer_edges(body: PackedBody, block: Block, child: int) -> list[Outer]:
    """The edges that lead from *child* into each item of a block."""
    return [edge for edge in body.outer if block.links[edge.link - block.stride - 1] == child]


class Delays:
    """Seconds between release and readiness, by job."""

    __slots__ = ("_layout",)

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __bool__(self) -> bool:
        return self._layout.delayed

    def __contains__(self, job: int) -> bool:
        shape, place = self._layout.of(job)
        return shape.delay_ms[place] > 0

    def __getitem__(self, job: int) -> float:
        shape, place = self._layout.of(job)
        return shape.delay_ms[place] / 1000


class Attempts:
    """Attempts allowed, by job."""

    __slots__ = ("_layout",)

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def __getitem__(self, job: int) -> int:
        return self._layout.attempts(job)


class Gated:
    """Jobs whose condition is still to be judged, like a set."""

    __slots__ = ("_judged", "_layout")

    def __init__(self, layout: Layout, judged: Any) -> None:
        self._layout = layout
        self._judged = judged

    def __bool__(self) -> bool:
        return self._layout.gated

    def __contains__(self, job: int) -> bool:
        return bool(self._layout.gated and self._layout.flags(job) & GATED and job not in self._judged)

    def discard(self, job: int) -> None:
        """The job's condition holds."""
        self._judged[job] = 1

    def add(self, job: int) -> None:
        """The job's condition is to be judged again."""
        self._judged.pop(job, None)


class ItemOf:
    """The list that waits for a job as for one of its items."""

    __slots__ = ("_layout",)

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def get(self, job: int) -> int | None:
        """The list, if there is one."""
        layout = self._layout
        if job < layout.shape.size:
            return None
        block, base, _ = layout.base(job)
        return block.list_job if job - base == layout.bodies[block.body].root else None
