"""MemoryRun: all that is kept of one run, as columns; at once the worker's brief and the user's record."""

from __future__ import annotations

import logging
from bisect import insort
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from executors._leasing._log import say
from executors._leasing._solo import SOLO_JOBS
from executors.memory._growth import Mould
from executors.memory._queues import Lane
from executors.memory._record import Record
from executors.memory._teller import Telling, listeners, teller
from flows._binding import Binding
from flows._handlers import Handler
from flows._plan import Plan
from flows._state import ACTIVE
from flows._telemetry import trace_run
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


def _alike(plan: Plan[Any]) -> bool:
    """Whether all jobs go to one queue, first come first served."""
    one_queue = plan.queues_of.count(plan.queues_of[0]) == len(plan)
    simple = not plan.conditions and not plan.lists
    return one_queue and simple and all(not one.priority and not one.lifo for one in plan.distinct)


class MemoryRun(Record):
    """One run in memory. Written by its store under the store's lock; read by anyone at any time.

    Attributes:
        shares: Whether any job shares its result under an idempotency key.
        on_end: Called under the store's lock when the run ends; must be quick.
        tracing: The run's trace, where somebody records it.
        telling: How far loggers and meters have heard of it, where there are any.
    """

    tracing: RunTrace | None = None
    telling: Telling | None = None
    on_end: Callable[[], object] | None = None

    wakers: list[Callable[[], None]]
    """Called when jobs may have become claimable by what happened in other runs."""
    holding: dict[int, Place]
    """The places that active jobs hold on limited queues."""
    lines: dict[Limit, None]
    """The limits in whose line the run stands."""
    rated = False
    """Whether any of its jobs came from a queue with a rate, so that starts must be told."""
    awaited_by: Grant | None = None
    """The attempt whose handler waits for the run in this process."""

    writing = None
    """Results are kept as they are."""

    seats: Seats | None = None
    """Who says how many of its jobs may be in processes at once, if any is for one."""

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
        moulds = moulds or {}
        super().__init__(plan, handlers, bindings, moulds, epoch)
        self.clock, self._submitted = clock, clock()
        self.options = options
        self.id, self.key, self.trace_id = options.run_id, options.key, options.trace_id
        every = set(handlers).union(*(mould.handlers for mould in moulds.values()))
        kinds = {handler.is_async for handler in every}
        self.has_async, self.has_sync = True in kinds, False in kinds
        timed, self.has_process, self.shares = options.timeout is not None, False, False
        for one in self.distinct:
            timed = timed or one.timeout is not None
            self.has_process = self.has_process or one.run_in == "process"
            self.shares = self.shares or one.idempotency_key is not None
        self.has_timeout = self.has_sync and timed
        control = plan.conditions or plan.lists
        self.is_simple = len(plan) <= SOLO_JOBS and not (
            self.has_async or self.has_timeout or self.has_process or self.shares or control
        )
        """Whether a thread may work the run off alone."""
        self.openings = 1
        """How often the run was begun: more than once where it was reopened."""
        self.ended = False
        """Whether every job is terminal and the journal says so."""
        self.deadline_at: float | None = None
        self.delayed: list[tuple[float, int, int]] = []
        self.leases: dict[int, tuple[Grant, float]] = {}
        self.watchers: list[Callable[[], None]] = []
        self.interrupters: list[Callable[[], None]] = []
        """Called when the run is cancelled, so that whoever runs its handlers can tell them."""
        self.wakers, self.holding, self.lines = [], {}, {}
        self.crew: Crew | None = None
        self.lanes: list[Lane] = []
        self._lane_of: dict[tuple[str, int], Lane] = {}
        self.only_lane = self.lane(plan.queues_of[0], 0) if _alike(plan) else None
        """The one lane of a run whose jobs all wait in the same place; None where it depends on the job."""

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
