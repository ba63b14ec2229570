"""A store made of dictionaries: what a store does with a packed flow, with `flows._machine` for its machine.

One thread, no queues, no time: the test says which of the ready jobs is granted when. It knows of a run what
`executors._stored` says a store is given, and never looks into bytes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any

from executors._stored import (
    GATED,
    LIST,
    Header,
    Input,
    Items,
    JobFacts,
    ListFacts,
    Packed,
    PackedBody,
    PastAttempt,
    Place,
    RunFacts,
    StoredEvent,
    brief,
    gathered,
    rows_from,
)
from flows import _machine as machine
from flows._state import ACTIVE, CANCELLED, COMPLETED, FAIL, FAILED, SKIPPED, Commands, Retry, RunState
from flows._verbs import ControlGrant, End, Grant, Settle

ENDS = {End.FAILED: FAILED, End.SKIPPED: SKIPPED, End.CANCELLED: CANCELLED}


@dataclass
class Spread:
    """A list that is expanded. `place`: where it stands itself."""

    body: PackedBody
    number: int
    items: Items
    place: tuple[Place, ...]
    segments: list[tuple[int, int]] = field(default_factory=list)


class Shelf:
    """One run."""

    def __init__(self, packed: Packed, chunk: int = 500) -> None:
        self.packed, self.chunk = packed, chunk
        self.stored_header = Header(packed.header)
        shape = packed.shape
        self.attempts = [attempts or 1000 for attempts in shape.attempts]
        self.inputs = [list(inputs) for inputs in shape.inputs]
        self.flags = list(shape.flags)
        self.body_of = dict(shape.body)
        self.state = RunState(
            size=shape.size,
            state=[0] * shape.size,
            pending=list(shape.pending),
            ordinal=[0] * shape.size,
            edges=[list(edges) for edges in shape.edges],
            effects={job: list(codes) for job, codes in shape.codes.items()},
            delays={},
            limits=self.attempts,
            gated={job for job, flags in enumerate(shape.flags) if flags & GATED},
        )
        self.ready: list[int] = []
        self.values: dict[int, bytes] = {}
        self.failures: dict[int, bytes] = {}
        self.tries: dict[int, int] = {}
        self.times: dict[int, tuple[float, float | None]] = {}
        self.past: dict[int, list[PastAttempt]] = {}
        self.place: dict[int, tuple[Place, ...]] = {}
        self.spreads: dict[int, Spread] = {}
        self.log: list[StoredEvent] = [StoredEvent("submitted", 0.0)]
        self.reason = ""
        self.reads = 0
        out = Commands()
        machine.begin(self.state, out)
        self._carry_out(out)

    # What a worker asks of it.

    def claim(self) -> list[Grant]:
        """Everything that is ready."""
        granted = machine.grant(self.state, self.ready)
        self.ready = []
        return [self._grant(job) for job in granted]

    def settle(self, settle: Settle) -> None:
        """Take a settle that `written` has made bytes of, and sweep to the end."""
        job, out, end = settle.grant.job, Commands(), settle.end
        value: Any = settle.value
        assert value is None or type(value) in (bytes, Items)
        if not settle.grant.control:
            self.times[job] = settle.started_at, settle.ended_at
        if end is End.COMPLETED:
            self.values[job] = value
            machine.settle(self.state, job, COMPLETED, out)
        elif end is End.PASSED:
            machine.admit(self.state, job, out)
        elif end is End.EXPANDED:
            self._expand(job, value, out)
        elif end is End.RETRY and machine.retry(self.state, job, Retry(0.0, settle.counted), out):
            started, ended = settle.started_at, settle.ended_at
            past = PastAttempt(settle.grant.attempt, started, ended, "failed", value, "w")
            self.past.setdefault(job, []).append(past)
            self.log.append(StoredEvent("retrying", 0.0, job, settle.grant.attempt, value))
        else:
            self.failures[job] = value
            if end is not End.RETRY:
                machine.settle(self.state, job, ENDS[end], out)
        self._carry_out(out)

    def cancel(self, reason: str) -> None:
        self.reason = reason
        out = Commands()
        machine.cancel(self.state, out)
        self._carry_out(out)

    def _grant(self, job: int) -> Grant:
        control = job in self.state.gated or bool(self.flags[job] & LIST)
        place = self.place.get(job, ())
        row = None if place else self.packed.rows[job]
        made = brief(self.stored_header, job, row, list(self._inputs(job)), place=place, gated=job in self.state.gated)
        if not control:
            self.tries[job] = self.tries.get(job, 0) + 1
            self.times[job] = 0.0, None
        return (ControlGrant if control else Grant)(made, job, self.tries.get(job, 1), 1)

    def _inputs(self, job: int) -> Iterator[Input]:
        counting = set(machine.inputs_of(self.state, job, self.inputs[job]))
        for child in self.inputs[job]:
            yield self.end_of(child) if child in counting else Input(child, 0, None)

    def end_of(self, child: int) -> Input:
        state = self.state.state[child]
        if state == COMPLETED:
            return Input(child, state, self._value_of(child))
        own = self.failures.get(child)
        if own is not None or child not in self.state.cause:
            return Input(child, state, own)
        first = child
        while first not in self.failures and first in self.state.cause:
            first = self.state.cause[first]
        return Input(child, state, self.failures.get(first), self.state.state[first])

    def _value_of(self, job: int) -> bytes | None:
        spread = self.spreads.get(job)
        if spread is None:
            return self.values.get(job)
        ends = [self.end_of(item) for item in self._roots(job)]
        return gathered(ends, drops=spread.body.drops, id_of=self.id_of, reason=self.reason)

    def id_of(self, job: int) -> str:
        place = self.place.get(job, ())
        if not place:
            return str(rows_from([self.packed.rows[job]])[0][0])
        name: str = self.stored_header.bodies[place[-1].body].rows[job - place[-1].base][0]
        return name + "".join(f"[{one.position}]" for one in place)

    # Lists.

    def _roots(self, job: int) -> list[int]:
        spread = self.spreads[job]
        begun, size = self.state.begun.get(job, 0), spread.body.shape.size
        facts = self._facts_of(job)
        return [facts.base_of(position, size) + spread.body.root for position in range(begun)]

    def _facts_of(self, job: int) -> ListFacts:
        spread = self.spreads[job]
        length, begun = len(spread.items.payloads), self.state.begun.get(job, 0)
        return ListFacts(job, spread.number, length, begun, spread.segments, spread.items.links)

    def _expand(self, job: int, items: Items, out: Commands) -> None:
        number = self.body_of[job]
        body, first = self.packed.bodies[number], self.state.size
        self.spreads[job] = Spread(body, number, items, self.place.get(job, ()), [(first, len(items.payloads))])
        size = body.shape.size
        rows = len(items.payloads) * size
        machine.expand(self.state, job, len(items.payloads), out)
        state: Any = self.state
        state.state += [COMPLETED] * rows  # reserved: neither open nor to be cancelled
        state.pending += [0] * rows
        state.ordinal += [0] * rows
        state.edges += [[] for _ in range(rows)]
        self.attempts += [1] * rows
        self.inputs += [[] for _ in range(rows)]
        self.flags += [0] * rows
        self.state.size += rows

    def _grow(self, job: int, out: Commands) -> None:
        spread = self.spreads[job]
        taken = machine.room(self.state, job, spread.body.limit)
        begun = self.state.begun[job]
        rows: list[int] = []
        outer: list[tuple[int, int, int]] = []
        for position in range(begun, begun + max(taken, 0)):
            base = self._facts_of(job).base_of(position, spread.body.shape.size)
            outer += self._stamp(job, spread, position, base)
            rows += range(base, base + spread.body.shape.size)
        self.state.begun[job] = begun + max(taken, 0)
        machine.stamp(self.state, rows, outer, out)

    def _stamp(self, job: int, spread: Spread, position: int, base: int) -> list[tuple[int, int, int]]:
        body, state, links = spread.body, self.state, spread.items.links
        shape, size = body.shape, body.shape.size
        item = Place(job, spread.number, position, base, spread.items.payloads[position], links)
        place = (*spread.place, item)

        def row_at(at: int) -> int:
            """Below 0 for items."""
            return base + at if at < size else -1 if at == size else links[at - size - 1]

        for one in range(size):
            row = base + one
            self.place[row] = place
            state.state[row], state.pending[row] = 0, shape.pending[one]
            state.edges[row][:] = [base + dependent for dependent in shape.edges[one]]  # type: ignore[index]
            if one in shape.codes:
                state.effects[row] = list(shape.codes[one])  # type: ignore[index]
            self.attempts[row] = shape.attempts[one] or 1000
            self.inputs[row] = [row_at(at) for at in shape.inputs[one] if row_at(at) >= 0]
            self.flags[row] = shape.flags[one]
            if one in shape.body:
                self.body_of[row] = shape.body[one]
            if shape.flags[one] & GATED:
                state.gated.add(row)
        self._join(base + body.root, job, body.root_effect)
        state.item_of[base + body.root] = job
        edges = []
        for link, dependent, effect in body.outer:
            child = links[link - size - 1]
            if child < 0:
                state.pending[base + dependent] -= 1
            else:
                edges.append((child, base + dependent, effect))
                self._join(child, base + dependent, effect)
        return edges

    def _join(self, child: int, dependent: int, effect: int) -> None:
        edges: Any = self.state.edges[child]
        effects: Any = self.state.effects
        if effect != FAIL or child in effects:
            effects.setdefault(child, [FAIL] * len(edges)).append(effect)
        edges.append(dependent)

    def _carry_out(self, out: Commands) -> None:
        while True:
            left = machine.sweep(self.state, self.chunk, out)
            for job in dict.fromkeys(out.grow) if not left else ():
                self._grow(job, out)
            if not left:
                out.grow.clear()
            if not (left or out.grow or self.state.later or self.state.cascade):
                break
        self.ready += out.ready
        names = {COMPLETED: "completed", FAILED: "failed", SKIPPED: "skipped", CANCELLED: "cancelled"}
        for job in out.ended:
            kind: Any = names[self.state.state[job]]
            tried = self.tries.get(job) if job in self.times else None
            self.log.append(StoredEvent(kind, 0.0, job, tried, self.failures.get(job)))
        if not self.state.open and self.log[-1].kind != "ended":
            self.log.append(StoredEvent("ended", 0.0))

    # What a reader asks of it.

    def now(self) -> float:
        return 100.0

    def facts(self, run: str) -> RunFacts:
        ended = not self.state.open
        return RunFacts(ended, 0.0, 50.0 if ended else None, self.reason, 1, self.state.size)

    def header(self, run: str) -> bytes:
        return self.packed.header

    def rows(self, run: str) -> Sequence[bytes]:
        return self.packed.rows

    def jobs(self, run: str, jobs: Sequence[int] | None) -> Sequence[JobFacts]:
        self.reads += 1
        return [self._job_facts(job) for job in (range(self.state.size) if jobs is None else jobs)]

    def _job_facts(self, job: int) -> JobFacts:
        state = self.state.state[job]
        started, finished = self.times.get(job, (None, None))
        own = job in self.failures
        cause = -1 if own else self.state.cause.get(job, -1)
        if state not in (ACTIVE, COMPLETED, FAILED, SKIPPED, CANCELLED):
            started = finished = None
        return JobFacts(state, self.tries.get(job, 0), started, finished, "w", None, cause, own)

    def payloads(self, run: str, jobs: Sequence[int]) -> Sequence[bytes | None]:
        return [self.failures.get(job) or self.values.get(job) for job in jobs]

    def ends(self, run: str, jobs: Sequence[int]) -> Sequence[Input]:
        return [self.end_of(job) for job in jobs]

    def items(self, run: str, list_job: int) -> Sequence[bytes]:
        return self.spreads[list_job].items.payloads

    def lists(self, run: str) -> Sequence[ListFacts]:
        return [self._facts_of(job) for job in self.spreads]

    def history(self, run: str, job: int) -> Sequence[PastAttempt]:
        return self.past.get(job, [])

    def histories(self, run: str) -> Sequence[int]:
        return list(self.past)

    def progress(self, run: str, job: int) -> bytes | None:
        return None

    def logs(self, run: str, job: int) -> Sequence[str]:
        return ()

    def ahead_of(self, run: str, job: int) -> int | None:
        return None

    def held_back(self, run: str, job: int) -> str | None:
        return None

    def events(self, run: str, position: int) -> tuple[Sequence[StoredEvent], int]:
        return self.log[position:], len(self.log)

    def listen(self, run: str, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def inside(attempt: Callable[[Grant, Any], Settle]) -> Callable[[Grant, Any], Settle]:
    """*attempt* in a context of its own, as hands have one: it leaves its grant there."""
    return lambda grant, clock: copy_context().run(attempt, grant, clock)
