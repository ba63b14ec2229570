"""Inputs that are too large to come along with a grant: read when they are wanted, outside of any script."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, cast, overload

from executors._stored import Header, Input, Place, rows_from
from executors.redis._keys import BUCKET, VALUES
from executors.redis._layout import EXTRA, LIST, OWN, RECORD, SPARSE, name_of
from executors.redis._lists import Records, places_of, value_of
from executors.redis._rows import read_rows
from executors.redis._shard import Shard
from executors.redis._wire import NULL
from flows._state import ACTIVE, CANCELLED, COMPLETED

FIELDS_AT_ONCE: Final = 500
BYTES_AT_ONCE: Final = 1 << 20
KEPT_BYTES: Final = 32 << 20

_FLAGS, _INPUTS_AT, _INPUTS, _STATE, _MARKS, _ORDINAL, _FENCE, _LENGTH = 2, 7, 8, 9, 10, 15, 16, 17
_FIRST, _CUT = 5, 6


class Payloads:
    """Payloads that were read before, as many jobs may take the same one. For all threads.

    Args:
        kept: How many bytes of them at most.
    """

    def __init__(self, kept: int = KEPT_BYTES) -> None:
        self._kept = kept
        self._size = 0
        self._lock = threading.Lock()
        self._payloads: OrderedDict[tuple[str, int, float], bytes] = OrderedDict()

    def get(self, run_id: str, job: int, fence: float) -> bytes | None:
        """What the attempt under that fence left, if it is here."""
        with self._lock:
            payload = self._payloads.get((run_id, job, fence))
            if payload is not None:
                self._payloads.move_to_end((run_id, job, fence))
            return payload

    def known(self, run_id: str, wanted: Mapping[int, float]) -> dict[int, bytes]:
        """Of many, by the fences of their attempts, those that are here."""
        with self._lock:
            known = self._payloads
            found = {job: known.get((run_id, job, fence)) for job, fence in wanted.items()} if known else {}
        return {job: payload for job, payload in found.items() if payload is not None}

    def put(self, run_id: str, payloads: Mapping[tuple[int, float], bytes]) -> None:
        """Keep some, by jobs and the fences of their attempts."""
        with self._lock:
            for (job, fence), payload in payloads.items():
                former = self._payloads.pop((run_id, job, fence), b"")
                self._payloads[run_id, job, fence] = payload
                self._size += len(payload) - len(former)
            while self._size > self._kept:
                self._size -= len(self._payloads.popitem(last=False)[1])


class Inputs(Sequence[Input]):
    """How the children of a granted job ended; read when first looked at."""

    __slots__ = ("_found", "_job", "_kept", "_run_id", "_shard")

    def __init__(self, shard: Shard, run_id: str, job: int, kept: Payloads) -> None:
        self._shard = shard
        self._run_id = run_id
        self._job = job
        self._kept = kept
        self._found: list[Input] | None = None

    def load(self) -> list[Input]:
        """Read them, if that has not been done."""
        found = self._found
        if found is None:
            found = self._found = inputs_of(self._shard, self._run_id, self._job, self._kept)
        return found

    def __len__(self) -> int:
        return len(self.load())

    @overload
    def __getitem__(self, place: int) -> Input: ...
    @overload
    def __getitem__(self, place: slice) -> list[Input]: ...
    def __getitem__(self, place: int | slice) -> Input | list[Input]:
        return self.load()[place]

    def __iter__(self) -> Iterator[Input]:
        return iter(self.load())


def inputs_of(shard: Shard, run_id: str, job: int, kept: Payloads) -> list[Input]:
    """How the children of a job ended, as `lua/grants.lua` would bring it along; each call takes a bounded piece."""
    ((record,), sparse) = read_records(shard, run_id, [job])
    cut = sparse[job][_CUT] if job in sparse else 0
    return ends_of(shard, run_id, _children(shard, run_id, job, record), kept, cut)


def children_of(shard: Shard, run_id: str, job: int) -> list[int]:
    """The jobs whose ends a job is told."""
    ((record,), _) = read_records(shard, run_id, [job])
    return _children(shard, run_id, job, record)


def _children(shard: Shard, run_id: str, job: int, record: Any) -> list[int]:
    count, at = record[_INPUTS], record[_INPUTS_AT]
    if count <= 1:
        return [at] * count
    key = shard.keys.run(run_id, f"e:{job // BUCKET}")
    packed = shard.server.call("GETRANGE", key, at, at + 4 * count - 1)
    return [int.from_bytes(packed[place : place + 4], "little") for place in range(0, 4 * count, 4)]


def ends_of(shard: Shard, run_id: str, jobs: Sequence[int], kept: Payloads, cut: int = 0) -> list[Input]:
    """How jobs ended; those that were not swept by the turn *cut* do not count, if it is above 0."""
    records, sparse = read_records(shard, run_id, jobs)
    firsts = {job: extra[_FIRST] for job, extra in sparse.items() if extra[_FIRST] >= 0}
    told = sorted(set(firsts.values()))
    tellers = dict(zip(told, read_records(shard, run_id, told)[0], strict=True)) if told else {}
    ends: list[tuple[int, int, int | None]] = []
    wanted: dict[int, Any] = {}
    for job, record in zip(jobs, records, strict=True):
        state, teller = record[_STATE], None
        if cut and not 0 < record[_ORDINAL] <= cut:
            state = min(state, ACTIVE)
        elif state == COMPLETED or (state > COMPLETED and record[_MARKS] & OWN):
            teller, wanted[job] = job, record
        elif state > COMPLETED and state != CANCELLED and job in firsts:
            teller = firsts[job]
            wanted[teller] = tellers[teller]
        ends.append((job, state, teller))
    lists = {job: wanted.pop(job) for job in list(wanted) if _is_made(wanted[job])}
    payloads = _payloads(shard, run_id, wanted, kept)
    for job, record in lists.items():
        payloads[job] = _list_value(shard, run_id, job, record, sparse.get(job), kept)
    wanted |= lists
    return [
        Input(job, state, None if teller is None else payloads[teller], _first(job, teller, wanted))
        for job, state, teller in ends
    ]


def _is_made(record: Any) -> bool:
    """Whether it is a list that has completed: its value is made of those of its items."""
    return bool(record[_FLAGS] & LIST) and record[_STATE] == COMPLETED


def _list_value(shard: Shard, run_id: str, job: int, record: Any, extra: Any, kept: Payloads) -> bytes:
    turn = -record[_ORDINAL]  # a list may complete again without being expanded again
    found = kept.get(run_id, job, turn) if turn else None
    if found is None:
        read = Records(read_records, lambda shard, run_id, jobs: ends_of(shard, run_id, jobs, kept))
        found = value_of(shard, run_id, job, extra, read)
        kept.put(run_id, {(job, turn): found})
    return found


def _first(job: int, teller: int | None, wanted: dict[int, Any]) -> int | None:
    """The state of the first cause, where a failure is that one's and not the job's own."""
    state: int | None = None if teller is None or teller == job else wanted[teller][_STATE]
    return state


def places(shard: Shard, run_id: str, jobs: Sequence[int]) -> dict[int, tuple[Place, ...]]:
    """Where stamped jobs stand."""
    return places_of(shard, run_id, jobs, Records(read_records, lambda *_: []))


def job_id(shard: Shard, run_id: str, job: int) -> str:
    """The id of a job, for messages."""
    place = places(shard, run_id, [job])[job]
    if not place:
        return str(rows_from(cast("list[bytes]", read_rows(shard, run_id, [job])))[0][0])
    header = Header(shard.server.call("HGET", shard.keys.run(run_id), "header"))
    name: str = header.bodies[place[-1].body].rows[job - place[-1].base][0]
    return name + "".join(f"[{one.position}]" for one in place)


def read_records(shard: Shard, run_id: str, jobs: Sequence[int]) -> tuple[list[Any], dict[int, Any]]:
    """The records of jobs, and what is sparse."""
    keys, buckets = shard.keys, sorted({job // BUCKET for job in jobs})
    if len(jobs) <= 2 * len(buckets):
        size = RECORD.size
        places = [(job // BUCKET, job % BUCKET * size) for job in jobs]
        asked = [("GETRANGE", keys.run(run_id, f"c:{bucket}"), at, at + size - 1) for bucket, at in places]
        records = [RECORD.unpack(raw) for raw in _all(shard, asked)]
    else:
        raws = _all(shard, [("GET", keys.run(run_id, f"c:{bucket}")) for bucket in buckets])
        by_bucket = {bucket: list(RECORD.iter_unpack(raw)) for bucket, raw in zip(buckets, raws, strict=True)}
        records = [by_bucket[job // BUCKET][job % BUCKET] for job in jobs]
    odd = [job for job, record in zip(jobs, records, strict=True) if record[_MARKS] & SPARSE]
    found = _fields(shard, keys.run(run_id, "x"), odd)
    return records, {job: EXTRA.unpack(raw) for job, raw in zip(odd, found, strict=True)}


def _payloads(shard: Shard, run_id: str, wanted: dict[int, Any], kept: Payloads) -> dict[int, bytes]:
    fences = {job: record[_FENCE] for job, record in wanted.items() if record[_LENGTH]}
    found = dict.fromkeys(wanted.keys() - fences.keys(), NULL)
    found |= kept.known(run_id, fences)
    missing = sorted(fences.keys() - found.keys())
    for part in _portions(missing, [wanted[job][_LENGTH] for job in missing]):
        hashes = [(number, list(jobs)) for number, jobs in groupby(part, lambda job: job // VALUES)]
        asked = [("HMGET", shard.keys.run(run_id, f"v:{number}"), *map(name_of, jobs)) for number, jobs in hashes]
        for (_, jobs), payloads in zip(hashes, _all(shard, asked), strict=True):
            found.update(zip(jobs, payloads, strict=True))
            kept.put(run_id, {(job, fences[job]): payload for job, payload in zip(jobs, payloads, strict=True)})
    return found


def _portions(jobs: Sequence[int], lengths: Sequence[int]) -> Iterator[list[int]]:
    """Cut so that no call reads much: the server serves nobody else meanwhile."""
    part: list[int] = []
    size = 0
    for job, length in zip(jobs, lengths, strict=True):
        if part and (len(part) == FIELDS_AT_ONCE or size + length > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(job)
        size += length
    if part:
        yield part


def _fields(shard: Shard, key: str, jobs: Sequence[int]) -> list[Any]:
    found: list[Any] = []
    for first in range(0, len(jobs), FIELDS_AT_ONCE):
        found += shard.server.call("HMGET", key, *map(name_of, jobs[first : first + FIELDS_AT_ONCE]))
    return found


def _all(shard: Shard, commands: Sequence[Sequence[Any]]) -> list[Any]:
    answers = shard.server.calls(commands)
    for answered in answers:
        if isinstance(answered, Exception):
            raise answered
    return answers
