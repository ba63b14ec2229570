"""Results shared under job-level keys: the second of the protocol's two records, in memory."""

from __future__ import annotations

import itertools
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final, cast

from executors.memory._listeners import Listeners
from flows._shared_results import Owner, Shared, owner_of
from flows._state import ACTIVE
from flows._verbs import Grant

if TYPE_CHECKING:
    from executors.memory._run import MemoryRun

STEP: Final = 16
"""Results that a call drops at most when their time is over."""


class Entry:
    """What stands under one key. `owner_run` is weak: a run that nobody holds any more is gone, and owns nothing."""

    __slots__ = ("digest", "done", "free_at", "job", "owner", "owner_run", "value", "waiting")

    def __init__(self, digest: str, grant: Grant) -> None:
        self.digest = digest
        self.owner = owner_of(grant)
        self.owner_run = weakref.ref(cast("MemoryRun", grant.run))
        self.job = grant.job
        self.done = False
        self.value: Any = None
        self.free_at: float | None = None
        self.waiting: dict[tuple[str, int], weakref.ref[MemoryRun]] = {}

    def shown(self) -> Shared:
        run = self.owner_run()
        state = None if run is None else run.state_of(self.job)
        return Shared(self.owner, self.digest, self.done, self.value, state)


class SharedResults:
    """The verbs `reserve` and `file` of a store in memory."""

    clock: Callable[[], float]
    _lock: threading.Lock
    _listeners: Listeners

    def __init__(self) -> None:
        self._shared: dict[str, Entry] = {}
        self._freed_at: list[tuple[float, int, str, Entry]] = []
        self._ties = itertools.count()

    def reserve(self, key: str, digest: str, grant: Grant, instead_of: Owner | None = None) -> Shared:
        """Look at what stands under *key*, and reserve it for the job of *grant* where that is free to do.

        Nothing stands there, or a reservation of *instead_of* without a result: it is the job's from now on, whose
        data has that *digest*.

        Returns:
            What stands there now.
        """
        with self._lock:
            now = self.clock()
            gone = self._drop_due(now)
            entry = self._shared.get(key)
            if entry is not None and entry.free_at is not None and entry.free_at <= now:
                gone.append(self._shared.pop(key))
                entry = None
            if entry is None or (not entry.done and entry.owner in (owner_of(grant), instead_of)):
                waiting = {} if entry is None else entry.waiting
                entry = self._shared[key] = Entry(digest, grant)
                entry.waiting = waiting
                waiting.pop((grant.run.id, grant.job), None)
            elif not entry.done:
                entry.waiting[grant.run.id, grant.job] = weakref.ref(cast("MemoryRun", grant.run))
            shown = entry.shown()
        del gone  # outside the lock: what a result does when it is collected is the user's code
        return shown

    def file(self, key: str, grant: Grant, value: Any) -> Any:
        """File the result of the job of *grant*, which has reserved *key*; to be called before it is settled.

        Returns:
            The result that counts from now on: the one filed first. *value*, where the job has lost its lease or its
            reservation meanwhile: then nothing is filed.
        """
        run = cast("MemoryRun", grant.run)
        with self._lock:
            now = self.clock()
            entry = self._shared.get(key)
            if entry is None or entry.owner != owner_of(grant):
                return value
            if not entry.done:
                if run.fences[grant.job] != grant.fence or run.state.state[grant.job] != ACTIVE:
                    return value
                entry.done, entry.value = True, value
                entry.free_at = now + run.options.key_ttl
                heappush(self._freed_at, (entry.free_at, next(self._ties), key, entry))
            value = entry.value
            woken, entry.waiting = self._wake(entry.waiting, now), {}
            stirred = self._listeners.taken()
        for waiting in woken:
            waiting.rouse()
        if stirred:
            self._listeners.wake()
        return value

    def _wake(self, waiting: dict[tuple[str, int], weakref.ref[MemoryRun]], now: float) -> list[MemoryRun]:
        """Have jobs that wait for a result look again at once; returns their runs, to be roused outside the lock."""
        jobs: dict[MemoryRun, set[int]] = {}
        for (_, job), reference in waiting.items():
            run = reference()
            if run is not None and not run.ended:
                jobs.setdefault(run, set()).add(job)
        for run, these in jobs.items():
            self._hasten(run, these, now)
        return list(jobs)

    @abstractmethod
    def _hasten(self, run: MemoryRun, jobs: set[int], now: float) -> None:
        """End the delay of these jobs, as far as they are delayed."""

    def _forget_pending(self, run: MemoryRun) -> None:
        """The run has ended: what its jobs have reserved and not filed is free."""
        for job, settings in enumerate(run.plan.settings):
            key = settings.idempotency_key
            entry = None if key is None else self._shared.get(key)
            if key is not None and entry is not None and not entry.done and entry.owner == (run.id, run.plan.ids[job]):
                del self._shared[key]

    def _drop_due(self, now: float) -> list[Entry]:
        """Drop a few of the results whose time is over; returns them, to be let go outside the lock."""
        gone = []
        for _ in range(STEP):
            if not self._freed_at or self._freed_at[0][0] > now:
                break
            _, _, key, entry = heappop(self._freed_at)
            if self._shared.get(key) is entry:
                del self._shared[key]
            gone.append(entry)
        return gone
