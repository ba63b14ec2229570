"""The teller: one thread a process that tells listeners what the journals say, so that no run waits for them.

A listener is the program's own code, loggers' handlers for example, and may be slow, raise, or block for ever. Whoever
waits for a run's end waits for the teller, too, but only for a while: normally the last line is out when `execute`
returns, and a handler that blocks costs the process its logs, not its runs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from executors._leasing._audience import OFTEN, PATIENCE_SECONDS
from executors.memory._journal import entries_of
from flows._told import Listener, Told

if TYPE_CHECKING:
    from executors.memory._journal import Kept
    from executors.memory._run import MemoryRun

log = logging.getLogger("flows")


class Telling:
    """How far the telling of one run has come.

    Attributes:
        queued: Whether the teller will look at the run.
        all_along: Whether to look at it all the time, and not only when something has gone wrong.
        done: Set when all of an ended run has been told.
    """

    __slots__ = (
        *("all_along", "done", "queued"),
        *("_again", "_changes", "_kinds", "_listeners", "_position", "_run", "_told"),
    )

    def __init__(self, run: MemoryRun, listeners: Sequence[Listener]) -> None:
        self._run = weakref.ref(run)
        self._listeners = listeners
        self._kinds = frozenset[str]().union(*(one.kinds for one in listeners))
        self._position = 0
        self._again: dict[tuple[int, int], float] = {}
        self._changes = self._told = 0
        self.queued = False
        self.all_along = bool(self._kinds & OFTEN)
        self.go_on(run)

    @property
    def pending(self) -> bool:
        """Whether something has gone wrong that has not been told, or not to the end."""
        return self._changes != self._told

    def go_on(self, run: MemoryRun) -> None:
        """The run begins, or has ended and goes on."""
        self.done = threading.Event()
        if self.all_along and self.changed not in run.watchers:
            run.watchers.append(self.changed)
        teller.start()

    def changed(self) -> None:
        """There is something to tell. Quick, from any thread, under any lock."""
        self._changes += 1  # under the store's lock; where it is not, `all_along` makes the figure unimportant
        run = self._run()
        if run is not None:
            teller.poke(run, self)

    def again(self, job: int, attempt: int, after: float) -> None:
        """An attempt has failed and will be followed by another, *after* so many seconds."""
        self._again[job, attempt] = after
        self.changed()

    def tell(self, run: MemoryRun) -> None:
        """Tell what has happened since the last time; the teller's thread only."""
        changes = self._changes
        ended = run.ended  # before the journal is read: it is complete then
        kept = run.journal[self._position :]
        self._position += len(kept)
        happened = list(self._read(run, kept))
        for listener in self._listeners if happened else ():
            try:
                kinds = listener.kinds
                listener.tell(run, [one for one in happened if one.kind in kinds])
            except Exception:
                log.debug("a listener of run %s failed", run.id, exc_info=True)
        self._told = changes
        if ended:
            with contextlib.suppress(ValueError):
                run.watchers.remove(self.changed)
            self.done.set()

    def _read(self, run: MemoryRun, kept: Iterable[Kept]) -> Iterator[Told]:
        for now, kind, jobs in entries_of(kept):
            if kind not in self._kinds:
                continue
            at = run.instant(now)
            for job in jobs:
                if type(job) is int:
                    yield Told(kind, at, job, 1, None, None)
                else:
                    position, number, failed = job
                    after = self._again.pop((position, number), None) if kind == "retrying" else None
                    yield Told(kind, at, -1 if position is None else position, number, failed, after)


class Teller:
    """Looks at the runs that have something to tell, one after the other."""

    def __init__(self) -> None:
        self._due: deque[tuple[MemoryRun, Telling]] = deque()
        self._bell = threading.Semaphore(0)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._stuck = False

    def poke(self, run: MemoryRun, telling: Telling) -> None:
        """Have a look at *run* soon. Quick, from any thread, under any lock."""
        if telling.queued:
            return
        telling.queued = True
        self._due.append((run, telling))
        self._bell.release()

    def catch_up(self, run: MemoryRun, telling: Telling) -> None:
        """Return when all of *run*, which has ended, has been told; or when that takes too long."""
        if not (telling.all_along or telling.pending):
            return  # nothing has gone wrong, and nobody wants to hear of anything else
        if telling.done.is_set() or threading.current_thread() is self._thread:
            return
        self.poke(run, telling)
        if not self._stuck and not telling.done.wait(PATIENCE_SECONDS):
            self._stuck = True  # by a listener; nobody else waits for it before it goes on

    def start(self) -> None:
        """Be ready: under a lock, where `poke` may be called, is no place to start a thread."""
        if self._thread is not None:
            return
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="flows-teller", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is going down
                    return
                self._thread = thread

    def _run(self) -> None:
        while True:
            self._bell.acquire()
            self._next()
            self._stuck = False

    def _next(self) -> None:
        run, telling = self._due.popleft()
        telling.queued = False  # first: what comes while this is told is looked at again
        try:
            telling.tell(run)
        except BaseException:  # a listener's SystemExit is not for this thread
            telling.done.set()


teller = Teller()


def _after_fork() -> None:
    teller.__init__()  # type: ignore[misc]  # its thread does not survive a fork


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
