"""What limits queues: places for attempts that are active at once, and a rate at which they start.

State and flow. The limits of a queue are published with each run whose plan knows its `Queue`, the last one wins; they
hold for all runs of the store. Every claim from a limited queue takes a *place*, and the job gives it back when its
attempt has ended, was released or lost. A run that could have claimed more stands in the queue's *line* from then on.
Each place that comes back is kept for the first in line, whose crew is woken, so that runs take turns and the one that
has just given a place back does not always take it again. What a rate keeps back has an instant instead: it is in the
`Reply`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast

from executors.memory._queue_limit import QueueLimit
from flows._rate import Rate
from flows._state import ACTIVE, WAITING
from flows._verbs import End, Grant, Settle
from flows.errors import RunError

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun

Stated = tuple[int | None, tuple[int, float] | None]
"""What a `Queue` says: its concurrency, its rate as (starts, seconds)."""

_UNSTARTED: Final = (End.RELEASED, End.REPLAYED)
"""How a claim ends that came to no attempt."""


class Limit:
    """The limits of one queue, and who uses them.

    Attributes:
        active: Places taken.
        rate: None where starts are not limited.
        paused: Whether nothing is handed out, whatever the limits.
        line: Runs that could have claimed more, in the order of their turns.
    """

    __slots__ = ("active", "concurrency", "line", "paused", "queue", "rate")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.concurrency: int | None = None
        self.rate: Rate | None = None
        self.active = 0
        self.paused = False
        self.line: dict[MemoryRun, None] = {}

    @property
    def stated(self) -> Stated:
        """The limits, as a `Queue` says them."""
        return self.concurrency, None if self.rate is None else (self.rate.count, self.rate.period)

    def free(self, now: float) -> int:
        """How many jobs may be claimed, were there no line."""
        if self.paused:
            return 0
        free = sys.maxsize if self.concurrency is None else self.concurrency - self.active
        return free if self.rate is None else min(free, self.rate.room(now))

    def room(self, run: MemoryRun | None, now: float) -> int:
        """How many jobs *run* may claim: one is kept for each run before it in line."""
        return self.free(now) - self.ahead(run) if self.line else self.free(now)

    def ahead(self, run: MemoryRun | None) -> int:
        """How many runs have their turn before *run*."""
        for place, other in enumerate(self.line):
            if other is run:
                return place
        return len(self.line)

    def due_at(self, run: MemoryRun | None, now: float) -> float | None:
        """When the rate will allow what it does not allow now."""
        if self.rate is None:
            return None
        due = self.rate.opens_at(self.ahead(run) + 1, now)
        return due if due > now else None


class Place:
    """What an active job of a limited queue holds.

    Attributes:
        begun: Whether its start has been counted; else one is reserved.
    """

    __slots__ = ("begun", "limit")

    def __init__(self, limit: Limit, *, begun: bool) -> None:
        self.limit = limit
        self.begun = begun


class Limits:
    """The limits of all queues of a store. Used under the store's lock.

    Attributes:
        of: Queue name -> its limits; limited queues only, so that it is empty where there are none.
        stirred: Limits under which a place has become free, or a turn, since runs were last woken.
    """

    def __init__(self) -> None:
        self.of: dict[str, Limit] = {}
        self.stirred: dict[Limit, None] = {}

    def publish(self, stated: Mapping[str, Stated], runs: Iterable[MemoryRun]) -> None:
        """Put limits into force, or lift them; *runs* are all that may have active jobs.

        What is active already counts; what is too much runs on, and nothing more starts until it has gone down.
        """
        for queue, (concurrency, rate) in stated.items():
            limit = self.of.get(queue)
            if concurrency is None and rate is None and (limit is None or not limit.paused):
                if limit is not None:
                    self._lift(limit, runs)
                continue
            if limit is None:
                limit = self.of[queue] = Limit(queue)
                _count(limit, runs)
            elif limit.stated == (concurrency, rate):
                continue
            limit.concurrency = concurrency
            if rate is None or limit.rate is None:
                for place in _places(limit, runs):  # starts count from now on
                    place.begun = True
                limit.rate = None if rate is None else Rate(*rate)
            else:
                limit.rate.change(*rate)
            self._stir(limit)

    def pause(self, queue: str, runs: Iterable[MemoryRun], *, paused: bool) -> None:
        """Hand out nothing of a queue, whatever its limits, or again what these allow."""
        limit = self.of.get(queue)
        if limit is None:
            limit = self.of[queue] = Limit(queue)
            _count(limit, runs)
        limit.paused = paused
        if not paused and limit.stated == (None, None):
            self._lift(limit, runs)
        self._stir(limit)

    def touch(self, run: MemoryRun) -> bool:
        """Whether any of the run's queues is limited."""
        return any(lane.queue in self.of for lane in run.lanes)

    def hold(self, limit: Limit, run: MemoryRun, grants: Sequence[Grant]) -> None:
        """Note a place for each of *grants*."""
        limit.active += len(grants)
        if limit.rate is not None:
            limit.rate.reserve(len(grants))
            run.rated = True
        for grant in grants:
            run.holding[grant.job] = Place(limit, begun=limit.rate is None)

    def began(self, grant: Grant, run: MemoryRun, now: float) -> None:
        """The attempt starts now."""
        place = run.holding.get(grant.job)
        if place is not None and not place.begun and run.fences[grant.job] == grant.fence:
            place.begun = True
            if place.limit.rate is not None:
                place.limit.rate.start(now)

    def settled(self, run: MemoryRun, settles: Sequence[Settle]) -> None:
        """Free the places of those attempts that are over."""
        states = run.state.state
        for settle in settles:
            job = settle.grant.job
            if job in run.holding and states[job] != ACTIVE:
                self.free(run, job, None if settle.end in _UNSTARTED else settle.started_at)

    def free(self, run: MemoryRun, job: int, started_at: float | None) -> None:
        """A job gives its place back, if it holds one.

        Args:
            started_at: When the attempt started, where that was not told before; None: it did not.
        """
        place = run.holding.pop(job, None)
        if place is None:
            return
        limit = place.limit
        limit.active -= 1
        given_back = False
        if limit.rate is not None and not place.begun:
            if started_at is None:
                limit.rate.give_back()
                given_back = True
            else:
                limit.rate.start(started_at)
        if given_back or limit.concurrency is not None:
            self._stir(limit)

    def line_up(self, run: MemoryRun, refused: Mapping[Limit, bool]) -> None:
        """*run* stands in the lines of just those limits that keep jobs back which it had the hands for.

        Args:
            refused: These limits; True where it has got some, so that it is now the turn of the others.
        """
        for limit in tuple(run.lines):
            if limit not in refused:
                self._step_out(run, limit)
        for limit, has_got in refused.items():
            if has_got:
                limit.line.pop(run, None)
            limit.line.setdefault(run)
            run.lines[limit] = None

    def leave(self, run: MemoryRun) -> None:
        """A run wants nothing for the present."""
        for limit in tuple(run.lines):
            self._step_out(run, limit)

    def dismiss(self, run: MemoryRun) -> None:
        """A run has ended, in whatever way."""
        for job in tuple(run.holding):
            self.free(run, job, None)
        self.leave(run)

    def stir_all(self) -> None:
        """Have everybody look whose turn it may be."""
        for limit in self.of.values():
            self._stir(limit)

    def waking(self, now: float) -> list[MemoryRun]:
        """The runs whose turn has come; to be woken once the store's lock is free."""
        runs: dict[MemoryRun, None] = {}
        for limit in self.stirred:
            if limit.concurrency is not None:
                # Not cut down to what a rate allows: who is kept back by that learns the instant when it asks.
                free = limit.concurrency - limit.active
            else:  # the first in line, at least, has another instant to wait for
                free = len(limit.line) if limit.rate is None else max(1, limit.rate.room(now))
            runs.update(dict.fromkeys([run for place, run in enumerate(limit.line) if place < free]))
        self.stirred.clear()
        return list(runs)

    def shut(self, run: MemoryRun | None, now: float) -> frozenset[str]:
        """The queues from which *run*, or a worker for any, may claim nothing now."""
        return frozenset([queue for queue, limit in self.of.items() if limit.room(run, now) <= 0])

    def due_at(self, run: MemoryRun | None, queues: Iterable[str], now: float) -> float | None:
        """When the first of those *queues* opens that a rate keeps shut now."""
        dues = [self.of[queue].due_at(run, now) for queue in queues if queue in self.of]
        return min([due for due in dues if due is not None], default=None)

    def seen(self, queue: str, now: float) -> QueueLimit | None:
        """How it stands with a queue; None if it has no limits."""
        limit = self.of.get(queue)
        if limit is None:
            return None
        rate = limit.rate
        next_at = None if rate is None or rate.room(now) > 0 else rate.opens_at(1, now)
        of, waiting = limit.stated, len(limit.line)
        return QueueLimit(queue, of[0], limit.active, of[1], next_at, waiting, limit.paused)

    def _lift(self, limit: Limit, runs: Iterable[MemoryRun]) -> None:
        del self.of[limit.queue]
        for run in runs:
            for job in [job for job, place in run.holding.items() if place.limit is limit]:
                del run.holding[job]
        for run in limit.line:
            run.lines.pop(limit, None)
        limit.concurrency = limit.rate = None
        self.stirred[limit] = None

    def _step_out(self, run: MemoryRun, limit: Limit) -> None:
        del run.lines[limit]
        del limit.line[run]
        self._stir(limit)

    def _stir(self, limit: Limit) -> None:
        if limit.line:
            self.stirred[limit] = None


