"""What is read of runs on a server, by anyone at any time: `executors._stored.Reader`, outside of any script.

Each call takes a bounded piece: at most 500 fields, and about a mebibyte. What is read in several pieces may be of
several moments; a run that goes on is looked at again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from struct import Struct
from typing import Any, Final, cast

from executors._stored import Input, JobFacts, ListFacts, PastAttempt, RunFacts, StoredEvent
from executors.redis._inputs import FIELDS_AT_ONCE, Payloads, ends_of
from executors.redis._keys import BUCKET, VALUES
from executors.redis._layout import COURSE, EXTRA, LIST, OWN, RECORD, REPLAYED, SPARSE, name_of
from executors.redis._lists import moulds_of
from executors.redis._moulds import Known, known_of
from executors.redis._outlook import Ended
from executors.redis._rows import read_all_rows
from executors.redis._shard import Shard
from executors.redis._told import History, told_of
from executors.redis._waiting import Hub
from flows._state import ACTIVE, COMPLETED, DELAYED, FAILED, WAITING
from flows.errors import UnknownRunError

MICRO: Final = 1_000_000
BYTES_AT_ONCE: Final = 1 << 20
RUNS_KNOWN: Final = 256

_FLAGS, _PRIORITY = 2, 3
_STATE, _MARKS, _ATTEMPT, _FENCE, _LENGTH, _WORKER, _STARTED, _FINISHED = 9, 10, 12, 16, 17, 18, 19, 20
_CAUSE, _ITEMS, _BEGUN, _TRIES, _DUE = 4, 7, 8, 9, 11
_SIZE, _ENDED, _OWN_JOBS = 2, 6, 14
_LOST: Final = 10
_OUTCOMES: Final = {4: "completed", 5: "failed", 6: "skipped", 7: "cancelled", 9: "released", _LOST: "lost"}
_PAST: Final = Struct("<BHHdd")

_UNBORN: Final = RECORD.unpack(bytes(RECORD.size))
"""Of a row that is kept for an item which has not been stamped out."""

HeldBack = Callable[[str, int, str], str | None]


class ServerReader:
    """Answers about runs, which go by their ids.

    Args:
        shard: Where the runs are.
        events: Hears of what happens to them.
        clock: The server's.
        held_back: Says what keeps a job of a queue back: run, job, queue.
    """

    def __init__(self, shard: Shard, events: Hub, clock: Callable[[], float], held_back: HeldBack) -> None:
        self._shard = shard
        self._events = events
        self._clock = clock
        self._held_back = held_back
        self._payloads = Payloads()
        self._workers: OrderedDict[str, dict[int, str]] = OrderedDict()

    def now(self) -> float:
        """The store's clock."""
        return self._clock()

    def facts(self, run: str) -> RunFacts:
        """How the run stands."""
        course, submitted, ended, reason, openings = self._fields(
            run, "course", "submitted", "ended", "reason", "openings"
        )
        if course is None or submitted is None:
            raise unknown(run)
        stands = COURSE.unpack(course)
        over = bool(stands[_ENDED])
        at = int(ended) / MICRO if over and ended else None
        return RunFacts(over, int(submitted) / MICRO, at, (reason or b"").decode(), int(openings or 1), stands[_SIZE])

    def look_ahead(self, runs: Sequence[tuple[str, int]]) -> list[Ended | None]:
        """How runs and their only roots, which are no lists, have ended; None where a run has not, or is gone.

        Raises:
            UnknownRunError: The first is gone.
        """
        keys, size = self._shard.keys, RECORD.size
        asked: list[tuple[Any, ...]] = []
        for run, root in runs:
            at = root % BUCKET * size
            asked.append(("HMGET", keys.run(run), "course", "submitted"))
            asked.append(("GETRANGE", keys.run(run, f"c:{root // BUCKET}"), at, at + size - 1))
            asked.append(("HMGET", keys.run(run, f"v:{root // VALUES}"), name_of(root)))
        answered = self._shard.server.calls(asked)
        for one in answered:
            if isinstance(one, Exception):
                raise one
        if None in answered[0]:
            raise unknown(runs[0][0])
        triples = zip(runs, answered[::3], answered[1::3], answered[2::3], strict=True)
        return [_end(run, *found) for (run, _), *found in triples]

    def header(self, run: str) -> bytes:
        """The run's header."""
        (header,) = self._fields(run, "header")
        if header is None:
            raise unknown(run)
        return bytes(header)

    def rows(self, run: str) -> Sequence[bytes]:
        """What was submitted of each job."""
        return cast("list[bytes]", read_all_rows(self._shard, run, self._course(run)[_OWN_JOBS]))

    def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
        """How these jobs stand, or all of them."""
        wanted = range(self._course(run)[_SIZE]) if jobs is None else jobs
        records = self._records(run, wanted)
        odd = [job for job, record in zip(wanted, records, strict=True) if record[_MARKS] & SPARSE]
        extras = dict(zip(odd, map(EXTRA.unpack, self._sparse(run, odd)), strict=True))
        workers = self._workers_of(run, {record[_WORKER] for record in records})
        return [_facts(record, extras.get(job), workers) for job, record in zip(wanted, records, strict=True)]

    def payloads(self, run: str, jobs: Sequence[int]) -> Sequence[bytes | None]:
        """The value of each job that completed, the failure of each that has one of its own."""
        found: list[bytes | None] = [None] * len(jobs)
        records = self._records(run, jobs)
        asked: list[tuple[int, int, int]] = []
        for place, (job, record) in enumerate(zip(jobs, records, strict=True)):
            if record[_STATE] == COMPLETED and record[_FLAGS] & LIST:
                continue
            if record[_STATE] == COMPLETED and not record[_LENGTH]:
                found[place] = b"null"
            elif record[_LENGTH] and (record[_STATE] == COMPLETED or record[_MARKS] & OWN):
                asked.append((place, job, record[_LENGTH]))
        for part in _portions(asked):
            values = self._values(run, "v", [job for _, job, _ in part])
            for (place, _, _), value in zip(part, values, strict=True):
                found[place] = value
        return found

    def ends(self, run: str, jobs: Sequence[int]) -> Sequence[Input]:
        """How these jobs ended, as a grant would bring it."""
        return ends_of(self._shard, run, list(jobs), self._payloads)

    def items(self, run: str, list_job: int) -> Sequence[bytes]:
        """The items of a list."""
        (known,) = self._knowns(run, (list_job,))
        ((length, _),) = self._lengths(run, (list_job,))
        if known is None or length <= 0:
            return ()
        size = moulds_of(self._shard, run, [known.body])[known.body].size
        bases = [known.base_of(position, size) for position in range(length)]
        return self._values(run, "i", bases)

    def lists(self, run: str) -> Sequence[ListFacts]:
        """The lists that are expanded."""
        jobs = [int.from_bytes(field, "little") for field in self._shard.server.call("HKEYS", self._key(run, "l"))]
        found: list[ListFacts] = []
        for job, known, (length, begun) in zip(jobs, self._knowns(run, jobs), self._lengths(run, jobs), strict=True):
            if known is not None and length >= 0:
                found.append(ListFacts(job, known.body, length, begun, known.segments, known.links))
        return sorted(found, key=lambda one: one.segments[0][0] if one.segments else 0)

    def history(self, run: str, job: int) -> Sequence[PastAttempt]:
        """Earlier attempts."""
        (record,) = self._records(run, (job,))
        if not record[_MARKS] & SPARSE:
            return ()
        (extra,) = map(EXTRA.unpack, self._sparse(run, (job,)))
        fields = [name_of(job) + number.to_bytes(2, "little") for number in range(extra[_TRIES])]
        found = [raw for raw in self._hash(run, "a", fields) if raw is not None]
        workers = self._workers_of(run, {_PAST.unpack_from(raw)[2] for raw in found})
        return [_past(raw, workers) for raw in found]

    def histories(self, run: str) -> Sequence[int]:
        """The jobs that have earlier attempts."""
        key = self._shard.keys.run(run, "a")
        jobs: set[int] = set()
        cursor: bytes = b"0"
        while True:
            cursor, found = self._shard.server.call("HSCAN", key, cursor, "COUNT", FIELDS_AT_ONCE)
            jobs.update(int.from_bytes(field[:4], "little") for field in found[::2])
            if cursor == b"0":
                return sorted(jobs)

    def progress(self, run: str, job: int) -> bytes | None:
        """What the handler last said."""
        (said,) = self._hash(run, "p", [name_of(job)])
        return None if said is None else bytes(said)

    def logs(self, run: str, job: int) -> Sequence[str]:
        """What the handler logged."""
        (lines,) = self._hash(run, "g", [name_of(job)])
        names = [name_of(job) + number.to_bytes(4, "little") for number in range(int(lines or 0))]
        return [line.decode() for line in self._hash(run, "g", names) if line is not None]

    def ahead_of(self, run: str, job: int) -> int | None:
        """How many jobs of the run stand before a waiting job in its queue."""
        (record,) = self._records(run, (job,))
        if record[_STATE] != WAITING:
            return None
        (lanes,) = self._fields(run, "lanes")
        queue, priority = record[0], record[_PRIORITY]
        before = [lane for lane in (lanes or b"").decode().split() if _lane(lane)[0] == queue]
        earlier = [lane for lane in before if _lane(lane)[1] < priority]
        keys = self._shard.keys
        asked: list[tuple[Any, ...]] = [("LLEN", keys.lane(run, lane)) for lane in earlier]
        asked.append(("LPOS", keys.lane(run, f"{queue}:{priority}"), name_of(job)))
        *lengths, place = self._shard.server.calls(asked)
        return sum(lengths) + place if isinstance(place, int) else None

    def held_back(self, run: str, job: int) -> str | None:
        """What keeps a waiting job back other than its turn."""
        (record,) = self._records(run, (job,))
        if record[_STATE] != WAITING:
            return None
        (queues,) = self._fields(run, "queues")
        names = (queues or b"").decode().split("\n")
        return self._held_back(run, job, names[record[0]]) if record[0] < len(names) else None

    def events(self, run: str, position: int) -> tuple[Sequence[StoredEvent], int]:
        """Events from *position* on."""
        return told_of(self._shard, self, run, position)

    def listen(self, run: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change."""
        return self._events.watch(run, changed)

    def stir(self) -> None:
        """Have all who watch a run look at it."""
        self._events.stir()

    def past_of(self, run: str) -> History:
        """Failures of earlier attempts, and origins of results that were taken, for events that tell of them."""
        return History(lambda job: self.history(run, job), lambda job: self._hash(run, "o", [name_of(job)])[0])

    def _course(self, run: str) -> tuple[Any, ...]:
        (course,) = self._fields(run, "course")
        if course is None:
            raise unknown(run)
        return COURSE.unpack(course)

    def _key(self, run: str, part: str) -> str:
        return self._shard.keys.run(run, part)

    def _knowns(self, run: str, lists: Sequence[int]) -> list[Known | None]:
        return [None if raw is None else known_of(raw) for raw in self._hash(run, "l", list(map(name_of, lists)))]

    def _lengths(self, run: str, lists: Sequence[int]) -> list[tuple[int, int]]:
        """How many items lists have, and how many have been stamped out; -1 items where they are not expanded."""
        found = [None if raw is None else EXTRA.unpack(raw) for raw in self._sparse(run, lists)]
        return [(-1, 0) if extra is None else (extra[_ITEMS], extra[_BEGUN]) for extra in found]

    def _fields(self, run: str, *fields: str) -> list[Any]:
        found: list[Any] = self._shard.server.call("HMGET", self._shard.keys.run(run), *fields)
        return found

    def _records(self, run: str, jobs: Sequence[int]) -> list[tuple[Any, ...]]:
        keys, size = self._shard.keys, RECORD.size
        buckets = dict.fromkeys(job // BUCKET for job in jobs)
        if len(jobs) <= len(buckets) * 2:
            places = [(keys.run(run, f"c:{job // BUCKET}"), job % BUCKET * size) for job in jobs]
            raws = self._shard.server.calls([("GETRANGE", key, at, at + size - 1) for key, at in places])
            return [_record(run, raw, 0) for raw in raws]
        raws = self._shard.server.calls([("GET", keys.run(run, f"c:{bucket}")) for bucket in buckets])
        by_bucket = dict(zip(buckets, raws, strict=True))
        return [_record(run, by_bucket[job // BUCKET], job % BUCKET * size) for job in jobs]

    def _values(self, run: str, part: str, jobs: Sequence[int]) -> list[Any]:
        """Fields of the hashes that are kept by bucket."""
        found: list[Any] = []
        for first in range(0, len(jobs), FIELDS_AT_ONCE):
            some = jobs[first : first + FIELDS_AT_ONCE]
            hashes = [(number, list(those)) for number, those in groupby(some, lambda job: job // VALUES)]
            asked = [("HMGET", self._key(run, f"{part}:{number}"), *map(name_of, those)) for number, those in hashes]
            for values in self._shard.server.calls(asked):
                if isinstance(values, Exception):
                    raise values
                found += values
        return found

    def _sparse(self, run: str, jobs: Sequence[int]) -> list[Any]:
        return self._hash(run, "x", list(map(name_of, jobs)))

    def _hash(self, run: str, part: str, fields: Sequence[bytes]) -> list[Any]:
        key = self._shard.keys.run(run, part)
        found: list[Any] = []
        for first in range(0, len(fields), FIELDS_AT_ONCE):
            found += self._shard.server.call("HMGET", key, *fields[first : first + FIELDS_AT_ONCE])
        return found

    def _workers_of(self, run: str, numbers: set[int]) -> dict[int, str]:
        """The names of workers by their numbers in the run."""
        known = self._workers.get(run, {})
        if not numbers - known.keys() - {0}:
            return known
        fields = self._shard.server.call("HGETALL", self._shard.keys.run(run))
        pairs = zip(fields[::2], fields[1::2], strict=True)
        known = {int(value): name[2:].decode() for name, value in pairs if name.startswith(b"w:")}
        self._workers[run] = known
        while len(self._workers) > RUNS_KNOWN:
            self._workers.popitem(last=False)
        return known


def unknown(run: str) -> UnknownRunError:
    """The run is gone."""
    return UnknownRunError(f"run {run} is no longer on the server: past its retention, or lost with the server's data")


def _end(run: str, fields: list[Any], raw: bytes, values: list[Any]) -> Ended | None:
    """How a run and its root have ended, from its hash, the root's record and what is in the place of its value."""
    if None in fields or not COURSE.unpack(fields[0])[_ENDED] or not raw:
        return None
    record = _record(run, raw, 0)
    state = record[_STATE]
    return Ended(state, (values[0] or b"null") if state == COMPLETED else None)


def _record(run: str, raw: Any, at: int) -> tuple[Any, ...]:
    if isinstance(raw, Exception):
        raise raw
    if raw is None:
        raise unknown(run)
    return RECORD.unpack_from(raw, at) if len(raw) >= at + RECORD.size else _UNBORN


def _facts(record: tuple[Any, ...], extra: tuple[Any, ...] | None, workers: dict[int, str]) -> JobFacts:
    state, marks = record[_STATE], record[_MARKS]
    own = bool(marks & OWN)
    cause = -1 if own or extra is None else extra[_CAUSE]
    filed = record[_FENCE] < 0  # its last attempt lost its worker, and is among the earlier ones
    started = record[_STARTED] / MICRO if record[_STARTED] and not filed else None
    finished = record[_FINISHED] / MICRO if record[_FINISHED] and state != ACTIVE else None
    due = extra[_DUE] / MICRO if extra is not None and state == DELAYED and extra[_DUE] else None
    has_failure = own and state > COMPLETED and record[_LENGTH] > 0
    worker = workers.get(record[_WORKER])
    replayed = bool(marks & REPLAYED)
    return JobFacts(state, record[_ATTEMPT], started, finished, worker, due, cause, has_failure, replayed)


def _past(raw: bytes, workers: dict[int, str]) -> PastAttempt:
    outcome, number, worker, started, finished = _PAST.unpack_from(raw)
    kind: Any = _OUTCOMES.get(outcome, "failed")
    failure = raw[_PAST.size :] if outcome in (FAILED, _LOST) else b""
    return PastAttempt(number, started / MICRO, finished / MICRO, kind, failure or None, workers.get(worker))


def _lane(lane: str) -> tuple[int, int]:
    queue, _, priority = lane.partition(":")
    return int(queue), int(priority)


def _portions(asked: Sequence[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
    """Cut so that no call reads much: the server serves nobody else meanwhile."""
    part: list[tuple[int, int, int]] = []
    size = 0
    for one in asked:
        if part and (len(part) == FIELDS_AT_ONCE or size + one[2] > BYTES_AT_ONCE):
            yield part
            part, size = [], 0
        part.append(one)
        size += one[2]
    if part:
        yield part
