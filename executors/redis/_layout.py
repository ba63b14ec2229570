"""Layout: the columns of a run as a server keeps them, a packed record a job, in buckets.

A record is of one size, so that a job's is found by arithmetic, read and written as a piece of a long string.
Its first part never changes; ``lua/records.lua`` has the same format.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct
from typing import Final, NamedTuple, Protocol

from executors.redis._keys import BUCKET
from flows._state import DELAYED, WAITING, WAITING_CHILDREN

GATED, LIST, SHARES, LIFO, DELAY, CODES, ROOT, STAMPED = 1, 2, 4, 8, 16, 32, 64, 128
"""Flags of a job."""

SPARSE, PASSED, REPLAYED, OWN = 1, 2, 4, 8
"""Marks of a job: it has sparse columns; its condition holds; its result is another's; its failure is its own."""

CONTROL: Final = 65535
"""The number of the queue for the library's own work, in every run."""

RECORD: Final = Struct("<HHHIIIIIIBBHHHiIdIHdd")
"""
queue, limit (of a list the number of its body), flags, priority, row length (of a stamped job the row of its list),
edges at, edges, inputs at, inputs;
state, marks, made, attempt, lost, pending, ordinal, fence, payload length, worker, started, finished.
"""

EXTRA: Final = Struct("<IIIIiiIiIHdd")
"""dooms, skips, cancels, conts, cause, first cause, cut, items, begun, tries, since, due."""


COURSE: Final = Struct("<IIIBBBBBBHiIiiIB")
"""
How a run goes: open jobs, turn, size, worst end of a root, whether lines are unswept, cancelling, ended, timed, to fail
fast; workers, sweeping, position, marking, late, jobs of its own (the others are those of items), jobs taken in its
turn.
"""


LONG: Final = 2048
"""Bytes of a row that is set apart, and more."""


class Columns(Protocol):
    """What is laid out of a shape; see `executors._stored`."""

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
    body: dict[int, int]


class Bucket(NamedTuple):
    """The jobs of one bucket.

    Attributes:
        records: Their records.
        edges: Dependents, effect codes and inputs that do not fit into a record.
    """

    records: bytes
    edges: bytes


class Layout(NamedTuple):
    """A run laid out.

    Attributes:
        buckets: Its jobs.
        lanes: ``queue:priority`` of all lanes that it may ever have jobs in.
        ready: By lane, the jobs that wait for nothing.
        late: Jobs that wait for nothing but a delay, or for others that are put into their lanes before.
        delays: Delays in microseconds, by job.
    """

    buckets: list[Bucket]
    lanes: list[str]
    ready: dict[str, list[int]]
    late: list[int]
    delays: dict[int, int]


def lay_out(shape: Columns, row_lengths: Sequence[int], lanes_of_items: Iterable[str] = ()) -> Layout:
    """Lay out the columns of a run that begins."""
    flags = list(_flags(shape))
    lanes: dict[str, None] = {}
    ready: dict[str, list[int]] = {}
    late: list[int] = []
    delays = {job: delay * 1000 for job, delay in enumerate(shape.delay_ms) if delay}
    states = [WAITING_CHILDREN] * shape.size
    for job, pending in enumerate(shape.pending):
        priority = shape.priority[job]
        lane = f"{shape.queue[job]}:{priority}"
        if flags[job] & (GATED | LIST):
            if flags[job] & GATED and not flags[job] & LIST:
                lanes[lane] = None
            lane = f"{CONTROL}:{priority}"
        lanes[lane] = None
        if pending:
            continue
        if job in delays and not flags[job] & (GATED | LIST):
            states[job] = DELAYED
            late.append(job)
            continue
        states[job] = WAITING
        line = ready.setdefault(lane, [])
        if flags[job] & LIFO:
            line.insert(0, job)
        else:
            line.append(job)
    buckets = [
        _bucket(shape, flags, states, row_lengths, range(first, min(first + BUCKET, shape.size)))
        for first in range(0, shape.size, BUCKET)
    ]
    lanes |= dict.fromkeys(lanes_of_items)
    return Layout(buckets, list(lanes), ready, late, delays)


def with_few_lanes(laid: Layout, most: int) -> Layout:
    """The same where at most so many lanes are filled at once, the most urgent; the jobs of others follow by and by."""
    if len(laid.ready) <= most:
        return laid
    order = sorted(laid.ready, key=lambda lane: int(lane.partition(":")[2]))
    following = [job for lane in order[most:] for job in sorted(laid.ready[lane])]
    return laid._replace(ready={lane: laid.ready[lane] for lane in order[:most]}, late=following + laid.late)


def name_of(job: int) -> bytes:
    """Four bytes that stand for a job, in lists and as a field."""
    return job.to_bytes(4, "little")


def member_of(run_id: str, job: int) -> bytes:
    """How leases, suspects and delays name a job."""
    return run_id.encode() + b":" + name_of(job)


def u32s(numbers: Sequence[int]) -> bytes:
    """Numbers as scripts unpack them."""
    packed = array("I", numbers)
    if packed.itemsize != 4 or _BIG_ENDIAN:
        return b"".join(number.to_bytes(4, "little") for number in numbers)
    return packed.tobytes()


_BIG_ENDIAN: Final = array("H", [1]).tobytes() != b"\x01\x00"


def pack_rows(rows: Sequence[bytes]) -> bytes:
    """The rows of one bucket: where each begins, where the last one ends, the rows; long ones are empty.

    A hash would be searched from its beginning for each of its fields, as long as it is small enough to be a list.
    """
    kept = [row if len(row) < LONG else b"" for row in rows]
    return u32s([*accumulate(map(len, kept), initial=4 * len(rows) + 4)]) + b"".join(kept)


def long_rows(rows: Sequence[bytes]) -> dict[bytes, bytes]:
    """Those that are set apart, in a hash of their run, by name: they seldom come along with grants."""
    return {name_of(job): row for job, row in enumerate(rows) if len(row) >= LONG}


def _flags(shape: Columns) -> Iterator[int]:
    roots = set(shape.roots)
    for job in range(shape.size):
        flag = shape.flags[job]
        if shape.lifo[job]:
            flag |= LIFO
        if shape.delay_ms[job]:
            flag |= DELAY
        if job in shape.codes and any(shape.codes[job]):
            flag |= CODES
        if job in roots:
            flag |= ROOT
        yield flag


def _bucket(
    shape: Columns, flags: Sequence[int], states: Sequence[int], row_lengths: Sequence[int], jobs: range
) -> Bucket:
    records: list[bytes] = []
    tail = bytearray()
    pack = RECORD.pack
    for job in jobs:
        edges, inputs = shape.edges[job], shape.inputs[job]
        edges_at = inputs_at = 0
        if flags[job] & CODES:
            edges_at = len(tail)
            tail += u32s(edges)
            tail += bytes(shape.codes[job])
        elif len(edges) == 1:
            edges_at = edges[0]
        elif edges:
            edges_at = len(tail)
            tail += u32s(edges)
        if len(inputs) == 1:
            inputs_at = inputs[0]
        elif inputs:
            inputs_at = len(tail)
            tail += u32s(inputs)
        records.append(
            pack(
                *(
                    shape.queue[job],
                    shape.body.get(job, shape.attempts[job]),
                    flags[job],
                    shape.priority[job],
                    row_lengths[job],
                ),
                *(edges_at, len(edges), inputs_at, len(inputs)),
                *(states[job], 0, 0, 0, 0, shape.pending[job], 0, 0.0, 0, 0, 0.0, 0.0),
            )
        )
    return Bucket(b"".join(records), bytes(tail))
