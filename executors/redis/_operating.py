"""What operators may ask of runs on a server, read outside of scripts and by pages; see `flows.operating.Operator`."""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from executors.redis._doctor import examine
from executors.redis._fleet import served_of
from executors.redis._layout import COURSE
from flows._names import shown
from flows._state import CONTROL_QUEUE, FAILED
from flows._views import end_state
from flows.errors import DefinitionError, UnknownRunError

if TYPE_CHECKING:
    from executors.redis._store import RedisStore
    from flows._dead_letters import DeadLetter
    from flows.operating import Check, DeadJob, DeadPage, Pruned, QueueSummary, RunPage, RunState, RunSummary

AT_ONCE: Final = 200
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
        """The queues that have open jobs, limits, workers or a pause, by name."""
        from flows.operating import QueueSummary

        keys, server = self.store.shard.keys, self.store.shard.server
        served = Counter(queue for queues in served_of(self.store).values() for queue in queues)
        known = {name.decode() for name in server.call("SMEMBERS", keys.of("queues"))}
        limits = self._limits()
        found = []
        for name in sorted({*known, *served, *limits} - {CONTROL_QUEUE}):
            asked = [("ZCARD", keys.queue(name, part)) for part in ("due", "leases", "suspects")]
            delayed, active, suspects = server.calls(asked)
            waiting = suspects + self._waiting(name)
            paused, concurrency, rate = limits.get(name, (False, None, None))
            if waiting or delayed or active or name in limits or name in served:
                found.append(
                    QueueSummary(name, waiting, delayed, active, None, paused, concurrency, rate, served[name])
                )
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
        from flows.operating import DeadJob, DeadPage

        found: list[DeadJob] = []
        before: Cursor = (float("inf"), "")
        begun, _, place = (cursor or "").partition("#")
        after, seen = None if cursor is None else _read(begun), int(place) if place.isdecimal() else 0
        if seen and after is not None:  # within a run, which is looked at again
            after = after[0], after[1] + "\0"
        for looked, stand in enumerate(self._stands(after)):
            if looked == LOOKED_AT and after is not None:
                return DeadPage(found, _written(after))
            after = stand.submitted, stand.id
            letters = self._letters(stand.id)[::-1] if _is(stand, None, flow) else []
            for number, letter in enumerate(letters):
                if number >= seen and (queue is None or letter.queue == queue):
                    if len(found) == limit:
                        return DeadPage(found, f"{_written(after)}#{number}" if number else _written(before))
                    found.append(DeadJob(stand.id, stand.key, stand.name, stand.ended is not None, letter))
            before, seen = after, 0
        return DeadPage(found, None)

    def drop_dead_letters(self, run_id: str, jobs: Sequence[str] | None = None) -> int:
        """Take dead letters of a run off the list."""
        if self.find(run_id=run_id) is None:
            raise UnknownRunError(f"there is no run of id {shown(run_id)} here")
        letters = [one for one in self._letters(run_id) if jobs is None or one.job in jobs]
        fields = [part for one in letters for part in (f"dropped:{one.job}", str(one.at))]
        if fields:
            self.store.shard.server.call("HSET", self.store.shard.keys.run(run_id), *fields)
        return len(letters)

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

        now = self.store.clock() * _MICRO
        ended = sorted((one for one in self._stands(None) if one.ended is not None), key=lambda one: -(one.ended or 0))
        spared: Counter[str] = Counter()
        due: list[_Stand] = []
        for stand in ended:
            spared[stand.name] += 1
            old = older_than is None or now - (stand.ended or 0) >= older_than * _MICRO
            if old and _is(stand, state, flow) and (keep is None or spared[stand.name] > keep):
                due.append(stand)
        due.reverse()
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
        keys, server = self.store.shard.keys, self.store.shard.server
        highest: Any = "+inf" if after is None else after[0]
        skipped = 0
        while True:
            command = ("ZREVRANGEBYSCORE", keys.of("runs"), highest, "-inf", "WITHSCORES", "LIMIT", skipped, AT_ONCE)
            found = server.call(*command)
            places = [(float(score), name.decode()) for name, score in zip(found[::2], found[1::2], strict=True)]
            fresh = [place for place in places if after is None or place < after]
            yield from self._stood(fresh)
            if len(places) < AT_ONCE:
                return
            last = places[-1][0]
            same = sum(1 for place in places if place[0] == last)
            skipped = skipped + AT_ONCE if last == highest else same
            highest = last

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

    def _letters(self, run_id: str) -> list[DeadLetter]:
        from flows._dead_letters import dead_letters

        record = self.find(run_id=run_id)
        if record is None or all(one.state != FAILED for one in self.reader.jobs(run_id, None)):
            return []
        letters = dead_letters(record)
        fields = [f"dropped:{one.job}" for one in letters]
        key = self.store.shard.keys.run(run_id)
        dropped = self.store.shard.server.call("HMGET", key, *fields) if fields else []
        return [
            one
            for one, at in zip(letters, dropped, strict=True)
            if at is None or at.decode() != str(one.at)  # it has failed again since
        ]

    reader: Any


def _is(stand: _Stand, state: str | None, flow: str | None) -> bool:
    return (flow is None or stand.name == flow) and (state is None or stand.state == state)


def _instant(micros: float) -> datetime:
    return datetime.fromtimestamp(micros / _MICRO, UTC)


def _written(after: Cursor) -> str:
    return f"{after[0]:.0f}/{after[1]}"


def _read(cursor: str) -> Cursor:
    at, slash, name = cursor.partition("/")
    try:
        if slash:
            return float(at), name
    except ValueError:
        pass
    raise DefinitionError(f"cursor {shown(cursor)}: no page of a listing gave it; leave it out to begin anew")
