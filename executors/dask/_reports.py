"""How a worker of the cluster reports: what was said within a few milliseconds goes in one message."""

from __future__ import annotations

import math
import pickle
import threading
import time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from executors.dask._words import BEGUN, LOG, PROGRESS, UNDER_WAY, Mark, Report

if TYPE_CHECKING:
    from distributed import Worker

GATHER_SECONDS: Final = 0.003

TASK_SECONDS: Final = 0.1
"""How long it may take until beginnings and ends are known, while their task goes on. When that ends they are sent."""


class Reports:
    """What one worker has to say. Thread-safe."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._kept: dict[str, list[tuple[Mark, str, bytes, float, float]]] = {}
        self._send_at = math.inf

    def say(self, topic: str, mark: Mark, what: str, data: bytes = b"", seconds: float = 0.0) -> None:
        """Report something that is so now."""
        now = time.monotonic()
        after = GATHER_SECONDS if what in (PROGRESS, LOG) else TASK_SECONDS
        with self._lock:
            self._kept.setdefault(topic, []).append((mark, what, data, seconds, now))
            sooner = now + after < self._send_at
            if sooner:
                self._send_at = now + after
        if sooner:
            self._worker.loop.add_callback(self._worker.loop.call_later, after, self.send)

    def task_ends(self) -> None:
        """Send what there is, while the loop has the interpreter: before the next handler does."""
        self._worker.loop.add_callback(self.send)

    def send(self) -> None:
        """Send what there is; on the loop of the worker."""
        with self._lock:
            kept, self._kept = self._kept, {}
            self._send_at = math.inf
        now, address = time.monotonic(), self._worker.address
        for topic, said in kept.items():
            ended = {mark for mark, what, *_ in said if what not in UNDER_WAY}
            reports = [
                Report(mark, what, data, seconds, now - at)
                for mark, what, data, seconds, at in said
                if what != BEGUN or mark not in ended  # that it has ended says that it had begun
            ]
            self._worker.log_event(topic, {"worker": address, "reports": pickle.dumps([*map(tuple, reports)])})


_of: WeakKeyDictionary[Worker, Reports] = WeakKeyDictionary()
_making = threading.Lock()


def reports_of(worker: Worker) -> Reports:
    """Those of *worker*; there may be several in a process."""
    with _making:
        found = _of.get(worker)
        if found is None:
            found = _of[worker] = Reports(worker)
        return found
