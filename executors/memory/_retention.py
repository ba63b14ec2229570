"""Retention: how long runs with a key stay after their end, and how long their keys stay taken after that.

Two clocks run from a run's end: ``keep`` (``keep_failed`` where it did not end well), after which the run is retired,
and ``key_ttl``, after which its key is free. What remains in between is a `Holder` without a run: a result that is
gone under a key that still says "done". Nothing has a thread: each call that comes by retires a few.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final

from flows._idempotency import conflict, expired
from flows._views import end_state

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun

STEP: Final = 16
"""Runs that a call looks after at most, so that none is long however many are due."""

_NEVER: Final = float("inf")


class Holder:
    """Who holds a key: a run or, when it was retired, the memory of one.

    Attributes:
        run: None once the run was retired.
        retire_at, free_at: When the run is to be retired and its key becomes free; never while the run is open.
    """

    __slots__ = ("ended_at", "fingerprint", "free_at", "key", "name", "retire_at", "run", "run_id")

    def __init__(self, key: str, run: MemoryRun) -> None:
        self.key = key
        self.run: MemoryRun | None = run
        self.run_id, self.name, self.fingerprint = run.id, run.plan.name, run.plan.fingerprint
        self.ended_at: float | None = None
        self.retire_at = self.free_at = _NEVER


class Retention:
    """The keys of a namespace and the runs that are kept for them. Thread-safe.

    Unkeyed runs are none of its business: they leave with their last handle. So does what a handle was still held of
    when a keyed run was retired: the handle goes on reading its run, but nobody finds the run any more.

    Args:
        forget: Called when a run is retired, so that it is no longer found by its id.
    """

    def __init__(self, forget: Callable[[MemoryRun], object]) -> None:
        self._forget = forget
        self._lock = threading.Lock()
        self._holders: dict[str, Holder] = {}
        self._kept: dict[str, Holder] = {}
        self._ended: deque[Holder] = deque()
        self._due: list[tuple[float, int, Holder]] = []
        self._lines: dict[str, OrderedDict[Holder, None]] = {}
        self._crowded: dict[str, int] = {}
        self._ties = itertools.count()
        self._retired: list[MemoryRun] = []

    def enter(self, key: str, run: MemoryRun, put: Callable[[MemoryRun], object], now: float) -> MemoryRun:
        """Accept *run* under *key*, or give the run that has it; of many callers at once one is the first.

        Raises:
            IdempotencyConflictError: The key belongs to another flow.
            ResultExpiredError: The key's run has been retired.
        """
        ours = Holder(key, run)
        with self._lock:
            self._step(now)
            former = self._holders.get(key)
            if former is None or not self._holds(former, now):
                run.on_end = lambda: self._ended.append(ours)
                put(run)  # before others can find it: whoever joins it must find its jobs
                self._holders[key] = self._kept[run.id] = ours
                joined: MemoryRun | None = run
            else:
                joined = former.run
        self._let_go()
        if former is None or joined is run:
            return run
        if former.fingerprint != ours.fingerprint:
            theirs = None if joined is None else joined.plan
            raise conflict(former.key, former.run_id, former.fingerprint, theirs, run.plan)
        if joined is None:
            raise expired(former.key, former.run_id, former.free_at - now)
        return joined

    def is_free(self, key: str, now: float) -> bool:
        """Whether no run has the key at this moment."""
        with self._lock:
            holder = self._holders.get(key)
            return holder is None or not self._holds(holder, now)

    def find(self, key: str, now: float) -> MemoryRun | None:
        """The run of that key; None when the key is free.

        Raises:
            ResultExpiredError: The key is taken, but its run has been retired.
        """
        with self._lock:
            self._step(now)
            holder = self._holders.get(key)
            held = holder is not None and self._holds(holder, now)
            run = holder.run if holder is not None else None
        self._let_go()
        if holder is None or not held:
            return None
        if run is None:
            raise expired(holder.key, holder.run_id, holder.free_at - now)
        return run

    def look_after(self, now: float, run_id: str | None = None) -> None:
        """Retire a few of the runs whose time is over, and that of *run_id* for certain."""
        if not (self._ended or self._due or self._kept):
            return
        with self._lock:
            self._step(now)
            if run_id in self._kept:
                self._holds(self._kept[run_id], now)
        self._let_go()

    def retire(self, run: MemoryRun) -> None:
        """Retire a run that has ended before its time; one without a key is forgotten."""
        with self._lock:
            holder = self._kept.get(run.id)
            if holder is None:
                self._forget(run)
            else:
                self._file(holder)  # its key is free when it would have been
                self._retire(holder)
        self._let_go()

    def _step(self, now: float) -> None:
        for _ in range(min(STEP, len(self._ended))):
            self._file(self._ended.popleft())
        for _ in range(STEP):
            if not self._due or self._due[0][0] > now:
                break
            self._holds(heappop(self._due)[2], now)
        for name, count in tuple(itertools.islice(self._crowded.items(), STEP)):
            self._thin_out(name, count)

    def _holds(self, holder: Holder, now: float) -> bool:
        """Retire the holder's run and free its key if it is time; says whether the key is still taken."""
        self._file(holder)
        if now >= holder.retire_at:
            self._retire(holder)
        if now < holder.free_at:
            return True
        if self._holders.get(holder.key) is holder:
            del self._holders[holder.key]
        return False

    def _file(self, holder: Holder) -> None:
        """Set the clocks of a run that has ended; stop those of one that was opened again."""
        run = holder.run
        if run is None or holder.ended_at == run.closed_at:
            return
        holder.ended_at = ended_at = run.closed_at
        if ended_at is None:
            holder.retire_at = holder.free_at = _NEVER
            self._leave_line(holder)
            return
        options = run.options
        holder.retire_at = ended_at + (options.keep if end_state(run) == "completed" else options.keep_failed)
        holder.free_at = ended_at + options.key_ttl
        for due in {holder.retire_at, holder.free_at}:
            heappush(self._due, (due, next(self._ties), holder))
        line = self._lines.setdefault(holder.name, OrderedDict())
        line[holder] = None
        line.move_to_end(holder)
        if options.keep_count is not None and len(line) > options.keep_count:
            self._crowded[holder.name] = options.keep_count
            self._thin_out(holder.name, options.keep_count)

    def _thin_out(self, name: str, count: int) -> None:
        """Retire the oldest ended runs of a flow beyond *count*, a few at a time."""
        line = self._lines.get(name, ())
        for _ in range(min(STEP, len(line) - count)):
            holder = next(iter(line))
            if holder.run is not None and holder.run.closed_at != holder.ended_at:
                self._leave_line(holder)  # opened again: it comes back with its new end
            else:
                self._retire(holder)
        if len(self._lines.get(name, ())) <= count:
            self._crowded.pop(name, None)

    def _retire(self, holder: Holder) -> None:
        run, holder.run, holder.retire_at = holder.run, None, _NEVER
        if run is None:
            return
        self._kept.pop(holder.run_id, None)
        self._leave_line(holder)
        run.on_end = None
        self._forget(run)
        self._retired.append(run)

    def _leave_line(self, holder: Holder) -> None:
        line = self._lines.get(holder.name)
        if line is not None:
            line.pop(holder, None)
            if not line:
                del self._lines[holder.name]

    def _let_go(self) -> None:
        """Drop what was retired, outside the lock: what a result does when it is collected is the user's code."""
        while self._retired:
            try:
                self._retired.pop()
            except IndexError:
                return
