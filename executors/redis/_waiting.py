"""Waiting for runs: one thread of the process reads a stream, and wakes those whose run it names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from executors.redis._connection import Link
from executors.redis._listener import Entry, listen, patience

LOOK_SECONDS = 5.0
"""Who waits looks for itself this often: what a server forgets in a crash, it does not tell."""


FRESH_LOOK_SECONDS = 0.005
"""When who waits for what has just begun looks first: most small runs end before that, which is heard of."""


class Hub:
    """Hands the news of one stream to those who follow the runs that it is about: its entries have their ids as fields.

    Args:
        link: The way to the server.
        stream: The stream's key.
        aloud: Whether to log that the server is away.
    """

    def __init__(self, link: Link, stream: str, *, aloud: bool = True) -> None:
        self._link = link
        self._aloud = aloud
        self._stream = stream
        self._lock = threading.Lock()
        self._followed: dict[bytes, list[Callable[[], None]]] = {}
        self._all: list[Callable[[bytes | None], None]] = []
        self._end: Callable[[], None] | None = None

    def watch(self, run_id: str, changed: Callable[[], None]) -> Callable[[], None]:
        """Call *changed* whenever the stream names the run, or may have done so unheard. It must be quick.

        Returns:
            What ends it; safe to repeat.
        """
        topic = run_id.encode()
        with self._lock:
            self._followed.setdefault(topic, []).append(changed)
            self._begin()

        def end() -> None:
            with self._lock:
                following = self._followed.get(topic, [])
                if changed in following:
                    following.remove(changed)
                if not following:
                    self._followed.pop(topic, None)
                self._finish()

        return end

    def every(self, told: Callable[[bytes | None], None]) -> Callable[[], None]:
        """Call *told* with each run that is named; with None when some may have been missed."""
        with self._lock:
            self._all.append(told)
            self._begin()

        def end() -> None:
            with self._lock:
                if told in self._all:
                    self._all.remove(told)
                self._finish()

        return end

    def stir(self) -> None:
        """Have all who follow a run look at it."""
        self._heard(())

    def wait(
        self, run_id: str, holds: Callable[[], bool], seconds_left: Callable[[], float | None], *, fresh: bool = False
    ) -> bool:
        """Block until *holds*, which is looked at when there is news of the run and every few seconds.

        Args:
            seconds_left: How long to go on; None: for ever.
            fresh: Whether it hardly holds yet: then it is looked at a little later, unless there is news before.
        """
        news = threading.Event()
        end = self.watch(run_id, news.set)
        try:
            if fresh:
                left = seconds_left()
                news.wait(FRESH_LOOK_SECONDS if left is None else min(left, FRESH_LOOK_SECONDS))
            while True:
                news.clear()
                if holds():
                    return True
                left = seconds_left()
                if left is not None and left <= 0:
                    return False
                news.wait(LOOK_SECONDS if left is None else min(left, LOOK_SECONDS))
        finally:
            end()

    def _begin(self) -> None:
        if self._end is None:
            seconds = patience(self._link.address)
            self._end = listen(self._link, self._stream, self._heard, block_seconds=seconds, aloud=self._aloud)

    def _finish(self) -> None:
        if not self._followed and not self._all and self._end is not None:
            end, self._end = self._end, None
            end()

    def _heard(self, entries: Sequence[Entry]) -> None:
        with self._lock:
            if not entries:
                calls = [changed for following in self._followed.values() for changed in following]
                names: list[bytes | None] = [None]
            else:
                named = dict.fromkeys(name for _, fields in entries for name in fields)
                calls = [changed for name in named for changed in self._followed.get(name, ())]
                names = list(named)
            told = self._all.copy()
        for changed in calls:
            changed()
        for one in told:
            for name in names:
                one(name)
