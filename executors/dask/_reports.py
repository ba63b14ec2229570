"""How a worker of the cluster reports: what was said within a few milliseconds goes in one message."""

from __future__ import annotations

import pickle
import threading
import time
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from executors.dask._words import BEGUN, UNDER_WAY, Mark, Report

if TYPE_CHECKING:
    from distributed import Worker

GATHER_SECONDS: Final = 0.003


class Reports:
    """What one worker has to say. Thread-safe."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._lock = threading.Lock()
        self._kept: dict[str, list[tuple[Mark, str, bytes, float, float]]] = {}

    def say(self, topic: str, mark: Mark, what: str, data: bytes = b"", seconds: float = 0.0) -> None:
        """Report something that is so now."""
        with self._lock:
            first = not self._kept
            self._kept.setdefault(topic, []).append((mark, what, data, seconds, time.monotonic()))
        if first:
            self._worker.loop.add_callback(self._soon)

    def _soon(self) -> None:
        self._worker.loop.call_later(GATHER_SECONDS, self._send)

    def _send(self) -> None:
        with self._lock:
            kept, self._kept = self._kept, {}
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
