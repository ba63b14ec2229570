"""Columns: all that a machine must know of a run that has ended, read from its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from struct import Struct
from typing import Any, Final

from executors.redis._keys import BUCKET
from executors.redis._layout import CODES, COURSE, EXTRA, GATED, LIST, OWN, PASSED, RECORD, ROOT, SPARSE, STAMPED
from executors.redis._lists import moulds_of
from executors.redis._moulds import Known, Mould, known_of
from executors.redis._shard import Shard
from flows._state import COMPLETED, FAIL, RunState

_LIMIT, _FLAGS, _EDGES_AT, _EDGES, _STATE, _MARKS, _MADE, _LOST, _PENDING, _ORDINAL = 1, 2, 5, 6, 9, 10, 11, 13, 14, 15
_UNBORN: Final = bytes(RECORD.size)


class Columns:
    """A run that has ended, as its records say.

    Attributes:
        course: Its course.
        ended: Whether it has ended, with all edges applied.
        openings: How often it was begun.
        timeout: Microseconds that it has when it is opened again; 0: any time.
        records: Of all rows, those of jobs that were not stamped out included.
        extras: What is sparse, by job.
        tails: Edges and inputs that do not fit into records, by bucket.
        changed_tails: The buckets whose tails are longer than they were.
        own: Jobs that ended with an error of their own.
        delays: Seconds, by job.
        joined: Jobs with edges into items of lists, which their records do not have.
    """

    ATTEMPT = Struct("<BHHdd")

    def __init__(self, run_id: str, fields: list[bytes | None], timeout: int) -> None:
        self.run_id = run_id
        assert fields[0] is not None
        self.course: tuple[Any, ...] = COURSE.unpack(fields[0])
        self.openings = int(fields[1] or 1)
        self.timeout = timeout
        self.ended = bool(self.course[6]) and not self.course[4]
        self.first = self.course[14]
        self.records: list[tuple[Any, ...]] = []
        self.extras: dict[int, tuple[Any, ...]] = {}
        self.tails: dict[int, bytearray] = {}
        self.changed_tails: set[int] = set()
        self.knowns: dict[int, Known] = {}
        self.moulds: dict[int, Mould] = {}
        self.joined: set[int] = set()
        self.delays: dict[int, float] = {}

    def is_born(self, job: int) -> bool:
        """Whether a row has a job: those set apart for items have none before they are stamped out."""
        return job < self.first or bool(self.records[job][_FLAGS] & STAMPED)

    def is_control(self, job: int) -> bool:
        """Whether a job has come to no attempt: it is a list, or its condition has not held."""
        record = self.records[job]
        return bool(record[_FLAGS] & LIST or (record[_FLAGS] & GATED and not record[_MARKS] & PASSED))

    def rows_of(self, list_job: int) -> Iterator[int]:
        """The jobs of all items of a list, and of the lists among them."""
        known = self.knowns.get(list_job)
        if known is None:
            return
        size = self.moulds[known.body].size
        for first, items in known.segments:
            for row in range(first, first + items * size):
                if self.is_born(row):
                    yield row
                    yield from self.rows_of(row)

    def make(self) -> None:
        """Make the machine's columns of what was read."""
        records = self.records
        self.roots = [job for job in range(self.first) if records[job][_FLAGS] & ROOT]
        self.own = {job for job, record in enumerate(records) if record[_MARKS] & OWN and self.is_born(job)}
        edges: list[list[int]] = []
        effects: dict[int, list[int]] = {}
        for job, record in enumerate(records):
            targets, codes = self._edges(job, record) if self.is_born(job) else ([], [])
            edges.append(targets)
            if any(codes):
                effects[job] = codes
        state = RunState(
            size=len(records),
            state=[record[_STATE] if self.is_born(job) else COMPLETED for job, record in enumerate(records)],
            pending=[record[_PENDING] for record in records],
            ordinal=[record[_ORDINAL] for record in records],
            edges=edges,
            effects=effects,
            delays=self.delays,
            limits=[record[_LIMIT] for record in records],
        )
        state.open, state.turn = self.course[0], self.course[1]
        state.made = {job: record[_MADE] for job, record in enumerate(records) if record[_MADE]}
        state.lost = {job: record[_LOST] for job, record in enumerate(records) if record[_LOST]}
        for job, extra in self.extras.items():
            columns = (state.dooms, state.skips, state.cancels, state.conts)
            for column, count in zip(columns, extra[:4], strict=True):
                if count:
                    column[job] = count
            if extra[4] >= 0:
                state.cause[job] = extra[4]
            if extra[6]:
                state.cut[job] = extra[6]
            if extra[7] >= 0:
                state.lists[job], state.begun[job] = extra[7], extra[8]
        self.state = state

    def join(self, outer: dict[int, list[tuple[int, int, int]]]) -> None:
        """Add the edges that lead from jobs around lists into their items.

        Args:
            outer: For each body its (link, dependent, code).
        """
        state: Any = self.state
        wanted: dict[int, dict[int, list[int]]] = {}
        for list_job, known in self.knowns.items():
            mould, begun = self.moulds[known.body], state.begun.get(list_job, 0)
            for position in range(begun):
                base = known.base_of(position, mould.size)
                state.item_of[base + mould.root] = list_job
                for link, dependent, code in outer[known.body]:
                    child = known.links[link]
                    if child >= 0 and self.is_born(base + dependent):
                        wanted.setdefault(child, {}).setdefault(base + dependent, []).append(code)
        for child, dependents in wanted.items():
            self.joined.add(child)
            there = Counter(state.edges[child])  # since an earlier reopening
            for row, codes in dependents.items():
                for code in codes[there[row] :]:
                    self._add(child, row, code)

    def _add(self, child: int, dependent: int, code: int) -> None:
        state: Any = self.state
        if code != FAIL or child in state.effects:
            state.effects.setdefault(child, [FAIL] * len(state.edges[child])).append(code)
        state.edges[child].append(dependent)

    def _edges(self, job: int, record: tuple[Any, ...]) -> tuple[list[int], list[int]]:
        count, at = record[_EDGES], record[_EDGES_AT]
        if not record[_FLAGS] & CODES and count <= 1:
            return ([at] if count else []), []
        tail = self.tails[job // BUCKET]
        targets = list(Struct(f"<{count}I").unpack_from(tail, at))
        if not record[_FLAGS] & CODES:
            return targets, []
        at += 4 * count
        return targets, list(tail[at : at + count])


def read_columns(shard: Shard, run_id: str) -> Columns | None:
    """Read a run; None if it is gone."""
    server, keys = shard.server, shard.keys
    fields = server.call("HMGET", keys.run(run_id), "course", "openings", "timeout")
    if fields[0] is None:
        return None
    columns = Columns(run_id, fields, int(fields[2] or 0))
    if not columns.ended:
        return columns
    size = columns.course[2]
    for number in range((size + BUCKET - 1) // BUCKET):
        raw, tail = server.calls([("GET", keys.run(run_id, f"{part}:{number}")) for part in "ce"])
        wanted = min(BUCKET, size - number * BUCKET) * RECORD.size
        columns.records += RECORD.iter_unpack((raw or b"").ljust(wanted, b"\0")[:wanted])
        if tail is not None:
            columns.tails[number] = bytearray(tail)
    sparse = _hash(shard, keys.run(run_id, "x"))
    for job, record in enumerate(columns.records):
        if record[_MARKS] & SPARSE:
            columns.extras[job] = EXTRA.unpack(sparse[job])
    columns.knowns = {job: known_of(packed) for job, packed in _hash(shard, keys.run(run_id, "l")).items()}
    numbers = sorted({known.body for known in columns.knowns.values()})
    columns.moulds = moulds_of(shard, run_id, numbers)
    columns.delays = {job: int(delay) / 1e6 for job, delay in _hash(shard, keys.run(run_id, "d")).items()}
    columns.make()
    columns.join({number: columns.moulds[number].outer for number in numbers})
    return columns


def _hash(shard: Shard, key: str) -> dict[int, bytes]:
    """A hash by job, read in pieces."""
    found: dict[int, bytes] = {}
    cursor = b"0"
    while True:
        cursor, pairs = shard.server.call("HSCAN", key, cursor, "COUNT", 500)
        found |= {int.from_bytes(name, "little"): value for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
        if int(cursor) == 0:
            return found