class LimitVerbs:
    """The verbs of a store that are about limits."""

    clock: Callable[[], float]
    _lock: threading.Lock
    _limits: Limits

    def began(self, grant: Grant) -> float:
        """A handler is about to start; told of jobs of runs that are `rated`. Returns the instant that is counted."""
        with self._lock:
            now = self.clock()
            self._limits.began(grant, cast("MemoryRun", grant.run), now)
            return now

    def limit_of(self, queue: str) -> QueueLimit | None:
        """How it stands with a queue at this moment; None if it has no limits."""
        with self._lock:
            return self._limits.seen(queue, self.clock())

    def check_waiting(self, run: MemoryRun, waiter: Grant) -> None:
        """Refuse that the handler of *waiter* waits for *run*, where neither could ever go on.

        Raises:
            RunError: The run has jobs on a queue whose places are all held by handlers that wait for it.
        """
        with self._lock:
            _check_waiting(run, waiter, self._limits)

    def held_back(self, run: MemoryRun, job: int) -> str | None:
        """What limit of its queue keeps a waiting job back, in words; None if none does."""
        with self._lock:
            return _held_back(run, job, self._limits, self.clock())


def wake(runs: Iterable[MemoryRun]) -> None:
    """Have those who work these runs off look for jobs. Not under the store's lock."""
    for run in runs:
        for waker in tuple(run.wakers):
            waker()


