"""Waiting without asking: threads that block on the server for a queue's wake token or a stream's next entries.

Nothing that is block-popped would be missed with a dead client: a token only says that a look is worth while, and who
waits looks by himself now and then.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from redis import exceptions

from executors.redis._channel import Channel
from executors.redis._connection import Link
from executors.redis._url import Address
from flows.errors import ExecutorError, UnavailableError

BLOCK_SECONDS: Final = 5.0
"""How long one blocking command waits. An idle listener sends one command in that time."""

MOST_BLOCK_SECONDS: Final = 15.0
"""Where there are several shards, each is asked less often: all together, about as often as one alone."""

ENTRIES_AT_ONCE: Final = 1_000
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 0.8
"""Between attempts to reconnect: who waits for the server is back within a second of its return."""

_chance: Final = random.SystemRandom()
"""Not the shared one: what somebody has seeded, for a test or a model, goes on as if we were not there."""


def patience(address: Address) -> float:
    """How long a blocking command to one shard waits."""
    return min(MOST_BLOCK_SECONDS, BLOCK_SECONDS * address.shards)


Entry = tuple[bytes, dict[bytes, bytes]]
Heard = Callable[[Sequence[Entry]], None]

_log = logging.getLogger("flows")


class _Listening:
    """A thread with a connection of its own, which it makes again for as long as it is needed.

    Args:
        aloud: Whether to log that the server is away: not where somebody else does.
    """

    def __init__(self, link: Link, purpose: str, block_seconds: float, *, aloud: bool = True) -> None:
        self._aloud = aloud
        self._channel = link.channel(purpose, connect_seconds=2.0, reply_seconds=block_seconds + 5.0)
        self._link = link
        self._block = block_seconds
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._purpose = purpose

    def start(self) -> None:
        thread = self._thread = threading.Thread(target=self._run, name=f"flows-{self._purpose}", daemon=True)
        thread.start()

    def close(self, timeout: float = 5.0) -> None:
        """End the thread, also where it blocks, and the connection. Safe to repeat."""
        self._closed.set()
        thread, self._thread = self._thread, None
        if thread is None or thread is threading.current_thread():
            return
        deadline = time.monotonic() + timeout
        while thread.is_alive() and time.monotonic() < deadline:
            self._channel.abort()  # more than once: it may be connecting at this moment
            thread.join(0.05)

    def _run(self) -> None:
        pause, away = FIRST_PAUSE, False
        try:
            while not self._closed.is_set() and self._needed():
                try:
                    fresh = not self._channel.connected
                    if fresh:
                        self._channel.ready()
                        self._connected(self._channel)
                        if away:
                            _log.log(
                                logging.INFO if self._aloud else logging.DEBUG,
                                "%s: connected again (%s)",
                                *(self._link.address, self._purpose),
                            )
                        pause, away = FIRST_PAUSE, False
                    self._listen(self._channel)
                except Exception as error:
                    self._channel.close()
                    if self._closed.is_set() or self._forsaken():
                        return
                    self._failed(error, again=away)
                    away = True
                    self._closed.wait(pause * _chance.uniform(0.5, 1.0))
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._channel.close()

    def _failed(self, error: Exception, *, again: bool) -> None:
        if again:
            return
        if isinstance(error, UnavailableError):
            level = logging.WARNING if self._aloud else logging.DEBUG
            _log.log(level, "%s; trying to reconnect (%s)", error, self._purpose)
        elif isinstance(error, (ExecutorError, exceptions.RedisError)):
            _log.error("%s; trying again (%s)", error, self._purpose)
        else:
            _log.exception("%s: the listener for %s failed; trying again", self._link.address, self._purpose)

    @abstractmethod
    def _needed(self) -> bool:
        """Whether to go on; may block until there is something to do."""

    def _forsaken(self) -> bool:
        """Whether nobody would miss it any more."""
        return False

    @abstractmethod
    def _connected(self, channel: Channel) -> None:
        """There is a connection, the first one or another."""

    @abstractmethod
    def _listen(self, channel: Channel) -> None:
        """Block once."""


class Waker(_Listening):
    """Waits for tokens on wake keys: sorted sets, of which each taken member is one token.

    Args:
        on_wake: Called from the listener's thread, once after each `arm`: a token was taken, or the connection is new
            and some may have been missed, or there is none, or *block_seconds* have passed. Must be quick.
    """

    def __init__(
        self, link: Link, keys: Sequence[bytes | str], on_wake: Callable[[], None], block_seconds: float = BLOCK_SECONDS
    ) -> None:
        super().__init__(link, "waker", block_seconds, aloud=False)
        self._keys = list(keys)
        self._on_wake = on_wake
        self._armed = False
        self._changed = threading.Condition()
        self.start()

    def arm(self) -> None:
        """The worker has nothing to do, and would like to be woken."""
        if self._armed:  # and if it is being woken just now, it looks after this
            return
        with self._changed:
            self._armed = True
            self._changed.notify_all()

    def disarm(self) -> None:
        """The worker has enough to do. A token that comes all the same goes back, for others."""
        if not self._armed:
            return
        with self._changed:
            self._armed = False

    def close(self, timeout: float = 5.0) -> None:
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        super().close(timeout)

    def _needed(self) -> bool:
        with self._changed:
            self._changed.wait_for(lambda: self._armed or self._closed.is_set())
        return not self._closed.is_set()

    def _connected(self, channel: Channel) -> None:
        self._wake()

    def _listen(self, channel: Channel) -> None:
        if not self._armed:
            return
        # Not all workers of a fleet that has nothing to do are to look at once.
        taken = channel.call("BZPOPMIN", *self._keys, round(self._block * _chance.uniform(0.9, 1.0), 3))
        if not self._wake() and taken is not None:
            channel.call("ZADD", taken[0], taken[2], taken[1])

    def _failed(self, error: Exception, *, again: bool) -> None:
        # The worker looks for itself, then, and says what is wrong once for all of its connections.
        super()._failed(error, again=again)
        self._wake()

    def _wake(self) -> bool:
        with self._changed:
            armed, self._armed = self._armed, False
        if armed:
            self._on_wake()
        return armed


class Tail(_Listening):
    """Reads a stream's new entries and hands each to those who asked for its topic, the value of one of its fields."""

    def __init__(
        self,
        link: Link,
        stream: bytes | str,
        field: bytes,
        block_seconds: float = BLOCK_SECONDS,
        *,
        aloud: bool = True,
    ) -> None:
        super().__init__(link, "tail", block_seconds, aloud=aloud)
        self._stream = stream
        self._field = field
        self._position: bytes = b"0-0"
        self._lock = threading.Lock()
        self._topics: dict[bytes | None, list[Heard]] = {}
        self._ended = False

    def join(self, topic: bytes | None, heard: Heard) -> bool:
        """Hand over entries of that topic from now on; False when the tail has ended."""
        with self._lock:
            if self._ended or self._closed.is_set():
                return False
            self._topics.setdefault(topic, []).append(heard)
            begins = self._thread is None
            if begins:
                self.start()
            return True

    def leave(self, topic: bytes | None, heard: Heard) -> None:
        """No longer. The thread ends a little after the last one has left."""
        with self._lock:
            listening = self._topics.get(topic, [])
            if heard in listening:
                listening.remove(heard)
            if not listening:
                self._topics.pop(topic, None)

    def close_forsaken(self) -> None:
        """End the thread and its connection now, unless somebody listens."""
        if self._forsaken():
            self.close()

    def _needed(self) -> bool:
        return not self._forsaken()

    def _forsaken(self) -> bool:
        with self._lock:
            self._ended = not self._topics
            return self._ended

    def _connected(self, channel: Channel) -> None:
        # Not from where it was: the server may have lost entries, and numbered others lower. Let all look for it.
        newest = channel.call("XREVRANGE", self._stream, "+", "-", "COUNT", 1)
        self._position = newest[0][0] if newest else b"0-0"
        with self._lock:
            everybody = [heard for listening in self._topics.values() for heard in listening]
        for heard in everybody:
            self._hand(heard, ())

    def _listen(self, channel: Channel) -> None:
        block = int(self._block * 1000)
        found = channel.call("XREAD", "COUNT", ENTRIES_AT_ONCE, "BLOCK", block, "STREAMS", self._stream, self._position)
        if not found:
            return
        by_topic: dict[bytes | None, list[Entry]] = {}
        entries = found[0][1]
        for number, fields in entries:
            entry = (number, dict(zip(fields[::2], fields[1::2], strict=True)))
            by_topic.setdefault(None, []).append(entry)
            by_topic.setdefault(entry[1].get(self._field, b""), []).append(entry)
        with self._lock:
            calls = [(heard, some) for topic, some in by_topic.items() for heard in self._topics.get(topic, ())]
        for heard, some in calls:
            self._hand(heard, some)
        self._position = entries[-1][0]

    def _hand(self, heard: Heard, entries: Sequence[Entry]) -> None:
        try:
            heard(entries)
        except Exception:
            _log.exception("a listener of a stream failed")


