"""Step: one thing that happened in a simulation, besides the run's own events."""

from __future__ import annotations

from typing import Final, NamedTuple

STOPPED: Final = "stops the simulation"

_JOINED: Final = {
    **dict.fromkeys(("crashes", "hangs", "is cut off"), "in "),
    "comes too late": "with ",
    "loses its lease": "of ",
}
"""What happens -> how the job is joined to it."""


class Step(NamedTuple):
    """One thing that happened in a simulation, besides the run's own events.

    Attributes:
        at: Seconds since the simulation began.
        worker: Whom it happened to; None: the store, or the world.
        what: What happened.
        job, attempt: With which job, where there is one.
        detail: What else there is to say.
    """

    at: float
    worker: str | None
    what: str
    job: str | None = None
    attempt: int | None = None
    detail: str = ""

    def __str__(self) -> str:
        job = "" if self.job is None else f" {_JOINED.get(self.what, '')}{self.job}"
        number = f" (attempt {self.attempt})" if self.attempt is not None and self.attempt > 1 else ""
        return f"{self.what}{job}{number}{': ' if self.detail else ''}{self.detail}"
