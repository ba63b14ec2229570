"""Limits of queues: how many of their jobs may be active or start, and whether they are paused. Within a step.

Of each such queue there are the places taken, the starts that its rate counts, and the line of runs that could have
claimed more. A claim takes a place and the end of an attempt gives it back; one is kept for each run that stands before
the claimer in line.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from executors.sqlite._claims import UNLIMITED, Held
from executors.sqlite._database import MICROS, Database
from executors.sqlite._keys import row_of
from executors.sqlite._run import OpenRun
from executors.sqlite._settling import Settling
from flows._rate import Rate
from flows._state import ACTIVE, CONTROL_QUEUE
from flows._verbs import End, Grant, Settle, Want
from flows.errors import RunError

POLL_SECONDS: Final = 0.05
"""How soon to look again for a place that a job of another process may have given back."""

_UNSTARTED: Final = (End.RELEASED, End.REPLAYED)
"""How a claim ends that came to no attempt."""


class Limit:
    """One queue that is limited or paused.

    Attributes:
        active: Places taken.
        rate: None where starts are not limited.
        line: Runs that could have claimed more, by turns.
        stale: Whether the log of starts is to be written.
    """

    __slots__ = ("active", "concurrency", "line", "paused", "queue", "rate", "stale")

    def __init__(self, queue: str, concurrency: int | None, rate: Rate | None, paused: bool, active: int) -> None:
        self.queue = queue
        self.concurrency = concurrency
        self.rate = rate
        self.paused = paused
        self.active = active
        self.line: dict[int, None] = {}
        self.stale = False

    def ahead(self, run: int) -> int:
        """How many runs have their turn before *run*."""
        for place, other in enumerate(self.line):
            if other == run:
                return place
        return len(self.line)

    def room(self, run: int, now: float) -> int:
        """How many jobs *run* may claim; one is kept for each run before it in line."""
        if self.paused:
            return 0
        free = UNLIMITED if self.concurrency is None else self.concurrency - self.active
        if self.rate is not None:
            free = min(free, self.rate.room(now))
        return free - self.ahead(run)


class LimitVerbs(Settling):
    """What keeps jobs back.

    Attributes:
        rated: Whether any queue has a rate, so that starts must be told.
    """

    rated = False

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._limits: dict[str, Limit] | None = None
        self._stirred = False

    def publish(self, stated: Mapping[str, Any]) -> None:
        """Put limits of queues into force, or lift them."""
        if stated:
            with self.transaction() as now:
                self._publish(stated, now)

    def pause(self, queue: str, paused: bool) -> None:
        """Keep all waiting jobs of a queue back until it is resumed; what is active goes on."""
        with self.transaction():
            self.database.do("queue_add", queue, self.database.draw())
            self.database.do("queue_pause", int(paused), queue)
            self._limits, self._stirred = None, True

    def began(self, grant: Grant) -> float:
        """A handler is about to start; told of jobs of queues with a rate. Returns the instant that is counted."""
        held = cast("Held", grant)
        with self.transaction(held.number) as now:
            row = self.database.one("holding_get", row_of(held.number, held.job))
            run = self._run(held.number)
            if row is not None and not row[1] and run is not None and run.columns.fence[held.job] == held.fence:
                limit = self._limited().get(row[0])
                if limit is not None and limit.rate is not None:
                    limit.rate.start(now / MICROS)
                    limit.stale = True
                self.database.do("holding_begun", row_of(held.number, held.job))
            return self.seconds(now)

    def held_back(self, number: int, job: int, queue: str) -> str | None:
        """What keeps a waiting job back other than its turn, in words."""
        with self.transaction() as now:
            limit = self._limited().get(queue)
            if limit is None:
                return None
            if limit.paused:
                return f"queue {queue} is paused"
            if limit.concurrency is not None and limit.active >= limit.concurrency:
                return f"waits for a free place on queue {queue} ({limit.active} of {limit.concurrency} active)"
            if limit.rate is not None and limit.rate.room(now / MICROS) <= 0:
                left = max(0.0, limit.rate.opens_at(1, now / MICROS) - now / MICROS)
                return f"rate limit of queue {queue}, next in {left:.1f} s"
            return f"waits for its turn on queue {queue}" if limit.line else None

    def check_waiting(self, number: int, waiters: Sequence[Held]) -> None:
        """Refuse that handlers wait for a run that itself could only wait for ever.

        Args:
            waiters: The attempts whose handlers would wait for it, one for another.

        Raises:
            RunError: The run has jobs on a queue whose places are all held by these.
        """
        with self.transaction():
            places: Counter[str] = Counter()
            for waiter in waiters:
                row = self.database.one("holding_get", row_of(waiter.number, waiter.job))
                above = self._run(waiter.number)
                if row is not None and above is not None and above.columns.fence[waiter.job] == waiter.fence:
                    places[row[0]] += 1
            run = self._run(number)
            for queue, count in places.items() if run is not None else ():
                limit = self._limited().get(queue)
                if run is None or limit is None or limit.concurrency is None or count < limit.concurrency:
                    continue
                job = next((job for job in run.jobs() if self._waits_on(run, job, queue)), None)
                if job is not None:
                    raise RunError(
                        f"run {run.known.id}: job {self._id_of(run, job)!r} needs a place on queue {queue!r}, whose "
                        f"concurrency of {limit.concurrency} is used up by handlers that would wait for the run, for "
                        "ever; put the job on another queue, or make it part of the outer flow"
                    )

    @staticmethod
    def _waits_on(run: OpenRun, job: int, queue: str) -> bool:
        return run.state.state[job] < ACTIVE and run.known.layout.queue(job) == queue

    def _forget(self) -> None:
        super()._forget()
        self._limits, self._stirred = None, False

    def _flush(self) -> None:
        for limit in (self._limits or {}).values():
            if limit.stale and limit.rate is not None:
                limit.stale = False
                self.database.do("queue_log", json.dumps(limit.rate.written()), limit.queue)
        super()._flush()

    def _limited(self) -> dict[str, Limit]:
        """The queues with limits."""
        found = self._limits
        if found is None:
            found = self._limits = {}
            for queue, concurrency, starts, period, paused, log in self.database.all("queue_limited"):
                rate = None if starts is None else Rate(starts, period)
                if rate is not None and log:
                    rate.read(json.loads(log))
                (active,) = self.database.one("holding_count", queue)
                limit = found[queue] = Limit(queue, concurrency, rate, bool(paused), active)
                limit.line = {run: None for (run,) in self.database.all("line_of", queue)}
            self.rated = any(limit.rate is not None for limit in found.values())
        return found

    def _publish(self, stated: Mapping[str, Any], now: int) -> None:
        """Put limits into force, or lift them. What is active already counts."""
        for queue, (concurrency, rate) in stated.items():
            starts, period = rate or (None, None)
            row = self.database.one("queue_get", queue)
            if row == (concurrency, starts, period):
                continue
            if row is None:
                self.database.do("queue_add", queue, self.database.draw())
            before = None if row is None else row[:2]
            self.database.do("queue_limit", concurrency, starts, period, queue)
            if rate is None:
                self.database.do("queue_log", "", queue)
                self.database.do("holding_begun_all", queue)
            if before in (None, (None, None)) and (concurrency is not None or rate is not None):
                self._count(queue)
            elif concurrency is None and rate is None:
                self.database.do("holding_lift", queue)
                self.database.do("line_lift", queue)
            self._limits, self._stirred = None, True

    def _count(self, queue: str) -> None:
        """Give a place to each job of a queue that is active already."""
        rows = []
        for number in self._claimed():
            run = self._run(number)
            if run is None:
                continue
            for (jobs,) in self.database.all("claim_jobs", number):
                rows += [
                    (row_of(number, job), queue, 1)
                    for job in memoryview(jobs).cast("I")
                    if run.state.state[job] == ACTIVE and run.known.layout.queue(job) == queue
                ]
        self.database.do_all("holding_add", rows)

    def _claimed(self) -> set[int]:
        """The runs that have active jobs."""
        found: set[int] = set()
        for (session,) in self.database.all("session_others", 0):
            row = self.database.one("claim_next", session, 0)
            while row is not None:
                found.add(row[0])
                row = self.database.one("claim_next", session, row[0])
        return found

    def _room(self, queue: str, want: Want, now: int, granted: int) -> int:
        if self._limits == {} or queue == CONTROL_QUEUE:
            return UNLIMITED
        limit = self._limited().get(queue)
        if limit is None:
            return UNLIMITED
        only: Any = want.run
        return min(want.at_once - granted, limit.room(0 if only is None else only.number, now / MICROS))

    def _hold(self, run: OpenRun, jobs: Sequence[int]) -> None:
        limits = self._limited()
        if not limits:
            return
        layout, rows = run.known.layout, []
        for job in jobs:
            limit = limits.get(layout.queue(job))
            if limit is not None:
                limit.active += 1
                if limit.rate is not None:
                    limit.rate.reserve(1)
                    limit.stale = True
                rows.append((row_of(run.number, job), limit.queue, int(limit.rate is None)))
        if rows:
            self.database.do_all("holding_add", rows)

    def _line_up(self, run: OpenRun, want: Want, granted: Sequence[Held]) -> None:
        limits = self._limited()
        if not limits:
            return
        done = run.ended_at is not None or run.state.cancelling or len(granted) >= min(want.limit, want.at_once)
        layout = run.known.layout
        got = {layout.queue(grant.job) for grant in granted if not grant.control}
        left = set() if done else {lane.queue for lane in self._lanes.of(run.number).values() if lane}
        for queue, limit in limits.items():
            stands = run.number in limit.line
            if queue not in left:
                if stands:
                    self._step_out(limit, run.number)
            elif not stands or queue in got:
                limit.line.pop(run.number, None)
                limit.line[run.number] = None
                self.database.do("line_put", queue, run.number, self.session, self.database.draw())
                self._stirred = self._stirred or (queue in got and len(limit.line) > 1)

    def _step_out(self, limit: Limit, number: int) -> None:
        del limit.line[number]
        self.database.do("line_drop", limit.queue, number)
        self._stirred = self._stirred or bool(limit.line)

    def _freed(self, run: OpenRun, settles: Sequence[Settle], tried: Mapping[int, int | None]) -> None:
        if not self._limited():
            return
        states = run.state.state
        for settle in settles:
            job = settle.grant.job
            if job in tried and states[job] != ACTIVE and not settle.grant.control:
                self._free(
                    run.number, job, None if settle.end in _UNSTARTED else self.micros(settle.started_at) / MICROS
                )

    def _free(self, number: int, job: int, started_at: float | None) -> None:
        """A job gives its place back, if it holds one."""
        if not self._limited():
            return
        row = self.database.one("holding_get", row_of(number, job))
        if row is None:
            return
        queue, begun = row
        self.database.do("holding_drop", row_of(number, job))
        limit = self._limited().get(queue)
        if limit is None:
            return
        limit.active -= 1
        if limit.rate is not None and not begun:
            if started_at is None:
                limit.rate.give_back()
            else:
                limit.rate.start(started_at)
            limit.stale = True
        if limit.line:
            self._stirred = True

    def _end(self, run: OpenRun, now: int) -> None:
        super()._end(run, now)
        for limit in self._limited().values():
            if run.number in limit.line:
                self._step_out(limit, run.number)

    def _opens_at(self, want: Want, run: OpenRun | None, now: int) -> float | None:
        """When a limit may let jobs be claimed that it keeps back now."""
        limits = self._limited()
        if not limits or want.limit <= 0:
            return None
        number = 0 if run is None else run.number
        dues = []
        for queue, limit in limits.items():
            if run is not None:
                waits = any(bool(lane) for lane in self._lanes.of(number).values() if lane.queue == queue)
            else:
                waits = (want.queues is None or queue in want.queues) and self._lanes.waiting(queue)
            if not waits or limit.room(number, now / MICROS) > 0:
                continue
            if limit.rate is not None and limit.rate.room(now / MICROS) <= 0:
                dues.append(max(limit.rate.opens_at(limit.ahead(number) + 1, now / MICROS), now / MICROS + 0.001))
            else:
                dues.append(now / MICROS + POLL_SECONDS)
        return min(dues, default=None)
