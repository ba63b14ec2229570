"""SqliteStore: the machine over a file. Each verb is one transaction, and touches only the rows concerned.

A step opens the runs that it is about (`_run`), has the machine change their columns, carries its commands out on
lanes, limits and the journal (`_settling`, `_course`, `_claims`), and writes what has changed. What was read stays
known to the next step, as long as no other process has written.
"""

from __future__ import annotations

import json
import threading
from array import array
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from executors._store import Listener, StaleCallError
from executors._stored import Packed
from executors.sqlite._claims import Drawn, Held
from executors.sqlite._columns import SIZE, Columns
from executors.sqlite._database import MICROS, Database
from executors.sqlite._keys import chunk_row
from executors.sqlite._layout import Layout
from executors.sqlite._locks import locks_of
from executors.sqlite._passing import Passing
from executors.sqlite._retention import Holder
from executors.sqlite._run import Known, fetch_of
from executors.sqlite._shapes import facts_of, written, written_bodies
from flows import _machine as machine
from flows._state import ACTIVE, Commands, RunState
from flows._verbs import Grant, Reply, Settle, Want

POLL_SECONDS: Final = 0.05
"""How soon to look again for what other processes do."""


class Put(NamedTuple):
    """What became of a run that was handed in.

    Attributes:
        number: The run's; of the one that has the key already, if any. None where that was retired.
        holder: Who has the key already; None where the run was accepted.
        now: The instant, in microseconds.
    """

    number: int | None
    holder: Holder | None
    now: int


