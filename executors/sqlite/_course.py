"""The course of runs: what the machine has decided is carried out on lanes, delays and the journal. Within a step."""

from __future__ import annotations

import operator
from abc import abstractmethod
from typing import Any, Final

from executors.sqlite._database import MICROS, Database
from executors.sqlite._ground import Ground
from executors.sqlite._growth import grow
from executors.sqlite._keys import job_of, row_of
from executors.sqlite._run import EVERYTHING, OpenRun
from flows import _machine as machine
from flows._state import CANCELLED, CONTROL_QUEUE, FAILED, STATE_NAMES, Commands

GROWTH: Final = 2000
"""Jobs that a step stamps out at most for the items of lists: a step must not hold up other processes for long."""

_DUE: Final = operator.itemgetter(1, 2)
"""The instant and the place of a delayed job."""

DUE_STEP: Final = 200
"""Delayed jobs that a step puts into their queues at most."""


class Course(Ground):
    """How runs go on in the file."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.growth = GROWTH

    def _sweep(self, run: OpenRun, now: int, out: Commands, tried: dict[int, int | None] | None = None) -> None:
        """Apply all unswept edges, stamp items out, and do what the machine asks."""
        machine.sweep(run.state, EVERYTHING, out)
        left = self.growth
        while (out.grow or run.growing) and left > 0:
            stamped = grow(run, left, self._renew, out)
            machine.sweep(run.state, EVERYTHING, out)
            left -= stamped or left
        run.growing.update(dict.fromkeys(out.grow))  # by what was swept last: for the next step
        out.grow.clear()
        self._carry_out(run, out, now, tried)

    def _carry_out(self, run: OpenRun, out: Commands, now: int, tried: dict[int, int | None] | None = None) -> None:
        run.changed = True
        if out.ended:
            columns = run.columns.sparse
            if tried is None and not columns["cause"].ever and not run.state.cancelling and not columns["made"].ever:
                run.note(now, "completed", out.ended)
            else:
                self._note_ends(run, out.ended, now, tried or {})
            if not run.state.open:
                self._end(run, now)
        if out.ready:
            self._enqueue(run, out.ready)
        if out.delayed:
            rows = []
            for job, after in sorted(out.delayed):
                due_at = now + round(after * MICROS)
                rows.append((run.number, due_at, self.database.draw(), row_of(run.number, job)))
            self.database.do_all("delayed_add", rows)
            run.delays = True
        if out.interrupt:
            self._interrupted.append(run.number)
        if run.known.facts["fail_fast"] and run.state.open and not run.state.cancelling:
            self._check_root(run, out.ended, now)

    def _enqueue(self, run: OpenRun, ready: list[int]) -> None:
        layout, gated = run.known.layout, run.state.gated
        lanes, own, listed = self._lanes, layout.shape, layout.listed
        former: Any = None
        plain: list[int] = []
        lane = None
        for job in ready:
            if listed:
                shape, place = layout.of(job)
                queue = layout.queue(job)
            else:
                shape, place, queue = own, job, own.queues[own.queue[job]]
            if gated and job in gated:
                queue = CONTROL_QUEUE
            priority = shape.priority[place]
            if (queue, priority) != former:
                if plain and lane is not None:
                    lane.add(plain)
                    plain = []
                lane, former = lanes.lane(run.number, queue, priority), (queue, priority)
                lanes.enlist(lane)
            assert lane is not None
            if shape.lifo[place]:
                lane.add(plain)
                plain = []
                lane.add_first(job)
            else:
                plain.append(job)
        if plain and lane is not None:
            lane.add(plain)

    @abstractmethod
    def _renew(self, run: OpenRun, job: int) -> None:
        """A job that has ended will be done again: its last attempt is filed, the rest of it is dropped."""

    @staticmethod
    def _note_ends(run: OpenRun, ended: list[int], now: int, tried: dict[int, int | None]) -> None:
        states, made = run.state.state, run.state.made
        for job in ended:
            number = tried.get(job) or made.get(job)
            run.note(now, STATE_NAMES[states[job]], [[job, number]])

    def _end(self, run: OpenRun, now: int) -> None:
        number = run.number
        self._lanes.clear(number)
        if run.delays:
            self.database.do("delayed_clear", number)
        if run.state.lost:
            self.database.do("suspect_clear", row_of(number, 0), row_of(number + 1, 0))
        run.ended_at = now
        run.growing.clear()
        states = {run.state.state[root] for root in run.known.facts["roots"]}
        end = "failed" if FAILED in states else "cancelled" if CANCELLED in states else "completed"
        run.note(now, "ended", [[None, None, end]])
        if run.known.layout.sharing:
            self.database.do("shared_forget", run.known.id)
        self._ended.append(number)
        self._file_end(run, end, now)

    def _file_end(self, run: OpenRun, end: str, now: int) -> None:
        """The run has ended: its row says so, and its clocks run from now on."""
        facts = run.known.facts
        kept = facts["keep"] if end == "completed" else facts["keep_failed"]
        self.database.do("run_end", now, end, now + round(kept * MICROS), run.number)
        if facts["keep_count"] is not None:
            self._thin_out(run.known.name, facts["keep_count"])
        if run.known.key is not None:
            self.database.do("key_ended", now + round(facts["key_ttl"] * MICROS), run.known.key, run.known.id)

    def _thin_out(self, name: str, count: int) -> None:
        """Retire the oldest ended runs of a flow beyond *count*."""

    def _check_root(self, run: OpenRun, ended: list[int], now: int) -> None:
        """Where a root has failed just now, and the run is to fail fast, nothing more is worth doing."""
        for root in run.known.facts["roots"]:
            if root in ended and run.state.state[root] == FAILED:
                self._cancel(run, "", now, root)
                return

    def _cancel(self, run: OpenRun, reason: str, now: int, root: int | None = None) -> None:
        if root is not None:
            reason = f"{self._id_of(run, root)!r} has failed, and the run was to fail fast"
        run.reason = reason
        out = Commands()
        machine.cancel(run.state, out, run.jobs())
        self._interrupted.append(run.number)
        self._sweep(run, now, out, {})

    def _id_of(self, run: OpenRun, job: int) -> str:
        """The id of a job."""
        return run.known.id_of(job, lambda one: self._row(run, one))

    def _wake_due(self, now: int, only: OpenRun | None) -> None:
        """Put delayed jobs whose time has come into their queues."""
        if only is not None:
            if not only.delays:
                return
            rows = self.database.all("delayed_due_of", only.number, now, DUE_STEP)
        else:
            rows = self.database.all("delayed_due", now, DUE_STEP)
            rows.sort(key=_DUE)  # of one instant, who was delayed first
        if not rows:
            return
        self.database.do_all("delayed_drop", [row[:3] for row in rows])
        outs: dict[int, Commands] = {}
        for number, _, _, row in rows:
            run = self._run(number)
            if run is not None:
                machine.wake(run.state, job_of(row)[1], outs.setdefault(number, Commands()))
        for number, out in outs.items():
            run = self._run(number)
            if run is not None:
                self._carry_out(run, out, now)

    def _next_due(self, only: OpenRun | None) -> int | None:
        if only is not None:
            if not only.delays:
                return None
            (due,) = self.database.one("delayed_next_of", only.number)
            if due is None:
                only.delays = False
        else:
            (due,) = self.database.one("delayed_next")
        found: int | None = due
        return found
