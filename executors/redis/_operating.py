"""What operators may ask of runs on a server, read outside of scripts and by pages; see `flows.operating.Operator`.

What there is stands in sorted sets that scripts keep up: runs as they were submitted, ended ones by flow, dead letters
by queue. A listing goes along them, in each shard a page at a time, and merges what it finds.
"""

from __future__ import annotations

import heapq
import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from executors.redis._doctor import examine
from executors.redis._indexes import AT_ONCE, GRAVE, Entry, exhume, graves, is_of, names_of, newest, oldest, parts_of
from executors.redis._layout import COURSE
from executors.redis._limited import limits_of
from executors.redis._part import Part, served_in
from executors.redis._shard import Shard
from flows._names import shown
from flows._state import CONTROL_QUEUE, FAILED, STATE_NAMES
from flows._views import end_state
from flows.errors import DefinitionError, UnknownRunError

if TYPE_CHECKING:
    from flows.operating import Check, DeadJob, DeadPage, Pruned, QueueSummary, RunPage, RunState, RunSummary

LOOKED_AT: Final = 5000
"""Runs that one page looks at: it may then have few, and a cursor to go on by."""

_MICRO: Final = 1_000_000
_OPEN, _SIZE, _ENDED = 0, 2, 6
_LANES_AT_ONCE: Final = 500

Cursor = tuple[float, str]


class _Stand(NamedTuple):
    """A run, as a listing sees it. Instants are microseconds."""

    shard: Shard
    id: str
    submitted: float
    name: str
    key: str | None
    state: Any
    ended: int | None
    size: int
    open: int


