"""What a worker says of its work: a line for each job, where somebody listens, and one a minute of its health.

Lines are written by a thread of their own: a handler of the log may be slow, raise or block, and the jobs go on. When
it falls far behind, lines are left out and counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from executors._leasing._bell import Bell
from executors._leasing._log import say
from flows._job_log import JobLog, job_log, log_job
from flows._told import Told
from flows._verbs import End, Grant, Settle

if TYPE_CHECKING:
    from flows._events import EventKind

HEALTH_SECONDS: Final = 60.0

BACKLOG: Final = 20_000
"""Jobs that may wait to be logged; beyond that their lines are left out."""

_KINDS: Final[dict[End, EventKind]] = {
    End.COMPLETED: "completed",
    End.REPLAYED: "completed",
    End.FAILED: "failed",
    End.RETRY: "retrying",
    End.SKIPPED: "skipped",
    End.CANCELLED: "cancelled",
    End.RELEASED: "released",
    End.LOST: "lost",
}

_COMPLETED, _FAILED = End.COMPLETED, End.FAILED


class Reports:
    """Counts what a worker does, and tells the log.

    Args:
        name: The worker's.
        jobs: Whether to log jobs one by one; not where the store's own journal is told.

    Attributes:
        completed, failed: Attempts that ended so.
    """

    def __init__(self, name: str, *, jobs: bool) -> None:
        self._name = name
        self._log: JobLog | None = job_log() if jobs else None
        self._starts = self._log is not None and "started" in self._log.kinds
        self.completed = self.failed = 0
        self._before = (0, 0)
        self._since = time.monotonic()
        self.health_at = self._since + HEALTH_SECONDS
        self._lines: deque[Grant | Settle] = deque()
        self._left_out = 0
        self._bell = Bell()
        self._closed = False
        self._thread: threading.Thread | None = None

    def started(self, grants: Sequence[Grant]) -> None:
        """The worker has taken these."""
        if self._starts:
            self._put(grants)

    def ended(self, settles: Sequence[Settle], refused: Sequence[Settle]) -> None:
        """The store has taken these, but for those it refused."""
        completed = failed = 0
        for settle in settles:
            end = settle.end
            if end is _COMPLETED:
                completed += 1
            elif end is _FAILED:
                failed += 1
        self.completed += completed
        self.failed += failed
        if self._log is not None:
            self._put([settle for settle in settles if settle not in refused] if refused else settles)

    def health(self, active: int, slots: int, leases: int) -> None:
        """Say how it goes, where a minute has passed."""
        now = time.monotonic()
        if now < self.health_at:
            return
        seconds, (completed, failed) = now - self._since, self._before
        say(
            logging.INFO,
            "worker %s: %d jobs done and %d failed in %.0f s (%.1f/s); %d of %d slots active, %d leases",
            self._name,
            self.completed - completed,
            self.failed - failed,
            seconds,
            (self.completed + self.failed - completed - failed) / seconds,
            active,
            slots,
            leases,
        )
        self._before, self._since = (self.completed, self.failed), now
        self.health_at = now + HEALTH_SECONDS

    @property
    def totals(self) -> tuple[int, int]:
        """Attempts that completed, and that failed for good."""
        return self.completed, self.failed

    def close(self, patience: float) -> None:
        """The worker has ended: what is left is written now, if that does not take too long."""
        self._closed = True
        self._bell.ring()
        if self._thread is not None:
            self._thread.join(patience)

    def _put(self, lines: Sequence[Grant] | Sequence[Settle]) -> None:
        if len(self._lines) > BACKLOG:
            self._left_out += len(lines)
            return
        self._lines.extend(lines)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"flows-log-{self._name}", daemon=True)
            self._thread.start()
        self._bell.ring()

    def _run(self) -> None:
        lines = self._lines
        while lines or not self._closed:
            self._bell.rest(lambda: not lines and not self._closed, None)
            while lines:
                one = lines.popleft()
                try:
                    self._tell(one)
                except Exception:
                    continue  # whoever is to be told is who failed
            if self._left_out:
                left_out, self._left_out = self._left_out, 0
                say(logging.WARNING, "worker %s: %d lines of jobs were left out of the log", self._name, left_out)

    def _tell(self, one: Grant | Settle) -> None:
        if isinstance(one, Grant):
            grant, kind, failed, after, seconds = one, "started", None, None, None
        else:
            grant, failed, seconds = one.grant, one.failed, one.ended_at - one.started_at
            kind, after = _KINDS.get(one.end, ""), one.after if one.end is End.RETRY else None
        if grant.control or self._log is None or kind not in self._log.kinds:
            return
        attempt = None if isinstance(one, Settle) and one.end is End.REPLAYED else grant.attempt
        run, now = grant.run, datetime.now(UTC)
        told = Told(kind, now, grant.job, attempt, failed, after)
        trace_id = run.id if run.tracing is None else run.tracing.trace_id
        log_job(run.plan, run.id, trace_id, told, seconds, now.timestamp())
