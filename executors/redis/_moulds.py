"""Moulds: the bodies of lists as a server keeps them, and what is kept of a list that is expanded.

``lua/lists.lua`` has the same formats.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Final, NamedTuple

from executors._stored import GATED, LIST, Items, PackedBody, Place
from flows._state import FAIL

CODES: Final = 32
LIFO: Final = 8
DELAY: Final = 16
THE_LIST: Final = 4294967295
"""Stands for the list itself among the dependents of a body's root."""

AT_ONCE: Final = 200
"""Items that come with the settle of their list; more of them are stowed before it."""

STOWED_BYTES: Final = 65536
"""Bytes of items that a call takes at most, unless one alone is longer."""

_BODY: Final = Struct("<IiIBI")
_OUTER: Final = Struct("<IIB")
_PART: Final = Struct("<HHHIIHII")
_KNOWN: Final = Struct("<HIHI")
_EXPANDED: Final = Struct("<IIIB")


class Known(NamedTuple):
    """What is kept of a list that is expanded.

    Attributes:
        body: The number of its body.
        biggest: Bytes of its longest item.
        segments: Blocks of rows: (first, items) each.
        links: As `executors._stored.Items.links`.
    """

    body: int
    biggest: int
    segments: list[tuple[int, int]]
    links: Sequence[int]

    def base_of(self, position: int, size: int) -> int:
        """The first row of an item, where the body has *size* jobs."""
        for first, items in self.segments:
            if position < items:
                return first + position * size
            position -= items
        raise IndexError(position)

    def spot_of(self, row: int, size: int) -> tuple[int, int]:
        """Which item a row belongs to, and the first row of that."""
        before = 0
        for first, items in self.segments:
            within = row - first
            if 0 <= within < items * size:
                return before + within // size, row - within % size
            before += items
        raise IndexError(row)


class Mould(NamedTuple):
    """What readers have to know of a body; see `executors._stored.PackedBody`. `outer` counts links from 0."""

    size: int
    root: int
    drops: bool
    outer: list[tuple[int, int, int]]


def mould_head(packed: bytes) -> Mould:
    """Read the head of a mould."""
    size, _, root, drops, outers = _BODY.unpack_from(packed)
    outer = [_OUTER.unpack_from(packed, _BODY.size + place * _OUTER.size) for place in range(outers)]
    return Mould(size, root, bool(drops), outer)


def known_of(packed: bytes) -> Known:
    """Read what is kept of a list."""
    body, biggest, segments, links = _KNOWN.unpack_from(packed)
    at = _KNOWN.size
    numbers = Struct(f"<{2 * segments}I{links}i").unpack_from(packed, at)
    pairs = list(zip(numbers[: 2 * segments : 2], numbers[1 : 2 * segments : 2], strict=True))
    return Known(body, biggest, pairs, numbers[2 * segments :])


def union_of(queues: Sequence[str], bodies: Sequence[PackedBody]) -> list[str]:
    """The queues of a run and of all that its lists may stamp out."""
    return list(dict.fromkeys([*queues, *[queue for body in bodies for queue in body.shape.queues]]))


def lanes_of(bodies: Sequence[PackedBody], queues: Sequence[str], control: int) -> Iterator[str]:
    """The lanes that items may ever have jobs in."""
    for body in bodies:
        shape = body.shape
        for job, flags in enumerate(shape.flags):
            if flags & (GATED | LIST):
                yield f"{control}:{shape.priority[job]}"
            if not flags & LIST:
                yield f"{queues.index(shape.queues[shape.queue[job]])}:{shape.priority[job]}"


def mould_of(body: PackedBody, queues: Sequence[str]) -> bytes:
    """A body as it is kept."""
    shape = body.shape
    limit = -1 if body.limit is None else body.limit
    parts = [_BODY.pack(shape.size, limit, body.root, body.drops, len(body.outer))]
    parts += [_OUTER.pack(outer.link - shape.size - 1, outer.dependent, outer.effect) for outer in body.outer]
    number: Mapping[str, int] = {queue: place for place, queue in enumerate(queues)}
    for job in range(shape.size):
        edges, codes = list(shape.edges[job]), list(shape.codes.get(job, ()))
        codes = codes or [FAIL] * len(edges)
        if job == body.root:
            edges.append(THE_LIST)
            codes.append(body.root_effect)
        flags = shape.flags[job] | LIFO * bool(shape.lifo[job]) | DELAY * bool(shape.delay_ms[job])
        flags |= CODES * any(codes) | 128
        limit = shape.body[job] if flags & LIST else shape.attempts[job]
        parts.append(
            _PART.pack(
                *(number[shape.queues[shape.queue[job]]], limit, flags, shape.priority[job], shape.delay_ms[job]),
                *(shape.pending[job], len(edges), len(shape.inputs[job])),
            )
        )
        parts.append(_u32s(edges))
        if flags & CODES:
            parts.append(bytes(codes))
        parts.append(_u32s(shape.inputs[job]))
    return b"".join(parts)


def is_small(items: Items) -> bool:
    """Whether items may come with the settle of their list."""
    return len(items.payloads) <= AT_ONCE and sum(map(len, items.payloads)) <= STOWED_BYTES


def expanded(items: Items) -> bytes:
    """What the settle of a list says; with the items, if they are few."""
    payloads, links = items
    inline = is_small(items)
    head = _EXPANDED.pack(len(payloads), max(map(len, payloads), default=0), len(links), inline)
    parts = [head, Struct(f"<{len(links)}i").pack(*links)]
    if inline:
        parts += [_u32s([*map(len, payloads)]), *payloads]
    return b"".join(parts)


def portions(payloads: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
    """Items as they are stowed: where each portion begins, and what it has."""
    first = size = 0
    for place, payload in enumerate(payloads):
        if place > first and (place - first >= AT_ONCE or size + len(payload) > STOWED_BYTES):
            yield first, payloads[first:place]
            first, size = place, 0
        size += len(payload)
    yield first, payloads[first:]


def place_at(list_job: int, known: Known, row: int, size: int, item: bytes) -> Place:
    """Where a stamped row stands in its list."""
    position, base = known.spot_of(row, size)
    return Place(list_job, known.body, position, base, item, known.links)


def _u32s(numbers: Sequence[int]) -> bytes:
    packed = array("I", numbers)
    if packed.itemsize != 4 or array("H", [1]).tobytes() != b"\x01\x00":
        return b"".join(number.to_bytes(4, "little") for number in numbers)
    return packed.tobytes()