class Operating:
    """The verbs of an operator, for an executor that has the parts of a namespace."""

    address: Any
    parts: list[Part]

    @abstractmethod
    def find(self, *, run_id: str | None = None, key: str | None = None) -> Any:
        """As the executor's."""

    def runs(
        self, *, state: RunState | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> RunPage:
        """The runs of the namespace, newest first."""
        from flows.operating import RunPage

        found: list[_Stand] = []
        after = None if cursor is None else _read(cursor)
        for looked, stand in enumerate(self._stands(after)):
            if len(found) == limit or looked == LOOKED_AT:
                return RunPage([self._summary(one) for one in found], None if after is None else _written(after))
            after = stand.submitted, stand.id
            if _is(stand, state, flow):
                found.append(stand)
        return RunPage([self._summary(one) for one in found], None)

    def queues(self) -> Sequence[QueueSummary]:
        """The queues that have open jobs, dead letters, limits, workers or a pause, by name."""
        from flows.operating import QueueSummary

        served = Counter(queue for queues in served_in(self.parts).values() for queue in queues)
        shards = [part.store.shard for part in self.parts]
        known = {name.decode() for shard in shards for name in shard.server.call("SMEMBERS", shard.keys.of("queues"))}
        limits = self._limits()
        found = []
        for name in sorted({*known, *served, *limits} - {CONTROL_QUEUE}):
            counts = [sum(column) for column in zip(*[_counted(shard, name) for shard in shards], strict=True)]
            paused, concurrency, rate = limits.get(name, (False, None, None))
            if any(counts) or name in limits or name in served:
                waiting, delayed, active, dead = counts
                about = paused, concurrency, rate, served[name]
                found.append(QueueSummary(name, waiting, delayed, active, dead, *about))
        return found

    def pause_queue(self, queue: str) -> None:
        """Hand out no job of a queue until it is resumed."""
        for part in self.parts:
            part.store.pause(queue, paused=True)

    def resume_queue(self, queue: str) -> None:
        """Hand out the jobs of a queue again."""
        for part in self.parts:
            part.store.pause(queue, paused=False)

    def dead_letters(
        self, *, queue: str | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeadPage:
        """What failed for good by itself, newest runs first."""
        from flows._dead_letters import dead_letter
        from flows.operating import DeadJob, DeadPage

        line = self._newest("dead" if queue is None else f"q:{queue}:dead", None if cursor is None else _grave(cursor))
        found: list[DeadJob] = []
        after = None if cursor is None else _grave(cursor)
        records: dict[str, Any] = {}
        for looked, entry in enumerate(line):
            if after is not None and (len(found) == limit or looked == LOOKED_AT):
                return DeadPage(found, f"{after[0]:.0f}/{after[1].hex()}")
            run_id, job = parts_of(entry[1])
            if run_id not in records:
                records = {run_id: self.find(run_id=run_id)}
            record, after = records[run_id], entry
            if record is None or (flow is not None and record.header.name != flow):
                continue
            if record.state_of(job) == STATE_NAMES[FAILED] and record.first_cause(job) == job:  # else it is done again
                letter = dead_letter(record, job)
                found.append(DeadJob(run_id, record.key, record.header.name, record.ended, letter))
        return DeadPage(found, None)

    def drop_dead_letters(self, run_id: str, jobs: Sequence[str] | None = None) -> int:
        """Take dead letters of a run off the list."""
        record = self.find(run_id=run_id)
        if record is None:
            raise UnknownRunError(f"there is no run of id {shown(run_id)} here")
        shard = record.part.store.shard
        named = graves(shard, run_id)
        if jobs is not None and named:
            ids, wanted = record.plan.ids, frozenset(jobs)
            rows = names_of(row for row in (GRAVE.unpack(one)[0] for one in named) if ids[row] in wanted)
            named = [one for one in named if is_of(one, rows)]
        return exhume(shard, run_id, named, all_of_them=True)

    def prune(
        self,
        *,
        older_than: float | None = None,
        state: RunState | None = None,
        flow: str | None = None,
        keep: int | None = None,
        limit: int = 500,
        dry_run: bool = False,
    ) -> Pruned:
        """Remove ended runs before their retention would, oldest first."""
        from flows.operating import Pruned

        latest = self.parts[0].store.clock() * _MICRO - (older_than or 0.0) * _MICRO
        due: list[_Stand] = []
        for stand in self._ended(flow, keep):
            if len(due) > limit or (older_than is not None and (stand.ended or 0) > latest):
                break
            if _is(stand, state, flow):
                due.append(stand)
        pruned = Pruned([self._summary(stand) for stand in due[:limit]], len(due) > limit)
        if not dry_run and due:
            for shard, entries in _by_shard(due[:limit]).items():
                shard.server.call("ZADD", shard.keys.of("retire"), "XX", *entries)  # only those that are ended still
                while shard.retire():
                    pass
        return pruned

    def doctor(self) -> Sequence[Check]:
        """Look at the server."""
        from flows.operating import Check

        return [Check(one.name, one.status, one.found, one.remedy) for one in examine(self.address)]

    def _limits(self) -> dict[str, tuple[bool, int | None, tuple[int, float] | None]]:
        """What is published of queues: paused, concurrency, rate."""
        found: dict[str, tuple[bool, int | None, tuple[int, float] | None]] = {}
        for part in self.parts:
            for name, (paused, concurrency, rate) in limits_of(part.store.shard).items():
                found[name] = paused or found.get(name, (False, None, None))[0], concurrency, rate
        return found

    def _newest(self, name: str, after: Entry | None) -> Iterator[Entry]:
        """The entries of a sorted set that each shard has, highest first."""
        shards = [part.store.shard for part in self.parts]
        return heapq.merge(*[newest(shard.server, shard.keys.of(name), after) for shard in shards], reverse=True)

    def _stands(self, after: Cursor | None) -> Iterator[_Stand]:
        """How runs stand, the newest first, those behind *after*."""
        begun = None if after is None else (after[0], after[1].encode())
        lines = []
        for part in self.parts:
            shard = part.store.shard
            lines.append(_stood(shard, newest(shard.server, shard.keys.of("runs"), begun)))
        return heapq.merge(*lines, key=lambda stand: (stand.submitted, stand.id.encode()), reverse=True)

    def _ended(self, flow: str | None, keep: int | None) -> Iterator[_Stand]:
        """Ended runs, oldest first, but for the newest *keep* of each flow."""
        lines = []
        for part in self.parts:
            shard = part.store.shard
            keys, server = shard.keys, shard.server
            names = [name.decode() for name in server.call("SMEMBERS", keys.of("names"))] if flow is None else [flow]
            lines += [
                _stood(shard, oldest(server, keys.of(f"n:{name}"), self._prunable(name, shard, keep))) for name in names
            ]
        ended = heapq.merge(*lines, key=lambda stand: (stand.submitted, stand.id))
        return (stand for stand in ended if stand.ended is not None)

    def _prunable(self, name: str, shard: Shard, keep: int | None) -> int | None:
        """How many of the oldest runs of a flow in a shard are not among its newest *keep*; None: all."""
        if keep is None:
            return None
        key = shard.keys.of(f"n:{name}")
        count: int = shard.server.call("ZCARD", key)
        if len(self.parts) == 1:
            return max(0, count - keep)
        kept = [member for _, member in itertools.islice(self._newest(f"n:{name}", None), keep)]
        here = shard.server.calls([("ZSCORE", key, member) for member in kept])
        return max(0, count - sum(score is not None for score in here))

    def _summary(self, stand: _Stand) -> RunSummary:
        from flows.operating import RunSummary

        error = None
        if stand.state in ("failed", "cancelled"):
            record = self.find(run_id=stand.id)
            if record is not None and end_state(record) == stand.state:
                roots = record.origin.roots
                wrong = next((root for root in roots if record.state_of(root) == stand.state), None)
                error = None if wrong is None else record.failed(wrong)
        ended = None if stand.ended is None else _instant(stand.ended)
        return RunSummary(
            *(stand.id, stand.key, stand.name, stand.state, _instant(stand.submitted), ended),
            *(stand.size, stand.open, error),
        )

    reader: Any


def _counted(shard: Shard, queue: str) -> tuple[int, int, int, int]:
    """How many jobs of a queue wait, are delayed, are active, and are dead letters."""
    keys, server = shard.keys, shard.server
    asked = [("ZCARD", keys.queue(queue, part)) for part in ("due", "leases", "suspects", "dead")]
    delayed, active, waiting, dead = server.calls(asked)
    lanes = server.call("ZRANGE", keys.queue(queue, "ring"), 0, -1)
    for first in range(0, len(lanes), _LANES_AT_ONCE):
        some = lanes[first : first + _LANES_AT_ONCE]
        waiting += sum(server.calls([("LLEN", keys.of("j:").encode() + lane) for lane in some]))
    return waiting, delayed, active, dead


def _stood(shard: Shard, line: Iterator[Entry]) -> Iterator[_Stand]:
    """How the runs of a line stand, some at a time."""
    fields = ("course", "name", "key", "state", "ended")
    while places := [(score, member.decode()) for score, member in itertools.islice(line, AT_ONCE)]:
        asked = [("HMGET", shard.keys.run(run_id), *fields) for _, run_id in places]
        for (submitted, run_id), found in zip(places, shard.server.calls(asked), strict=True):
            if isinstance(found, Exception):
                raise found
            if found[0] is None:
                continue  # it was retired meanwhile
            course = COURSE.unpack(found[0])
            over = bool(course[_ENDED])
            _, name, key, state, ended = (None if raw is None else raw.decode() for raw in [None, *found[1:]])
            yield _Stand(
                *(shard, run_id, submitted, name or "", key, state if over else "running"),
                *(int(ended) if over and ended else None, course[_SIZE], course[_OPEN]),
            )


def _by_shard(stands: Sequence[_Stand]) -> dict[Shard, list[Any]]:
    """What has runs forgotten at once, by the shard that they are in."""
    entries: dict[Shard, list[Any]] = {}
    for stand in stands:
        entries.setdefault(stand.shard, []).extend((0, stand.id))
    return entries


def _is(stand: _Stand, state: str | None, flow: str | None) -> bool:
    return (flow is None or stand.name == flow) and (state is None or stand.state == state)


def _instant(micros: float) -> datetime:
    return datetime.fromtimestamp(micros / _MICRO, UTC)


def _written(after: Cursor) -> str:
    return f"{after[0]:.0f}/{after[1]}"


def _grave(cursor: str) -> tuple[float, bytes]:
    at, member = _read(cursor)
    try:
        return at, bytes.fromhex(member)
    except ValueError:
        raise _unknown(cursor) from None


def _read(cursor: str) -> Cursor:
    at, slash, name = cursor.partition("/")
    try:
        if slash:
            return float(at), name
    except ValueError:
        pass
    raise _unknown(cursor)


def _unknown(cursor: str) -> DefinitionError:
    return DefinitionError(f"cursor {shown(cursor)}: no page of a listing gave it; leave it out to begin anew")
