"""What operators may ask of runs on a server, read outside of scripts and by pages; see `flows.operating.Operator`."""

from __future__ import annotations

import heapq
import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from executors.redis._doctor import examine
from executors.redis._fleet import served_of
from executors.redis._indexes import AT_ONCE, GRAVE, exhume, graves, is_of, names_of, newest, oldest, parts_of
from executors.redis._layout import COURSE
from flows._names import shown
from flows._state import CONTROL_QUEUE, FAILED, STATE_NAMES
from flows._views import end_state
from flows.errors import DefinitionError, UnknownRunError

if TYPE_CHECKING:
    from executors.redis._store import RedisStore
    from flows.operating import Check, DeadJob, DeadPage, Pruned, QueueSummary, RunPage, RunState, RunSummary

LOOKED_AT: Final = 5000
"""Runs that one page looks at: it may then have few, and a cursor to go on by."""

_MICRO: Final = 1_000_000
_OPEN, _SIZE, _ENDED = 0, 2, 6
_LANES_AT_ONCE: Final = 500

Cursor = tuple[float, str]


class _Stand(NamedTuple):
    """A run, as a listing sees it. Instants are microseconds."""

    id: str
    submitted: float
    name: str
    key: str | None
    state: Any
    ended: int | None
    size: int
    open: int


class Operating:
    """The verbs of an operator, for an executor that has a `RedisStore`."""

    address: Any
    store: RedisStore

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

        keys, server = self.store.shard.keys, self.store.shard.server
        served = Counter(queue for queues in served_of(self.store).values() for queue in queues)
        known = {name.decode() for name in server.call("SMEMBERS", keys.of("queues"))}
        limits = self._limits()
        found = []
        for name in sorted({*known, *served, *limits} - {CONTROL_QUEUE}):
            asked = [("ZCARD", keys.queue(name, part)) for part in ("due", "leases", "suspects", "dead")]
            delayed, active, suspects, dead = server.calls(asked)
            waiting = suspects + self._waiting(name)
            paused, concurrency, rate = limits.get(name, (False, None, None))
            if waiting or delayed or active or dead or name in limits or name in served:
                counts = (waiting, delayed, active, dead)
                found.append(QueueSummary(name, *counts, paused, concurrency, rate, served[name]))
        return found

    def pause_queue(self, queue: str) -> None:
        """Hand out no job of a queue until it is resumed."""
        self.store.pause(queue, paused=True)

    def resume_queue(self, queue: str) -> None:
        """Hand out the jobs of a queue again."""
        self.store.pause(queue, paused=False)

    def dead_letters(
        self, *, queue: str | None = None, flow: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> DeadPage:
        """What failed for good by itself, newest runs first."""
        from flows._dead_letters import dead_letter
        from flows.operating import DeadJob, DeadPage

        key = self.store.shard.keys.of("dead") if queue is None else self.store.shard.keys.queue(queue, "dead")
        found: list[DeadJob] = []
        after = None if cursor is None else _grave(cursor)
        records: dict[str, Any] = {}
        for looked, entry in enumerate(newest(self.store.shard.server, key, after)):
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
        shard = self.store.shard
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

        latest = self.store.clock() * _MICRO - (older_than or 0.0) * _MICRO
        due: list[_Stand] = []
        for stand in self._ended(flow, keep):
            if len(due) > limit or (older_than is not None and (stand.ended or 0) > latest):
                break
            if _is(stand, state, flow):
                due.append(stand)
        pruned = Pruned([self._summary(stand) for stand in due[:limit]], len(due) > limit)
        if not dry_run and due:
            shard = self.store.shard
            entries = [part for stand in due[:limit] for part in (0, stand.id)]
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
        fields = self.store.shard.server.call("HGETALL", self.store.shard.keys.of("limits"))
        found = {}
        for name, stated in zip(fields[::2], fields[1::2], strict=True):
            paused, concurrency, starts, period = map(int, stated.split())
            rate = (starts, period / _MICRO) if starts else None
            found[name.decode()] = bool(paused), concurrency or None, rate
        return found

    def _waiting(self, queue: str) -> int:
        """How many jobs stand in the lanes of a queue."""
        keys, server = self.store.shard.keys, self.store.shard.server
        lanes = server.call("ZRANGE", keys.queue(queue, "ring"), 0, -1)
        waiting = 0
        for first in range(0, len(lanes), _LANES_AT_ONCE):
            some = lanes[first : first + _LANES_AT_ONCE]
            waiting += sum(server.calls([("LLEN", keys.of("j:").encode() + lane) for lane in some]))
        return waiting

    def _stands(self, after: Cursor | None) -> Iterator[_Stand]:
        """How runs stand, the newest first, those behind *after*."""
        shard = self.store.shard
        begun = None if after is None else (after[0], after[1].encode())
        line = newest(shard.server, shard.keys.of("runs"), begun)
        while some := [(score, member.decode()) for score, member in itertools.islice(line, AT_ONCE)]:
            yield from self._stood(some)

    def _stood(self, places: Sequence[Cursor]) -> Iterator[_Stand]:
        keys, fields = self.store.shard.keys, ("course", "name", "key", "state", "ended")
        asked = [("HMGET", keys.run(run_id), *fields) for _, run_id in places]
        for (submitted, run_id), found in zip(places, self.store.shard.server.calls(asked), strict=True):
            if isinstance(found, Exception):
                raise found
            if found[0] is None:
                continue  # it was retired meanwhile
            course = COURSE.unpack(found[0])
            over = bool(course[_ENDED])
            _, name, key, state, ended = (None if raw is None else raw.decode() for raw in [None, *found[1:]])
            yield _Stand(
                *(run_id, submitted, name or "", key, state if over else "running"),
                *(int(ended) if over and ended else None, course[_SIZE], course[_OPEN]),
            )

    def _ended(self, flow: str | None, keep: int | None) -> Iterator[_Stand]:
        """Ended runs, oldest first, but for the newest *keep* of each flow."""
        keys, server = self.store.shard.keys, self.store.shard.server
        names = [name.decode() for name in server.call("SMEMBERS", keys.of("names"))] if flow is None else [flow]
        lines = []
        for name in names:
            key = keys.of(f"n:{name}")
            lines.append(oldest(server, key, None if keep is None else max(0, server.call("ZCARD", key) - keep)))
        ended = heapq.merge(*lines)
        while some := [(score, member.decode()) for score, member in itertools.islice(ended, AT_ONCE)]:
            yield from (stand for stand in self._stood(some) if stand.ended is not None)

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
