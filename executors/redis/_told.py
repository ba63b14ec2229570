"""Events as they are read: from the shard's stream, and from the run itself where the stream has forgotten some."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from executors._stored import PastAttempt, StoredEvent
from executors.redis._shard import Shard
from flows._events import EventKind
from flows._state import ACTIVE, STATE_NAMES

if TYPE_CHECKING:
    from executors.redis._reading import ServerReader

KINDS: Final[dict[int, EventKind]] = {
    1: "submitted",
    2: "started",
    4: "completed",
    5: "failed",
    6: "skipped",
    7: "cancelled",
    8: "retrying",
    9: "released",
    10: "lost",
    12: "expanded",
    13: "ended",
    14: "reopened",
    15: "replayed",
    16: "progress",
}
PROGRESS: Final = 16
_RUN: Final = 4294967295
_TOLD: Final = Struct("<BIH")
_AT_ONCE: Final = 1000
_MICRO: Final = 1_000_000
_PLACES: Final = 65536
"""Entries of one millisecond that have a position of their own."""


class History:
    """Earlier attempts of jobs, and whose results they took, read when an event tells of one."""

    def __init__(self, read: Callable[[int], Sequence[PastAttempt]], origin: Callable[[int], bytes | None]) -> None:
        self._read = read
        self._origin = origin
        self._known: dict[int, Sequence[PastAttempt]] = {}

    def origin(self, job: int) -> bytes | None:
        """Whose result a job took, as its event says it."""
        found = self._origin(job)
        return None if found is None else json.dumps(f"the result of {found.decode()}").encode()

    def failure(self, job: int, attempt: int, kind: EventKind) -> bytes | None:
        """Why that attempt failed."""
        past = self._known.get(job)
        if past is None:
            past = self._known[job] = self._read(job)
        outcome = "lost" if kind == "lost" else "failed"
        found = [one.failure for one in past if one.number == attempt and one.outcome == outcome]
        return found[-1] if found else None


def told_of(shard: Shard, reader: ServerReader, run: str, position: int) -> tuple[list[StoredEvent], int]:
    """Events of a run from *position* on, and the position behind them."""
    stream, server = shard.keys.of("events"), shard.server
    first, last = server.calls([("XRANGE", stream, "-", "+", "COUNT", 1), ("XREVRANGE", stream, "+", "-", "COUNT", 1)])
    for one in (first, last):
        if isinstance(one, Exception):
            raise one
    end = _position(last[0][0]) if last else position
    if position >= end and first:
        return [], position
    history = reader.past_of(run)
    if not first or (position and _position(first[0][0]) > position):
        return _again(reader, run, position), max(end, position)
    events: list[StoredEvent] = []
    since = position
    while True:
        begin = f"({since // _PLACES}-{since % _PLACES}" if since else "-"
        entries = server.call("XRANGE", stream, begin, "+", "COUNT", _AT_ONCE)
        for number, fields in entries:
            since = _position(number)
            events += _read(fields, run.encode(), history)
        if len(entries) < _AT_ONCE:
            break
    if not position and (not events or events[0].kind != "submitted"):
        return _again(reader, run, 0), max(since, end)
    return events, since


def _position(number: bytes) -> int:
    milliseconds, _, place = number.partition(b"-")
    return int(milliseconds) * _PLACES + min(int(place), _PLACES - 1)


def _read(fields: Sequence[bytes], run: bytes, history: History) -> Iterator[StoredEvent]:
    at = 0.0
    for name, value in zip(fields[::2], fields[1::2], strict=True):
        if name == b"at":
            at = int(value) / _MICRO
        elif name == run:
            yield from _unpacked(value, at, history)


def _unpacked(value: bytes, at: float, history: History) -> Iterator[StoredEvent]:
    replayed: set[int] = set()
    for place in range(0, len(value) - _TOLD.size + 1, _TOLD.size):
        number, job, attempt = _TOLD.unpack_from(value, place)
        kind = KINDS.get(number)
        if number == PROGRESS:
            yield StoredEvent("progress", at, job, attempt or None, value[place + _TOLD.size :])
            return
        if kind is None:
            continue
        if kind == "replayed":
            replayed.add(job)
        if job in replayed:  # it took another's result, and made no attempt
            attempt = 0
        if job == _RUN:
            yield StoredEvent(kind, at)
        else:
            detail = history.failure(job, attempt, kind) if kind in ("retrying", "lost") else None
            detail = history.origin(job) if kind == "replayed" else detail
            yield StoredEvent(kind, at, job, attempt or None, detail)


def _again(reader: ServerReader, run: str, position: int) -> list[StoredEvent]:
    """What must have happened since *position*, told from how the run stands now."""
    since = position // _PLACES / 1000.0
    facts = reader.facts(run)
    events = [StoredEvent("submitted", facts.submitted_at)]
    latest = facts.ended_at or reader.now()
    for job, one in enumerate(reader.jobs(run, None)):
        if one.started_at is not None and not one.replayed:
            events.append(StoredEvent("started", one.started_at, job, one.attempt or None))
        if one.state > ACTIVE:
            kind: Any = STATE_NAMES[one.state]
            attempt = None if one.replayed else one.attempt or None
            if one.replayed:
                origin = reader.past_of(run).origin(job)
                events.append(StoredEvent("replayed", one.finished_at or latest, job, None, origin))
            events.append(StoredEvent(kind, one.finished_at or latest, job, attempt))
    if facts.ended_at is not None:
        events.append(StoredEvent("ended", facts.ended_at))
    return sorted((one for one in events if one.at >= since), key=lambda one: (one.at, one.kind == "ended"))