_tails: dict[tuple[object, ...], Tail] = {}
_tails_lock = threading.Lock()


def listen(
    link: Link,
    stream: bytes | str,
    heard: Heard,
    *,
    topic: bytes | None = None,
    field: bytes = b"run",
    block_seconds: float = BLOCK_SECONDS,
    aloud: bool = True,
) -> Callable[[], None]:
    """Have *heard* called with new entries of *stream*, those whose *field* is *topic*, or all.

    One thread and one connection of the process read a stream for all who listen to it. *heard* is called from that
    thread, must be quick, and is called with nothing when the connection is new: then entries may have been missed,
    and who waits for something should look for it. So nothing is missed by who looks after this has returned.

    Args:
        aloud: Whether to log that the server is away.

    Returns:
        The function that ends it.
    """
    key = (link.address, link.shard, stream, field, block_seconds)
    while True:
        with _tails_lock:
            tail = _tails.get(key)
            if tail is None:
                tail = _tails[key] = Tail(link, stream, field, block_seconds, aloud=aloud)
        if tail.join(topic, heard):
            break
        with _tails_lock:
            if _tails.get(key) is tail:
                del _tails[key]
    joined = tail
    return lambda: joined.leave(topic, heard)


def close_idle(link: Link) -> None:
    """End the threads that read streams by *link* and that nobody listens to any more."""
    with _tails_lock:
        tails = [tail for key, tail in _tails.items() if key[:2] == (link.address, link.shard)]
    for tail in tails:
        tail.close_forsaken()


@atexit.register
def _at_exit() -> None:
    """End the connections of threads that die with the process."""
    for tail in [*_tails.values()]:
        tail.close(timeout=0.5)


def _after_fork() -> None:
    global _tails_lock
    _tails_lock = threading.Lock()
    _tails.clear()  # their threads are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
