"""Outlook: who waits for runs one after the other sees at one look how the next ones have ended, too.

A look at one run costs as much as one at many: what takes long is to ask at all. What was seen of the others is good
for as long as other looks at several things are, and for the thread that looked.
"""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from executors.redis._executor import RedisRecord

SEEN_SECONDS: Final = 0.02
"""How long an end that was seen is taken for how things are."""

MOST: Final = 64
"""Runs that are looked at together."""


class Ended(NamedTuple):
    """How a run and its only root have ended, as far as one look tells.

    Attributes:
        state: The root's.
        payload: Its result; None unless it has completed.
    """

    state: int
    payload: bytes | None


class Seen(NamedTuple):
    """An end that a thread has seen.

    Attributes:
        until: When it is too long ago, by the monotonic clock.
        thread: Which one.
        drops: What `dropped` said before the look.
    """

    end: Ended
    until: float
    thread: int
    drops: int

    @property
    def counts(self) -> bool:
        """Whether the calling thread may take it for how things are."""
        return time.monotonic() < self.until and self.thread == threading.get_ident() and self.drops == _dropped


Look = Callable[[Sequence[tuple[str, int]]], Sequence[Ended | None]]


class Outlook:
    """The runs that this process has submitted and still knows. Thread-safe.

    Who waits for one after the other sees those that have not been seen to end, who then reads their results those
    that have.

    Args:
        look: Looks at runs and their roots; None for one that has not ended. Raises where the first of them is gone.
    """

    def __init__(self, look: Look) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._open = _Group()
        self._unread = _Group()

    def add(self, record: RedisRecord) -> None:
        """A run that was submitted."""
        origin = record.origin
        if not origin.several and len(origin.roots) == 1 and origin.roots[0] not in origin.lists:
            with self._lock:
                self._open.runs[record.run] = record

    def has_ended(self, record: RedisRecord) -> bool:
        """Whether a run has ended; where that has to be asked, others are looked at, too."""
        if record.seen is not None:
            return True
        ended = self._see(record, self._open)
        return record.ended if ended is None else ended

    def see(self, record: RedisRecord) -> Ended | None:
        """How a run has ended, if it has, for who is about to read its result."""
        self._see(record, self._unread)
        return record.seen

    def read(self, record: RedisRecord) -> None:
        """The result of a run was read: nobody needs to look at it ahead of time any more."""
        with self._lock:
            self._unread.runs.pop(record.run, None)

    def _see(self, record: RedisRecord, group: _Group) -> bool | None:
        """Look at a run, and at others of the group; None where it is not of the group."""
        with self._lock:
            if group.runs.get(record.run) is not record:
                return None
            records = group.first(record)
        drops = dropped()
        found = self._look([(one.run, one.origin.roots[0]) for one in records])
        until = time.monotonic() + SEEN_SECONDS
        with self._lock:
            group.looked(len(records), sum(end is not None for end in found))
            for one, end in zip(records, found, strict=True):
                if end is not None:
                    one.see(Seen(end, until, threading.get_ident(), drops))
                    if group is self._open and group.runs.pop(one.run, None) is not None:
                        self._unread.runs[one.run] = one
        return found[0] is not None


class _Group:
    """Runs, in the order in which they came."""

    def __init__(self) -> None:
        self.runs: weakref.WeakValueDictionary[str, RedisRecord] = weakref.WeakValueDictionary()
        self._ahead = 1
        self._last = 0.0

    def first(self, record: RedisRecord) -> list[RedisRecord]:
        """*record*, and those that are looked at with it."""
        if time.monotonic() - self._last > SEEN_SECONDS:  # nobody asks for one run after the other
            self._ahead = 1
        others = (other for other in self.runs.values() if other is not record)
        return [record, *itertools.islice(others, self._ahead)]

    def looked(self, runs: int, ended: int) -> None:
        """So many were looked at, and so many of them had ended."""
        self._last = time.monotonic()
        self._ahead = min(MOST, 2 * self._ahead) if 2 * ended > runs else max(1, self._ahead // 2)


_dropped = 0


def dropped() -> int:
    """How often what was seen has been dropped."""
    return _dropped


def drop() -> None:
    """A run was reopened here: nobody is to go by what he saw before."""
    global _dropped
    _dropped += 1
