"""The wire: settles, leases and grants as the few long strings in which they travel.

A server's answer of many small elements costs its client more than the jobs do; one string of packed numbers and one of
payloads cost next to nothing. ``lua/settling.lua`` and ``lua/grants.lua`` have the same formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, cast

from executors._stored import Input, Place

SUSPECT, CONTROLLED, GATE, RATED = 1, 2, 4, 8
"""
Flags of a grant: it has lost a worker before; it is the library's own work, which is to judge a condition; its queue
has a rate.
"""

_SETTLE: Final = Struct("<HIBBddddI")
_LEASE: Final = Struct("<HId")
_HEAD: Final = Struct("<ddBHH")
_REFUSAL: Final = Struct("<H")
_GRANT: Final = Struct("<HIHBddIH")
_INPUT: Final = Struct("<IBBI")
_LEVEL: Final = Struct("<IHIIII")
_PLACED: Final = 4294967294
_NONE: Final = 4294967295
_PLAIN: Final = 2
_NO_DEADLINES: Final[Mapping[str, float]] = {}
_Parts = tuple[bytes, bytes, bytes, list[bytes], list[bytes]]
_new: Final[Any] = tuple.__new__
"""Makes a named tuple in half the time."""

MICRO: Final = 1_000_000

NULL: Final = b"null"
"""What an empty payload of a completed job stands for."""


class Outcome(NamedTuple):
    """A settle as it travels.

    Attributes:
        started, ended: How many microseconds ago.
        after: Microseconds until the next try.
    """

    run_id: str
    job: int
    end: int
    counted: bool
    fence: int
    started: float
    ended: float
    after: float
    payload: bytes


class Granted(NamedTuple):
    """A grant as it came.

    Attributes:
        since: When the job's first attempt began, in microseconds of the store's clock; 0 where this is the first,
            -1 where it is the first since the run was reopened.
        row: None where it is to be read apart, with the inputs; and for a stamped job.
        place: Where a stamped job stands, unless that is to be read apart.
    """

    run_id: str
    job: int
    attempt: int
    flags: int
    fence: int
    since: float
    row: bytes | None
    inputs: tuple[Input, ...]
    place: tuple[Place, ...] = ()

    @property
    def apart(self) -> bool:
        """Whether its row, or place, and its inputs are to be read apart."""
        return self.row is None and not self.place


class Answer(NamedTuple):
    """The answer to an exchange.

    Attributes:
        now, due: Microseconds of the store's clock; *due* is negative where nothing is delayed.
        refused: Numbers of the settles that were refused.
        headers: By run, where the worker is new to it.
        deadlines: By run, where it has one: when it is to be cancelled, in microseconds of the store's clock.
    """

    now: float
    due: float
    more: bool
    refused: tuple[int, ...]
    grants: list[Granted]
    headers: dict[str, bytes]
    deadlines: Mapping[str, float] = _NO_DEADLINES


def pack_settles(outcomes: Iterable[Outcome]) -> tuple[str, bytes, bytes]:
    """Ids of runs, numbers, payloads."""
    pack = _SETTLE.pack
    if type(outcomes) is list and len(outcomes) == 1:
        run_id, job, end, counted, fence, started, ended, after, payload = outcomes[0]
        return run_id, pack(0, job, end, counted, fence, started, ended, after, len(payload)), payload
    ids: dict[str, int] = {}
    numbers: list[bytes] = []
    payloads: list[bytes] = []
    for run_id, job, end, counted, fence, started, ended, after, payload in outcomes:
        index = ids.setdefault(run_id, len(ids))
        numbers.append(pack(index, job, end, counted, fence, started, ended, after, len(payload)))
        payloads.append(payload)
    return " ".join(ids), b"".join(numbers), b"".join(payloads)


def pack_leases(leases: Iterable[tuple[str, int, int]]) -> tuple[str, bytes]:
    """Ids of runs, and numbers, of (run id, job, fence)."""
    ids: dict[str, int] = {}
    pack = _LEASE.pack
    numbers = [pack(ids.setdefault(run_id, len(ids)), job, fence) for run_id, job, fence in leases]
    return " ".join(ids), b"".join(numbers)


class Told:
    """The answer to an exchange as it came, with its grants still to be read.

    Attributes:
        count: Of the grants.
        ids: Of their runs.
        is_plain: Whether no grant has flags, or is to be read apart: for all else it is enough to know how many.
        now, due, more, refused, headers, deadlines: As of an `Answer`.
    """

    __slots__ = (
        *("count", "deadlines", "due", "headers", "ids", "is_plain", "more", "now", "refused"),
        *("_at", "_numbers", "_payloads"),
    )

    def __init__(self, reply: Sequence[bytes | list[bytes]]) -> None:
        numbers, self._payloads, names, headers, timed = cast("_Parts", reply)
        self.ids = names.decode().split()
        self.now, self.due, more, self.count, refusals = _HEAD.unpack_from(numbers)
        self.more, self.is_plain = more % 2 == 1, more >= _PLAIN
        at = _HEAD.size
        self.refused: tuple[int, ...] = ()
        if refusals:
            self.refused = tuple([_REFUSAL.unpack_from(numbers, at + 2 * place)[0] for place in range(refusals)])
            at += 2 * refusals
        self._numbers, self._at = numbers, at
        self.headers: dict[str, bytes] = {}
        if any(headers):  # of runs that are new to the worker
            self.headers = {run_id: one for run_id, one in zip(self.ids, headers, strict=True) if one}
        self.deadlines = _NO_DEADLINES
        if timed:
            self.deadlines = dict(zip(map(bytes.decode, timed[::2]), map(float, timed[1::2]), strict=True))

    def grants(self) -> list[Granted]:
        """Read them."""
        numbers, payloads, ids, at = self._numbers, self._payloads, self.ids, self._at
        grants: list[Granted] = []
        position = 0
        unpack, size = _GRANT.unpack_from, _GRANT.size
        for _ in range(self.count):
            index, job, attempt, flags, fence, since, length, inputs = unpack(numbers, at)
            at += size
            if length == _NONE:
                grants.append(Granted(ids[index], job, attempt, flags, int(fence), since, None, ()))
                continue
            row: bytes | None = None
            place: tuple[Place, ...] = ()
            if length == _PLACED:
                place, at, position = _places(numbers, payloads, at, position)
            else:
                row = payloads[position : position + length]
                position += length
            taken: tuple[Input, ...] = ()
            if inputs:
                taken, at, position = _inputs(numbers, payloads, at, position, inputs)
            grants.append(_new(Granted, (ids[index], job, attempt, flags, int(fence), since, row, taken, place)))
        return grants


def _places(numbers: bytes, payloads: bytes, at: int, position: int) -> tuple[tuple[Place, ...], int, int]:
    levels = numbers[at]
    at += 1
    places = []
    for _ in range(levels):
        list_job, body, which, base, length, links = _LEVEL.unpack_from(numbers, at)
        at += _LEVEL.size
        rows = Struct(f"<{links}i").unpack_from(numbers, at)
        at += 4 * links
        places.append(Place(list_job, body, which, base, payloads[position : position + length], rows))
        position += length
    return tuple(places), at, position


def _inputs(numbers: bytes, payloads: bytes, at: int, position: int, count: int) -> tuple[tuple[Input, ...], int, int]:
    taken = []
    for _ in range(count):
        child, state, first, length = _INPUT.unpack_from(numbers, at)
        at += _INPUT.size
        payload: bytes | None = None
        if length != _NONE:
            payload = payloads[position : position + length] or NULL
            position += length
        taken.append(_new(Input, (child, state, payload, first or None)))
    return tuple(taken), at, position
