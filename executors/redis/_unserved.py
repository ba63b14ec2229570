"""Queues that nobody serves: said to the log a few seconds after the submit, as the run would wait for ever."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

PATIENCE_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 300.0
"""How long nothing more is said of a queue that was found unserved."""

log = logging.getLogger("flows")


class Unserved:
    """Looks after the queues of what was submitted here. Its thread lives while there is something to look at.

    Args:
        served: Which of these queues have a worker.
        goes_on: Whether the run of that id is there and has not ended.
    """

    def __init__(self, served: Callable[[Iterable[str]], set[str]], goes_on: Callable[[str], bool]) -> None:
        self._served = served
        self._goes_on = goes_on
        self._latest: dict[str, str] = {}
        self._due: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._changed = threading.Condition()
        self._running = False

    def look_after(self, queues: Iterable[str], run_id: str) -> None:
        """A run was submitted that needs these. Costs a submit next to nothing."""
        now = time.monotonic()
        for queue in queues:
            self._latest[queue] = run_id
            if queue not in self._due and self._told.get(queue, now) <= now:
                self._note(queue, now + PATIENCE_SECONDS)

    def close(self) -> None:
        """Look no more."""
        with self._changed:
            self._due.clear()
            self._changed.notify_all()

    def _note(self, queue: str, due: float) -> None:
        with self._changed:
            self._due.setdefault(queue, due)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="flows-unserved", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._due:
                    self._running = False
                    return
                now = time.monotonic()
                left = min(self._due.values()) - now
                if left > 0:
                    self._changed.wait(left)
                    continue
                ripe = [queue for queue, due in self._due.items() if due <= now]
                for queue in ripe:
                    del self._due[queue]
                    self._told[queue] = now + AGAIN_SECONDS
            self._look(ripe)

    def _look(self, queues: list[str]) -> None:
        try:
            served = self._served(queues)
            unserved = [queue for queue in queues if queue not in served and self._needed(queue)]
        except Exception:
            log.debug("whether anybody serves %s is not known", ", ".join(queues), exc_info=True)
            return
        for queue in unserved:
            log.warning(
                "no worker serves the queue %s: its jobs wait until one does; start one by "
                "`flows worker MODULE --queues %s`",
                queue,
                queue,
            )

    def _needed(self, queue: str) -> bool:
        """Whether the latest run that needs it goes on: its worker may have done its work, and ended, meanwhile."""
        if self._goes_on(self._latest[queue]):
            return True
        self._told.pop(queue, None)
        return False
