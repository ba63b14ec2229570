"""Runs in a shard without workers, and the machine that says what should become of them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from typing import Any, cast

from executors._stored import Shape
from executors.redis._channel import Channel
from executors.redis._connection import Link
from executors.redis._keys import BUCKET, Keys
from executors.redis._layout import COURSE, EXTRA, GATED, RECORD, SPARSE, lay_out, name_of
from executors.redis._shard import Shard
from executors.redis._store import RedisStore
from executors.redis._submits import NewRun
from executors.redis._url import parse
from executors.redis._wire import CONTROLLED, SUSPECT, Answer, Granted, Outcome
from flows import _machine as machine
from flows._state import COMPLETED, FAILED, WAITING, Commands, Retry, RunState
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.flows.naive_run import Dag, columns

LEASE = 30.0
NAMESPACE = "test"
_numbers = itertools.count(1)


def shard_on(server: Server, **options: Any) -> Shard:
    return Shard(Link(parse(server.url)), Keys(NAMESPACE), **options)


def shape_of(dag: Dag, queues: Sequence[str], **given: Any) -> Shape:
    """The columns of a graph, its jobs on *queues* in turn."""
    run = columns(dag)
    inputs = [tuple(edge.child for edge in dag.into(job) if edge.kind != "order") for job in range(dag.size)]
    leaves = [job for job in range(dag.size) if not dag.out_of(job)]
    zero = [0] * dag.size
    return Shape(
        size=dag.size,
        roots=tuple(leaves),
        queues=list(queues),
        queue=[job % len(queues) for job in range(dag.size)],
        priority=given.get("priority", zero),
        lifo=given.get("lifo", zero),
        delay_ms=given.get("delay_ms", zero),
        attempts=given.get("attempts", [3] * dag.size),
        flags=given.get("flags", zero),
        pending=list(run.pending),
        edges=[run.edges[job] for job in range(dag.size)],
        codes={job: [*codes] for job in range(dag.size) if (codes := run.effects.get(job))},
        inputs=[tuple(dict.fromkeys(children)) for children in inputs],
    )


def new_run(
    shape: Shape, *, run_id: str = "", key: str = "", timeout: float = 0.0, size: int = 20, **fields: Any
) -> NewRun:
    """A run of that shape, with rows of about *size* bytes."""
    rows = [json.dumps([f"job-{job}", 0, "x" * size]).encode() for job in range(shape.size)]
    told: dict[str, Any] = {
        "header": b"{}",
        "name": "told",
        "queues": "\n".join(shape.queues),
        "keep": 0,
        "keep_failed": 0,
    }
    told |= {"key": key, "key_ttl": 0} if key else {}
    laid_out = lay_out(shape, [len(row) for row in rows])
    run_id = run_id or f"run{next(_numbers)}"
    return NewRun(run_id, key, "print", told | fields, rows, laid_out, int(timeout * 1e6))


_READING: dict[bytes, tuple[Any, ...]] = {
    b"string": ("GET",),
    b"hash": ("HGETALL",),
    b"list": ("LRANGE", 0, -1),
    b"set": ("SMEMBERS",),
    b"zset": ("ZRANGE", 0, -1, "WITHSCORES"),
    b"stream": ("XRANGE", "-", "+"),
}


def stored(shard: Shard) -> dict[bytes, Any]:
    """All that is stored, by key; as it is read, and not as the server dumps it: its tables turn round as they grow."""
    found: dict[bytes, Any] = {}
    for key in shard.server.call("KEYS", "*"):
        command, *rest = _READING[shard.server.call("TYPE", key)]
        value = shard.server.call(command, key, *rest)
        if command == "HGETALL":
            value = dict(zip(value[::2], value[1::2], strict=True))
        elif command == "SMEMBERS":
            value = set(value)
        found[key] = value
    return found


class Loop:
    """An exchange loop of one worker."""

    def __init__(self, shard: Shard, queues: Sequence[str], worker: str = "w") -> None:
        self.shard = shard
        self.queues = queues
        self.worker = worker
        self.name = f"loop{next(_numbers)}"
        self.seq = 0

    def __call__(
        self, *outcomes: Outcome, limit: int = 64, suspects: bool = True, queues: Sequence[str] | None = None
    ) -> Answer:
        self.seq += 1
        return self.again(*outcomes, limit=limit, suspects=suspects, queues=queues)

    def again(
        self, *outcomes: Outcome, limit: int = 64, suspects: bool = True, queues: Sequence[str] | None = None
    ) -> Answer:
        return self.shard.exchange(
            *(self.name, self.seq, outcomes, self.queues if queues is None else queues),
            limit=limit,
            at_once=limit,
            suspects=suspects,
            worker=self.worker,
            lease=int(LEASE * 1e6),
        )


def ended(
    grant: Granted, end: End = End.COMPLETED, payload: bytes = b"", after: float = 0.0, counted: bool = True
) -> Outcome:
    return Outcome(grant.run_id, grant.job, end, counted, grant.fence, 2.0, 1.0, after * 1e6, payload)


def forget(shard: Shard, most: int = 200) -> None:
    """Whatever is past its retention goes, as it does when those who wait for it have had the time to read it."""
    shard.server.call("HINCRBY", shard.keys.meta, "shift", 31_000_000)
    while shard.retire(most):
        pass


def course_of(shard: Shard, run_id: str) -> tuple[Any, ...]:
    packed = shard.server.call("HGET", shard.keys.run(run_id), "course")
    return COURSE.unpack(packed)


def records_of(shard: Shard, run_id: str, size: int) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for bucket in range((size + BUCKET - 1) // BUCKET):
        found += RECORD.iter_unpack(shard.server.call("GET", shard.keys.run(run_id, f"c:{bucket}")))
    return found


def states_of(shard: Shard, run_id: str, size: int) -> list[int]:
    return [record[9] for record in records_of(shard, run_id, size)]


def sparse_of(shard: Shard, run_id: str, jobs: Iterable[int]) -> dict[int, tuple[Any, ...]]:
    asked = list(jobs)
    key = shard.keys.run(run_id, "x")
    return {job: EXTRA.unpack(shard.server.call("HGET", key, name_of(job))) for job in asked}


class Followed:
    """A run in a shard, and beside it the machine: what the shard does must be right, and is done here, too."""

    def __init__(
        self, shard: Shard, dag: Dag, *, queues: Sequence[str] = ("q0", "q1"), gated: int = 0, delayed: int = 0
    ) -> None:
        self.shard, self.dag, self.queues = shard, dag, queues
        everywhere = range(dag.size)
        delays = {job: 10.0 for job in everywhere if delayed >> job & 1}
        self.gates = {job for job in everywhere if gated >> job & 1}
        self.run: RunState = columns(dag, delays=delays)
        self.run.gated = set(self.gates)
        shape = shape_of(
            dag,
            queues,
            flags=[GATED * (job in self.gates) for job in everywhere],
            delay_ms=[10_000 * (job in delays) for job in everywhere],
        )
        self.shape = shape
        self.clock = 0.0
        self.due: dict[int, float] = {}
        self.leases: dict[int, tuple[Granted, float]] = {}
        self.old: list[Granted] = []
        self.suspects: set[int] = set()
        self.payloads: dict[int, bytes] = {}
        self.newest = 0
        self.fences: dict[int, int] = {}
        out = Commands()
        machine.begin(self.run, out)
        self._note(out)
        new = new_run(shape, keep=10**12, keep_failed=10**12)
        self.run_id = new.run_id
        assert shard.put_run(new).run_id == new.run_id

    def _note(self, out: Commands) -> None:
        for job, after in out.delayed:
            self.due[job] = self.clock + after

    def _swept(self, out: Commands | None = None) -> None:
        out = out or Commands()
        assert not machine.sweep(self.run, 10**9, out)
        self._note(out)

    def pass_time(self, seconds: float) -> None:
        self.clock += seconds
        self.shard.server.call("HSET", self.shard.keys.meta, "shift", int(self.clock * 1e6))

    def wake(self, queues: Sequence[str]) -> None:
        out = Commands()
        for job, due in sorted(self.due.items()):
            home = self.shape.queues[self.shape.queue[job]]
            if due <= self.clock and (home in queues if job not in self.run.gated else True):
                machine.wake(self.run, job, out)
                del self.due[job]

    def settle(self, outcome: Outcome) -> bool:
        """What the shard should do with a settle; whether it should take it."""
        job, run, out = outcome.job, self.run, Commands()
        held = self.leases.get(job)
        if held is None or held[0].fence != outcome.fence:
            return self.fences[job] == outcome.fence
        del self.leases[job]
        self.old.append(held[0])
        end = End(outcome.end)
        if end is End.COMPLETED:
            self.payloads[job] = outcome.payload or b"null"
            machine.settle(run, job, COMPLETED, out)
        elif end is End.RELEASED:
            machine.release(run, job, out, outcome.after / 1e6)
            if job in run.lost and job not in run.gated and job in out.ready:
                self.suspects.add(job)  # nothing has spoken for it since
        elif end is End.PASSED:
            machine.admit(run, job, out)
        elif end is End.LOST:
            self._lose(job, out, outcome.payload)
        elif end is End.RETRY:
            if not machine.retry(run, job, Retry(outcome.after / 1e6, outcome.counted), out):
                self.payloads[job] = outcome.payload
        else:
            self.payloads[job] = outcome.payload
            machine.settle(run, job, {End.FAILED: FAILED, End.SKIPPED: 6, End.CANCELLED: 7}[end], out)
        self._note(out)
        return True

    def _lose(self, job: int, out: Commands, payload: bytes | None) -> None:
        control = job in self.run.gated
        self.fences[job] = 0  # what it comes to is refused from now on
        if machine.lose(self.run, job, out):
            if not control:
                self.suspects.add(job)
        elif self.run.state[job] == FAILED:
            self.payloads[job] = payload or b"lost"

    def claimed(self, answer: Answer, limit: int, queues: Sequence[str], suspects: bool) -> None:
        """What was granted must have been there to be granted; nothing may have been left without need."""
        doubtful = 0
        for grant in answer.grants:
            job = grant.job
            assert grant.fence > self.newest
            self.newest = grant.fence
            control = job in self.run.gated
            assert bool(grant.flags & CONTROLLED) == control
            assert bool(grant.flags & SUSPECT) == (job in self.suspects)
            doubtful += job in self.suspects
            assert grant.attempt == (1 if control else self.run.made.get(job, 0) + 1)
            assert control or self.shape.queues[self.shape.queue[job]] in queues
            assert machine.grant(self.run, [job]) == [job], "granted, and not waiting"
            self.suspects.discard(job)
            self.leases[job], self.fences[job] = (grant, self.clock + LEASE), grant.fence
            self._check_inputs(grant)
        assert len(answer.grants) <= limit
        assert doubtful <= (1 if suspects else 0)
        if len(answer.grants) < limit and not answer.more:
            left = [job for job in range(self.dag.size) if self.run.state[job] == WAITING]
            wanted = [
                job for job in left if job in self.run.gated or self.shape.queues[self.shape.queue[job]] in queues
            ]
            assert set(wanted) <= self.suspects, "left, and waiting"
            assert not (suspects and wanted and not doubtful), "a suspect could have been granted"

    def _check_inputs(self, grant: Granted) -> None:
        run, job = self.run, grant.job
        children = self.shape.inputs[job]
        counted = set(machine.inputs_of(run, job, children))
        assert [one.child for one in grant.inputs] == list(children)
        assert json.loads(grant.row or b"")[0] == f"job-{job}"
        for one in grant.inputs:
            if one.child not in counted:
                assert one.state < COMPLETED
                assert one.payload is None
                continue
            assert one.state == run.state[one.child]
            teller = one.child
            while teller not in self.payloads and teller in run.cause:
                teller = run.cause[teller]
            if one.state == 7 and one.child not in self.payloads:
                assert one.payload is None
            elif self.payloads[teller] == b"lost":
                assert json.loads(one.payload or b"")["job"] == f"job-{teller}"
            else:
                assert one.payload == self.payloads[teller]
                assert one.first == (None if teller == one.child else run.state[teller])

    def compare(self) -> None:
        """Both have swept all: the columns must be the same."""
        while self.shard.sweep(self.run_id):
            pass
        run, size = self.run, self.dag.size
        records = records_of(self.shard, self.run_id, size)
        for job, record in enumerate(records):
            said = (record[9], record[14], record[15], record[11], record[13])
            meant = (run.state[job], run.pending[job], run.ordinal[job], run.made.get(job, 0), run.lost.get(job, 0))
            assert said == meant, f"job {job}"
        sparse = sparse_of(self.shard, self.run_id, [job for job in range(size) if records[job][10] & SPARSE])
        for job in range(size):
            extra = sparse.get(job, (0, 0, 0, 0, -1, -1, 0))
            meant_here = [column.get(job, 0) for column in (run.dooms, run.skips, run.cancels, run.conts)]
            assert [*extra[:5], extra[6]] == [*meant_here, run.cause.get(job, -1), run.cut.get(job, 0)], f"job {job}"
        course = course_of(self.shard, self.run_id)
        assert (course[0], course[1], bool(course[5])) == (run.open, run.turn, run.cancelling)
        assert bool(course[6]) == (run.open == 0)


def abandon(store: RedisStore) -> None:
    """Its process ends, and with it the connections; the server keeps what it knows of its loops."""
    for shard in store._loops.values():
        cast("Channel", shard.server).close()