class SqliteStore(Passing):
    """The verbs of a store over a file. Safe to call from any thread and process; each verb is one atomic step.

    A step that cannot be written (a full disk, a file held too long) raises and has changed nothing.

    Args:
        database: The file.
        brief: Makes what a worker must know of a grant, of what was read in the step.

    Attributes:
        told: Is told of each step: the runs that it touched, ended, began to cancel; whose own crew did
            it; and whether a limit has given way.
        settling: Is told of settles before they are taken; not of those that are passed on.
        writing: What makes bytes of results, in the hand that ran the handler.
        overdue: Tells workers when a run may be overdue.
        listen: Tells a listener of a worker and its queues when there may be work; set by whoever owns the store.
    """

    told: Callable[[set[int], list[int], list[int], int, bool], None] | None = None
    settling: Callable[[Sequence[Settle]], None] | None = None
    writing: Any = None
    overdue: Callable[[float], None] | None = None
    listen: Callable[[str, frozenset[str], Listener], Callable[[], None]]

    def __init__(self, database: Database, brief: Callable[[Drawn], Any]) -> None:
        super().__init__(database, locks_of(database.path))
        self._brief = brief
        self._loops: dict[str, tuple[int, Reply]] = {}
        self._loops_lock = threading.Lock()

    def put_run(self, run: Packed) -> Put:
        """Accept a run and release the jobs that wait for nothing; all of it or nothing.

        Of many callers with one key at once, one is the first; the others are told of its run.
        """
        facts = facts_of(run)
        shapes, rows = list(written(run.shape)), run.rows
        begun, out = _begun(run)
        columns = Columns(_unknown)
        columns.take_all(begun.state, array("i", run.shape.pending))  # type: ignore[arg-type]
        key = run.options.key
        with self.transaction() as now:
            self._look_after(now)
            holder = None if key is None else self.holder(key, now)
            if holder is not None:
                return Put(holder.number, holder, now)
            number = self._put(run, facts, shapes, rows, columns, out, now)
            if key is not None:
                self.database.do("key_put", key, run.options.run_id, number, run.name, run.fingerprint)
            put = Put(number, None, now)
        self._tidy()
        return put

    def _put(
        self,
        run: Packed,
        facts: dict[str, Any],
        shapes: list[str],
        rows: list[bytes],
        columns: Columns,
        out: Commands,
        now: int,
    ) -> int:
        database, options, size = self.database, run.options, run.shape.size
        deadline = None if options.timeout is None else now + round(options.timeout * MICROS)
        cursor = database.do("run_add", options.run_id, options.key, run.name, size, size, size, now, deadline)
        number = int(cursor.lastrowid or 0)
        store = json.dumps(facts, separators=(",", ":"))
        database.do("header_add", number, run.header, store, written_bodies(run.bodies))
        lines = [b"\n".join(rows[first : first + SIZE]) for first in range(0, size, SIZE)]
        database.do_all(
            "plan_add", [(chunk_row(number, chunk), shape, lines[chunk]) for chunk, shape in enumerate(shapes)]
        )
        chunks = range(len(lines))
        database.do_all("chunk_put", [(chunk_row(number, chunk), columns.dense(chunk), None) for chunk in chunks])
        layout = Layout(run.shape, run.bodies, fetch_of(database, number), facts)
        self._learn(Known(number, options.run_id, options.key, run.name, facts, layout, run.header))
        if size <= 20_000:  # else they are read again, as far as they are needed
            self._rows.update((chunk_row(number, place), line.split(b"\n")) for place, line in enumerate(lines))
        one = self._run(number, columns)
        assert one is not None
        one.delays = False
        queues = set(run.shape.queues).union(*(body.shape.queues for body in run.bodies))
        database.do_all("queue_add", [(queue, database.draw()) for queue in (*sorted(queues), "flows:control")])
        self._publish(run.limits, now)
        one.note(now, "submitted", [[None, None, None]])
        self._carry_out(one, out, now)
        return number

    def exchange(self, loop: str, seq: int, settles: Sequence[Settle], want: Want, worker: str | None = None) -> Reply:
        """Settle attempts that have ended and claim jobs, in one step.

        The same *seq* of a *loop* again is a call whose reply was lost: it gets the same reply and changes nothing.

        Raises:
            StaleCallError: *seq* is older than that; nothing was changed.
            UnavailableError: The file could not be written; nothing was changed, and the call may be repeated.
        """
        last = self._loops.get(loop)
        if last is not None and seq <= last[0]:
            if seq == last[0]:
                return last[1]
            raise StaleCallError(f"call {seq} of {loop} came after call {last[0]}")
        only: Any = want.run
        if settles and self.settling is not None:
            self.settling(settles)
        with self.transaction(0 if only is None else only.number) as now:
            self._write_notes(now)
            refused = self._settle(settles, now) if settles else ()
            run = None if only is None else self._run(only.number)
            self._grow_on(now)
            self._wake_due(now, run)
            grants: list[Held] = []
            if only is None or run is not None:
                grants = self._take(want, now, worker)
                if not grants and want.limit > 0 and self._free_dead(now, run):
                    grants = self._take(want, now, worker)
            drawn = self._drawn(grants)
            more = self._more(want, len(grants), run, now)
            due_at = self._due_at(want, run, now, bool(grants))
            if run is not None and run.ended_at is not None:
                self._ended.append(run.number)
        if drawn:
            self.briefs(drawn)
        suspects = int(bool(grants) and grants[-1].suspect)  # at most one, and the last
        reply = Reply(self.seconds(now), list(grants), refused, more, due_at, suspects)
        self._loops[loop] = (seq, reply)
        return reply

    def briefs(self, drawn: Sequence[Drawn]) -> None:
        """Give grants their briefs, outside of the step."""
        for one in drawn:
            one.grant.run = self._brief(one)

    def _tell(self, touched: set[int], ended: list[int], interrupted: list[int], by: int) -> None:
        self._stirred, stirred = False, self._stirred
        if self.told is not None:
            self.told(touched, ended, interrupted, by, stirred)

    def _grow_on(self, now: int) -> None:
        """Stamp out more items of lists, where a step before had to stop."""
        for run in tuple(self._touched.values()):
            if run.growing and run.ended_at is None:
                self._sweep(run, now, Commands())

    def _more(self, want: Want, granted: int, run: Any, now: int) -> bool:
        if want.run is not None:
            if run is None:
                return False
            if run.growing:
                return True
            lanes = self._lanes.of(run.number).values()
            return any(bool(lane) and self._room(lane.queue, want, now, granted) > 0 for lane in lanes)
        if 0 < granted < want.limit:
            return False
        self._lanes.flush()
        queues = [queue for (queue,) in self.database.all("queue_all")]
        return any(
            self._lanes.waiting(queue) and self._room(queue, want, now, granted) > 0
            for queue in queues
            if want.queues is None or queue in want.queues
        )

    def _due_at(self, want: Want, run: Any, now: int, busy: bool) -> float | None:
        """When to ask again: a delay ends, a limit may give way, or another process may have done something."""
        due = None if run is None and want.run is not None else self._next_due(run)
        dues = [] if due is None else [due / MICROS]
        if run is not None and not busy and run.ended_at is None and self._others(run):
            dues.append((now / MICROS) + POLL_SECONDS)
        opens = self._opens_at(want, run, now)
        if opens is not None:
            dues.append(opens)
        return min(dues) - self.database.epoch if dues else None

    def cancel(self, run: Any, reason: str) -> None:
        """Cancel a run: what has not started ends at once, what runs is told to stop. A second call changes nothing."""
        with self.transaction() as now:
            one = self._run(run.number)
            if one is None or one.ended_at is not None or one.state.cancelling:
                return
            self._cancel(one, reason, now)

    def abandon(self, run: Any, reason: str) -> None:
        """Let go of a run: what this process holds of it is free, uncounted, and late results are refused.

        The run stays open, to be resumed by whoever asks for it; handlers that run are told to stop.
        """
        run.let_go()
        run.held = True
        with self.transaction() as now:
            one = self._run(run.number)
            if one is not None and one.ended_at is None:
                self._let_go(one, now)
        run.held = False

    def close_loop(self, loop: str) -> None:
        """Forget an exchange loop that will not call again."""
        self._loops.pop(loop, None)

    def extend(self, grants: Sequence[Grant]) -> list[Grant]:
        """Extend leases by their full length from now; returns the grants that hold none any more."""
        refused: list[Grant] = []
        claims: dict[tuple[int, int], None] = {}
        with self.transaction() as now:
            for grant in grants:
                assert isinstance(grant, Held)
                run = self._run(grant.number)
                job, newest = grant.job, run is not None and run.columns.fence[grant.job] == grant.fence
                if run is None or not newest or run.state.state[job] != ACTIVE:
                    refused.append(grant)
                else:
                    claims[grant.number, grant.claim] = None
            until = now + round((self.lease_seconds or 0.0) * MICROS)
            self.database.do_all("claim_extend", [(until, self.session, *claim) for claim in claims])
        return refused

    def rescue(self) -> int:
        """Take back the jobs of expired leases and of dead workers; cancel the runs whose deadline has passed.

        Returns:
            How many jobs were taken back.
        """
        with self.transaction() as now:
            for (number,) in self.database.all("run_overdue", now):
                run = self._run(number)
                if run is not None:
                    run.deadline_at = None
                    if not run.state.cancelling:
                        self._cancel(run, "timeout", now)
            self.database.do("run_overdue_done", now)
            count = self._free_expired(now) + self._free_dead(now, None, always=True)
            (following,) = self.database.one("run_next_overdue")
        if following is not None and self.overdue is not None:
            self.overdue(self.seconds(following))
        return count


def _unknown(chunk: int) -> None:
    """Of a run that has just been submitted the file has no columns yet."""


def _begun(run: Packed) -> tuple[RunState, Commands]:
    """The columns of a new run, with those jobs released that wait for nothing."""
    shape = run.shape
    size = shape.size
    state = RunState(
        size=size,
        state=bytearray(size),
        pending=shape.pending,  # type: ignore[arg-type]
        ordinal=[0] * size,
        edges=shape.edges,
        effects=shape.codes,
        delays={job: ms / 1000 for job, ms in enumerate(shape.delay_ms) if ms},
        limits=shape.attempts,
        gated={job for job, flags in enumerate(shape.flags) if flags & 1},
    )
    out = Commands()
    machine.begin(state, out)
    return state, out
