"""MemoryRun: all that is kept of one run, as columns; at once the worker's brief and the user's record."""

from __future__ import annotations

import itertools
import logging
from bisect import insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from executors._leasing._audience import listeners
from executors._leasing._log import say
from executors._leasing._solo import SOLO_JOBS
from executors.memory._columns import Columns
from executors.memory._growth import Mould
from executors.memory._queues import Lane
from executors.memory._record import Record
from executors.memory._teller import Telling, teller
from flows._binding import Binding
from flows._handlers import Handler
from flows._plan import Plan
from flows._state import ACTIVE
from flows._telemetry import may_be_traced, trace_run
from flows._verbs import Grant
from flows._views import end_state
from flows.executor import RunOptions

if TYPE_CHECKING:
    from executors._leasing import Crew
    from executors._leasing._seats import Seats
    from executors.memory._limits import Limit, Place
    from flows._bodies import Body
    from flows._meters import Depths
    from flows._tracing import RunTrace


_is_async = attrgetter("is_async")


class MemoryRun(Record):
    """One run in memory. Written by its store under the store's lock; read by anyone at any time.

    Slotted, as it is made for each small flow: a dict of so many attributes would cost as much as two of its jobs.

    Attributes:
        shares: Whether any job shares its result under an idempotency key.
        on_end: Called under the store's lock when the run ends; must be quick.
        tracing: The run's trace, where somebody records it.
        telling: How far loggers and meters have heard of it, where there are any.
        is_simple: Whether a thread may work the run off alone.
        calm: Whether all that has happened to the run is that its callers have claimed and completed jobs, one at a
            time each: then a step may be the shortest there is.
        openings: How often the run was begun: more than once where it was reopened.
        ended: Whether every job is terminal and the journal says so.
        interrupters: Called when the run is cancelled, so that whoever runs its handlers can tell them.
        wakers: Called when jobs may have become claimable by what happened in other runs.
        holding: The places that active jobs hold on limited queues.
        lines: The limits in whose line the run stands.
        rated: Whether any of its jobs came from a queue with a rate, so that starts must be told.
        awaited_by: The attempt whose handler waits for the run in this process.
        seats: Who says how many of its jobs may be in processes at once, if any is for one.
        only_lane: The one lane of a run whose jobs all wait in the same place; None where it depends on the job.
    """

    writing = None
    """Results are kept as they are."""
    costly = False

    __slots__ = (
        *("awaited_by", "calm", "crew", "deadline_at", "delayed", "ended", "has_async", "has_process", "has_sync"),
        *("has_timeout", "holding", "id", "interrupters", "is_simple", "key", "leases", "lines", "on_end"),
        *("only_lane", "openings", "options", "rated", "seats", "shares", "telling", "trace_id", "tracing"),
        *("wakers", "watchers", "_lane_of", "__weakref__"),
    )

    def __init__(
        self,
        options: RunOptions,
        plan: Plan[Any],
        handlers: Sequence[Handler],
        bindings: Sequence[Binding],
        clock: Callable[[], float],
        epoch: float,
        moulds: Mapping[Body, Mould] | None = None,
    ) -> None:
        Columns.__init__(self, plan, handlers, bindings, moulds or {}, epoch)  # super() takes long, for a small run
        self.clock, self._submitted = clock, clock()
        self.options = options
        self.id, self.key, self.trace_id = options.run_id, options.key, options.trace_id
        self._note_kinds(moulds or {})
        self.tracing: RunTrace | None = None
        self.telling: Telling | None = None
        self.on_end: Callable[[], object] | None = None
        self.store, self.closed_at, self.reason = None, None, ""
        self.openings = 1
        self.ended = False
        self.deadline_at: float | None = None
        self.delayed: list[tuple[float, int, int]] = []
        self.leases: dict[int, tuple[Grant, float]] = {}
        self.watchers: list[Callable[[], None]] = []
        self.interrupters: list[Callable[[], None]] = []
        self.wakers: list[Callable[[], None]] = []
        self.holding: dict[int, Place] = {}
        self.lines: dict[Limit, None] = {}
        self.rated = False
        self.awaited_by: Grant | None = None
        self.seats: Seats | None = None
        self.crew: Crew | None = None
        self.lanes = []
        self._lane_of: dict[tuple[str, int], Lane] = {}
        self.only_lane: Lane | None = None
        queue = plan.traits.queue
        if queue is not None:
            self.only_lane = self._lane_of[queue, 0] = lane = Lane(self, queue, 0)
            self.lanes.append(lane)

    def _note_kinds(self, moulds: Mapping[Body, Mould]) -> None:
        """What the run needs to be worked off."""
        plan, traits = self.plan, self.plan.traits
        handlers: Iterable[Handler] = self.handlers
        timed, self.has_process, self.shares = traits.timed, traits.in_process, traits.shares
        if moulds:
            handlers = [*handlers, *itertools.chain.from_iterable(mould.handlers for mould in moulds.values())]
            for body in moulds:
                inner = body.plan.traits
                timed, self.shares = timed or inner.timed, self.shares or inner.shares
                self.has_process = self.has_process or inner.in_process
        is_async = set(map(_is_async, handlers))
        self.has_async, self.has_sync = True in is_async, False in is_async
        timed = timed or self.options.timeout is not None
        self.has_timeout = timed and self.has_sync
        self.is_simple = traits.steady and not timed and not self.has_async and len(plan.names) <= SOLO_JOBS
        self.calm = self.is_simple and traits.queue is not None and not traits.delays

    def lane(self, queue: str, priority: int) -> Lane:
        """Where the run's jobs of that queue and priority wait."""
        lane = self._lane_of.get((queue, priority))
        if lane is None:
            lane = self._lane_of[queue, priority] = Lane(self, queue, priority)
            insort(self.lanes, lane)
        return lane

    def rouse(self) -> None:
        """Jobs have become ready by what another run did: whoever works on this one should look."""
        crew = self.crew
        if crew is not None:
            crew.rouse()

    def report(self, job: int, progress: object) -> None:
        """A handler says how far it is. One whose attempt was given up and goes on all the same is not heard."""
        if self.state.state[job] != ACTIVE:
            return
        self.progress[job] = progress
        self.journal.append((self.clock(), "progress", ((job, self.numbers.get(job, 1), progress),)))
        self.notify()

    def record(self, job: int, line: str) -> None:
        """A handler adds a line to its job's log."""
        self.logs.setdefault(job, []).append(line)

    def observe(self, place: Depths) -> None:
        """Decide, once and before the run begins, who will hear of it: a trace, loggers, meters."""
        if may_be_traced():
            self.tracing = trace_run(self.plan.name, len(self.plan), self.options)
            if self.tracing is not None:
                self.trace_id = self.tracing.trace_id
        told = listeners(place, len(self.plan))
        if told:
            self.telling = Telling(self, told)

    def observe_again(self) -> None:
        """The run has ended and goes on: those who heard of it will hear of that, too."""
        if self.tracing is not None:
            self.tracing.reopen(len(self.plan))
        if self.telling is not None:
            self.telling.go_on(self)

    def dismiss(self) -> None:
        """The run has ended: let go of the crew, so that the run leaves memory with its last handle."""
        if self.crew is None or self.crew.over:  # and not that of a run which has been reopened since
            self.crew = None
            self._finish_trace()

    def conclude(self) -> None:
        """The run has ended, and somebody who waited for that goes on: by now, those who heard of it have heard all."""
        self._finish_trace()
        if self.telling is not None:
            teller.catch_up(self, self.telling)

    def _finish_trace(self) -> None:
        if self.tracing is not None:
            state = end_state(self)
            wrong = next((root for root in self.plan.roots if self.state_of(root) == state), None)
            self.tracing.finish(state, None if state == "completed" or wrong is None else self.failed(wrong))

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* after each change, from any thread."""
        self.watchers.append(changed)
        return lambda: self.watchers.remove(changed)

    def notify(self) -> None:
        """Tell the watchers that something has changed."""
        for changed in tuple(self.watchers):
            try:
                changed()
            except Exception:  # whoever watches must not stop the run
                say(logging.ERROR, "a watcher of run %s failed", self.id, exc_info=True)