def _held_back(run: MemoryRun, job: int, limits: Limits, now: float) -> str | None:
    """What limit of its queue keeps a job waiting, in words."""
    if run.state.state[job] != WAITING:
        return None
    seen = limits.seen(run.plan.queues_of[job], now)
    return None if seen is None else seen.reason(now)


def _check_waiting(run: MemoryRun, waiter: Grant | None, limits: Limits) -> None:
    """Refuse to wait for a run that itself could only wait for ever.

    Args:
        waiter: The attempt whose handler wants to wait.

    Raises:
        RunError: The run has jobs on a queue whose places are all held by handlers that wait for it, one for another.
    """
    held: dict[Limit, int] = {}
    while waiter is not None:
        above = cast("MemoryRun", waiter.run)
        place = above.holding.get(waiter.job)
        if place is not None and above.fences[waiter.job] == waiter.fence:
            held[place.limit] = held.get(place.limit, 0) + 1
        waiter = above.awaited_by
    for limit, places in held.items():
        if limits.of.get(limit.queue) is limit and limit.concurrency is not None and places >= limit.concurrency:
            for job, queue in enumerate(run.plan.queues_of):
                if queue == limit.queue and run.state.state[job] < ACTIVE:
                    raise RunError(
                        f"run {run.id}: job {run.plan.ids[job]!r} needs a place on queue {queue!r}, whose concurrency "
                        f"of {limit.concurrency} is used up by handlers that would wait for the run, for ever; put "
                        "the job on another queue, or make it part of the outer flow"
                    )


def _places(limit: Limit, runs: Iterable[MemoryRun]) -> list[Place]:
    return [place for run in runs for place in run.holding.values() if place.limit is limit]


def _count(limit: Limit, runs: Iterable[MemoryRun]) -> None:
    """Give a place to each job that is active already."""
    for run in runs:
        queues = run.plan.queues_of
        if any(lane.queue == limit.queue for lane in run.lanes):
            for job, state in enumerate(run.state.state):
                if state == ACTIVE and queues[job] == limit.queue:
                    run.holding[job] = Place(limit, begun=True)
                    limit.active += 1
