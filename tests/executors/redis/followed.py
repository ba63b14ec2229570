"""Runs on a server, and beside each the same run in memory: what the server does must be right, and is done there, too.

Who gets which job is the server's to say, within the rules: the model checks that it may, and does the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

from executors._stored import Header, Packed, pack, read, written
from executors._stored._rows import rows_from
from executors.memory import MemoryRun
from executors.memory._executor import _handlers, _moulds
from executors.redis._keys import BUCKET, Keys
from executors.redis._layout import COURSE, EXTRA, RECORD, SPARSE, STAMPED, name_of
from executors.redis._moulds import known_of
from executors.redis._shard import Shard
from executors.redis._store import RedisStore
from flows import _machine as machine
from flows._control import control
from flows._plan import Plan
from flows._state import CANCELLED, COMPLETED, FAILED, WAITING
from flows._verbs import End, FailedSettle, Grant, Reply, Settle, Want
from flows.errors import RunError
from flows.executor import RunOptions
from tests.executors.redis.model import HOUR, Clock, Model
from tests.executors.redis.shards import abandon
from tests.executors.twins import plain

KEPT: Final = 1e7
NAMESPACE: Final = "followed"
COUNTERS: Final = ("dooms", "skips", "cancels", "conts")
_numbers = itertools.count(1)


class Stood(NamedTuple):
    """How a run stands on the server, as it is stored."""

    run: Run
    course: bytes
    dead: list[bytes]
    sparse: list[bytes]
    lists: list[bytes]
    packed: bytes


class Run:
    """One run on the server and in the model."""

    def __init__(self, plan: Plan[Any], model: Model, **options: Any) -> None:
        name = f"followed-{next(_numbers)}"
        self.options = RunOptions(name, name, name, keep=KEPT, keep_failed=KEPT, key_ttl=0.0, **options)
        self.packed: Packed = pack(plan, self.options)
        self.bodies = Header(self.packed.header).bodies
        moulds = _moulds(plan)
        self.memory = MemoryRun(self.options, plan, _handlers(plan), plan.bindings, model.clock, 0.0, moulds)
        self.own = [str(row[0]) for row in rows_from(self.packed.rows)]
        self.ids: dict[int, str] = dict(enumerate(self.own))
        self.buckets = 1
        self.is_ordered = not self.options.fail_fast
        """Whether it is cancelled before, or after, what else is done in the same step, here and there."""
        self.disturbed = False
        """Whether rows were gone through in their order, which is another in memory where there are lists."""

    def asked(self, keys: Keys) -> list[tuple[Any, ...]]:
        """How to read all that is to be compared."""
        id = self.options.run_id
        whole = [("HGET", keys.run(id), "course"), ("SMEMBERS", keys.run(id, "f"))]
        whole += [("HGETALL", keys.run(id, "x")), ("HGETALL", keys.run(id, "l"))]
        return whole + [("GET", keys.run(id, f"c:{bucket}")) for bucket in range(self.buckets)]

    def compare(self, stood: Stood) -> None:
        """Both have swept all: the columns must be the same."""
        run, state = self.memory, self.memory.state
        open_, turn, size, _, _, cancelling, ended, *_ = COURSE.unpack(stood.course)
        assert (open_, turn, bool(cancelling), bool(ended)) == (state.open, state.turn, state.cancelling, run.ended)
        self._name(stood.lists)
        extras = dict(zip(stood.sparse[::2], stood.sparse[1::2], strict=True))
        records = list(RECORD.iter_unpack(stood.packed[: size * RECORD.size]))
        rows = {job: name for job, name in enumerate(run.plan.ids) if job not in run.plan.gone}
        theirs = {name: job for job, name in rows.items()}
        seen = set()
        for row, record in enumerate(records):
            if row >= len(self.own) and not record[2] & STAMPED:
                continue
            name = self.ids[row]
            seen.add(name)
            job = theirs[name]
            extra = EXTRA.unpack(extras[name_of(row)]) if record[10] & SPARSE else (0, 0, 0, 0, -1, -1, 0, -1, 0)
            said = (record[9], record[14], record[11], record[13], *extra[:4])
            counted = [getattr(state, column).get(job, 0) for column in ("made", "lost", *COUNTERS)]
            meant = (state.state[job], state.pending[job], *counted)
            assert said == meant, f"{name}: {said} is not {meant}"
            assert (extra[7], extra[8]) == (state.lists.get(job, -1), state.begun.get(job, 0)), name
            if self.is_ordered and not (self.disturbed and self.packed.bodies):
                assert self.ids.get(extra[4]) == rows.get(state.cause.get(job, -1)), name
            if (
                self.is_ordered and not self.packed.bodies
            ):  # in memory, lists end after all that their items' settles end
                assert (record[15], extra[6]) == (state.ordinal[job], state.cut.get(job, 0)), name
        assert seen == theirs.keys()
        dead = {self.ids[int.from_bytes(one[:4], "little")] for one in stood.dead}
        assert dead == {name for name, job in theirs.items() if state.state[job] == FAILED and job in run.errors}

    def _name(self, lists: list[bytes]) -> None:
        """Learn the names of the rows of items; lists around others first."""
        for field, packed in sorted(zip(lists[::2], lists[1::2], strict=True)):
            known, above = known_of(packed), self.ids.get(int.from_bytes(field, "little"), "")
            label = above[above.find("[") :] if "[" in above else ""
            names = [str(row[0]) for row in self.bodies[known.body].rows]
            position = 0
            for first, items in known.segments:
                for base in range(first, first + items * len(names), len(names)):
                    for offset, name in enumerate(names):
                        self.ids[base + offset] = f"{name}{label}[{position}]"
                    position += 1


class Followed:
    """A store on a server, and the model."""

    def __init__(self, way: Any, chunk: int, inline: int) -> None:
        self.link = way
        self.link.call("FLUSHALL")
        self.shard = Shard(self.link, Keys(NAMESPACE), chunk=chunk, inline=inline)
        self.store = self.another()
        self.clock = Clock()
        self.model = Model(self.clock)
        self.runs: dict[str, Run] = {}
        self.held: dict[Grant, Grant] = {}
        self.past: list[tuple[Grant, Grant]] = []
        self.seqs = {"one": 0, "two": 0}
        self.newest = 0

    def another(self) -> RedisStore:
        """As another process has it."""
        return RedisStore(self.link, NAMESPACE, shard=self.shard, lease_seconds=HOUR)

    def replace(self) -> None:
        """By a process that knows nothing of the runs yet."""
        abandon(self.store)
        self.store = self.another()

    def close(self) -> None:
        abandon(self.store)
        self.link.close()

    def put(self, plan: Plan[Any], **options: Any) -> None:
        run = Run(plan, self.model, **options)
        self.runs[run.options.run_id] = run
        self.model.put_run(run.memory)
        assert self.store.put_run(run.packed).run_id == run.options.run_id

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.link.call("HSET", self.shard.keys.meta, "shift", int(self.clock.now * 1e6))
        if self.store._ahead is not None:
            self.store._ahead += seconds

    # Settling and claiming.

    def settles(self, both: tuple[Grant, Grant], pick: int) -> tuple[Settle, Settle]:
        """An attempt ends, on the server and in the model; how, is drawn."""
        theirs, ours = both
        now = self.store.clock()
        if theirs.control:
            if ours.fetch is not None:
                ours.fetch()
            said, state = ours.run.state.cancelling, theirs.run.state
            meant, state.cancelling = state.cancelling, said  # a worker may not have heard of it yet
            first = control(theirs, self.clock)
            state.cancelling = meant
            return first, written(control(ours, self.store.clock))
        end, after = ENDS[pick % len(ENDS)], (HOUR / 3 if pick % 4 == 1 else 0.0)
        if end is End.COMPLETED:
            value = _value(pick, ours.job)
            return Settle(theirs, end, value, 0.0, 0.0), written(Settle(ours, end, value, now - 2.0, now - 1.0))
        if end is End.RELEASED:
            return (
                FailedSettle(theirs, end, None, 0.0, 0.0, after),
                FailedSettle(ours, end, None, now - 2.0, now - 1.0, after),
            )
        counted = pick % 7 != 0 or end is not End.RETRY
        first, second = (
            FailedSettle(grant, end, ValueError(str(pick)), began, began + 1.0, after, counted)
            for grant, began in ((theirs, 0.0), (ours, now - 2.0))
        )
        return first, written(second)

    def exchange(
        self, loop: str, settles: Sequence[tuple[Settle, Settle]], want: Want, *, is_lost: bool = False
    ) -> Reply:
        """Settle and claim."""
        settles = sorted(settles, key=lambda both: both[1].grant.run.id)
        self.seqs[loop] += 1
        call = (loop, self.seqs[loop], [ours for _, ours in settles], want, "w")
        reply = self.store.exchange(*call)
        if is_lost:
            other = self.another()
            again = other.exchange(*call)
            abandon(other)
            assert [_said(grant) for grant in again.grants] == [_said(grant) for grant in reply.grants]
            assert again.refused == reply.refused
            reply = again
        queues = want.queues or ()
        refused = self.model.take([theirs for theirs, _ in settles], queues)
        assert [settle.grant.fence for settle in reply.refused] == [
            ours.grant.fence for theirs, ours in settles if theirs in refused
        ]
        for _, ours in settles:
            self.held.pop(ours.grant, None)
        self._adopt(reply, want)
        return reply

    def _adopt(self, reply: Reply, want: Want) -> None:
        """What was granted must have been there to be granted; nothing may have been left without need."""
        model, queues, doubtful = self.model, want.queues or frozenset(), 0
        for ours in reply.grants:
            run = self.runs[ours.run.id]
            job = run.memory.plan.ids.index(run.ids[ours.job]) if ours.job < len(run.own) else self._job_of(run, ours)
            assert ours.fence > self.newest
            self.newest = ours.fence
            assert model.home(run.memory, job) in queues
            suspect = model.is_suspect(run.memory, job)
            doubtful += suspect
            theirs = model.adopt(run.memory, job)
            assert (ours.attempt, ours.control, ours.suspect) == (theirs.attempt, theirs.control, theirs.suspect)
            assert ours.suspect == suspect
            self._compare_inputs(run, ours, job)
            self.held[ours] = theirs
        assert len(reply.grants) <= want.limit
        assert doubtful == reply.suspects <= want.suspects
        if len(reply.grants) < want.limit and not reply.more:
            left = [
                (run.memory, job)
                for run in self.runs.values()
                for job in _waiting(run.memory)
                if model.home(run.memory, job) in queues and self._is_open(model.home(run.memory, job))
            ]
            assert all(model.is_suspect(*one) for one in left), f"left, and waiting: {left}"
            assert not (want.suspects and left and not doubtful), "a suspect could have been granted"

    def _is_open(self, queue: str) -> bool:
        limit = self.model._limits.of.get(queue)
        return limit is None or limit.free(self.clock()) > 0

    def _job_of(self, run: Run, ours: Grant) -> int:
        name = ours.run.plan.ids[ours.job]
        run.ids[ours.job] = name
        gone = run.memory.plan.gone
        return next(job for job, one in enumerate(run.memory.plan.ids) if one == name and job not in gone)

    def _compare_inputs(self, run: Run, ours: Grant, job: int) -> None:
        brief: Any = ours.run
        assert brief.plan.ids[ours.job] == run.memory.plan.ids[job]
        if ours.fetch is not None:
            ours.fetch()
        plan, state = run.memory.plan, run.memory.state
        jobs = {name: place for place, name in enumerate(plan.ids) if place not in plan.gone}
        theirs = {run.ids[one.child]: one for one in brief.inputs}
        assert {plan.ids[child] for child in plan.inputs[job]} <= theirs.keys()
        for name, one in theirs.items():
            child = jobs[name]
            if not list(machine.inputs_of(state, job, (child,))):
                assert one.state < COMPLETED
                continue
            assert one.state == state.state[child]
            if one.state == COMPLETED:
                assert plain(read(one.payload)) == plain(run.memory.values[child])
            elif one.state != CANCELLED:
                said, meant = brief.failed(one.child), run.memory.failed(child)
                told_so = said.type, said.job, said.state
                assert told_so == (meant.type, meant.job, meant.state), f"{name}: {said!r} is not {meant!r}"

    # Everything else.

    def rescue(self) -> None:
        """Leases that have run out are taken back; in which order, is the server's own affair."""
        taken = self.shard.rescue().taken
        ordinals: dict[tuple[str, str], int] = {}
        for stood in self._stand():
            for row, record in enumerate(RECORD.iter_unpack(stood.packed)):
                ordinals[stood.run.options.run_id, stood.run.ids.get(row, "")] = record[15]
        for run in self.runs.values():
            leases = run.memory.leases
            order = {job: ordinals[run.options.run_id, run.memory.plan.ids[job]] for job in leases}
            run.memory.leases = dict(sorted(leases.items(), key=lambda item: order[item[0]]))
        for run in self.runs.values():
            if self.model.is_overdue(run.memory):
                run.is_ordered, run.disturbed = False, True
        assert self.model.rescue() == taken
        self.model.finish()
        self._forget_lost()

    def _forget_lost(self) -> None:
        for ours, theirs in list(self.held.items()):
            run: Any = theirs.run
            if run.fences[theirs.job] != theirs.fence:
                del self.held[ours]
                self.past.append((theirs, ours))

    def extend(self, pick: int) -> None:
        asked = [*list(self.held.items())[pick % 3 :], *[(ours, theirs) for theirs, ours in self.past[-2:]]]
        refused = self.store.extend([ours for ours, _ in asked])
        theirs = self.model.extend([theirs for _, theirs in asked])
        assert [ours for ours, other in asked if other in theirs] == refused
        for ours, other in asked:
            run: Any = other.run
            assert ours in refused or ours.run.state.cancelling == run.state.cancelling

    def cancel(self, run: Run) -> None:
        run.disturbed = run.disturbed or not run.memory.ended
        self.store.cancel(run.options.run_id, "enough")
        self.model.cancel(run.memory, "enough")
        self.model.finish()

    def reopen(self, run: Run, name: str | None, *, anew: bool) -> None:
        """`retry` or `rerun`; both refuse it, or both do it."""
        run.disturbed = True
        rows = {one: row for row, one in run.ids.items()}
        gone = run.memory.plan.gone
        jobs = {one: job for job, one in enumerate(run.memory.plan.ids) if job not in gone}
        outcomes = []
        theirs: Any = run.memory
        here, there = (None, None) if name is None else (jobs[name], rows[name])
        for reopen in (
            lambda: self.store.reopen(SimpleNamespace(id=run.options.run_id), there, anew=anew),
            lambda: self.model.reopen(theirs, here, anew=anew),
        ):
            try:
                reopen()
                outcomes.append("")
            except RunError as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]
        self.model.finish()

    def pause(self, queue: str, *, paused: bool) -> None:
        self.store.pause(queue, paused=paused)
        self.model.pause(queue, paused=paused)

    def compare(self) -> None:
        """Once all is swept, the server and the model stand alike."""
        for stood in self._stand():
            stood.run.compare(stood)

    def _stand(self) -> Sequence[Stood]:
        """How the runs stand on the server, once all is swept; one round trip, most often."""
        keys, runs = self.shard.keys, list(self.runs.values())
        while True:
            asked = [("ZCARD", keys.of("unswept")), *[command for run in runs for command in run.asked(keys)]]
            unswept, *found = self.link.calls(asked)
            if unswept:
                self._sweep()
                continue
            stood, is_whole = [], True
            for run in runs:
                mine = found[: 4 + run.buckets]
                del found[: 4 + run.buckets]
                course, dead, sparse, lists, *raw = mine
                size = BUCKET * RECORD.size
                packed = b"".join([(part or b"").ljust(size, b"\0") for part in raw])
                stood.append(Stood(run, course, dead, sparse, lists, packed))
                buckets = (COURSE.unpack(course)[2] + BUCKET - 1) // BUCKET
                is_whole, run.buckets = is_whole and buckets == run.buckets, buckets
            if is_whole:
                return stood

    def _sweep(self) -> None:
        while self.shard.sweep():
            pass


ENDS: Final = (
    *[End.COMPLETED] * 4,
    *(End.FAILED, End.RETRY, End.RETRY, End.SKIPPED, End.CANCELLED, End.RELEASED, End.LOST),
)


def _value(pick: int, job: int) -> Any:
    """Lists of lists mostly, as something may be made of their items."""
    return [[f"{job}/{n}" for n in range(pick % 3)] for _ in range((pick >> 2) % 4)]


def _said(grant: Grant) -> tuple[Any, ...]:
    return grant.run.id, grant.job, grant.attempt, grant.fence, grant.suspect, grant.control


def _waiting(run: MemoryRun) -> Iterator[int]:
    gone = run.plan.gone
    return (job for job, state in enumerate(run.state.state) if state == WAITING and job not in gone)
