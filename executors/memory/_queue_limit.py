"""How it stands with a limited queue, for those who ask why a job waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueLimit:
    """How it stands with a limited queue at one moment.

    Attributes:
        queue: Its name.
        concurrency: Attempts active at once at most, in the whole store; None: any number.
        active: How many are.
        rate: Starts within any so many seconds at most; None: any number.
        next_at: When the rate next lets an attempt start, by the store's clock; None: now, or there is no rate. An
            estimate where claimed jobs have not begun yet.
        runs_waiting: Runs that wait for a place or a start.
        paused: Whether nothing is handed out.
    """

    queue: str
    concurrency: int | None
    active: int
    rate: tuple[int, float] | None
    next_at: float | None
    runs_waiting: int
    paused: bool = False

    def reason(self, now: float) -> str | None:
        """What keeps a waiting job back, in words; None if nothing does."""
        if self.paused:
            return f"queue {self.queue} is paused"
        if self.concurrency is not None and self.active >= self.concurrency:
            return f"waits for a free place on queue {self.queue} ({self.active} of {self.concurrency} active)"
        if self.next_at is not None:
            return f"rate limit of queue {self.queue}, next in {max(0.0, self.next_at - now):.1f} s"
        return f"waits for its turn on queue {self.queue}" if self.runs_waiting else None
