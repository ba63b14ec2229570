"""Events: what happened in a run, in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

EventKind = Literal[
    "submitted",
    "started",
    "completed",
    "failed",
    "retrying",
    "skipped",
    "cancelled",
    "released",
    "lost",
    "replayed",
    "progress",
    "expanded",
    "ended",
    "reopened",
]


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a run.

    Attributes:
        kind: ``submitted``, ``ended`` and ``reopened`` are the run's; the others are those of a job. ``retrying`` is a
            failed attempt that will be followed by another, ``released`` one that was given back unrun, ``lost`` one
            whose worker died. ``expanded`` is a list whose items have become known. ``replayed`` comes before the
            ``completed`` of a job that took the result which another had filed under its idempotency key; neither has
            an attempt.
        at: When, by the store's clock.
        job: The job's id; None for the run's own events.
        attempt: Which attempt it was, where there was one.
        detail: The error of a failure, the progress reported, how many items a list has, the run's final state; never
            a result.
    """

    kind: EventKind
    at: datetime
    job: str | None = None
    attempt: int | None = None
    detail: object = None

    def __str__(self) -> str:
        words = [f"{self.at:%H:%M:%S.%f}"[:-3], self.kind]
        if self.job is not None:
            words.append(self.job)
        if self.attempt is not None and self.attempt > 1:
            words.append(f"(attempt {self.attempt})")
        if self.detail is not None:
            words.append(str(self.detail))
        return " ".join(words)
