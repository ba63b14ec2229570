"""What a crew must know of the run that it works off, besides what every worker must."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from flows._verbs import RunBrief

if TYPE_CHECKING:
    from executors._leasing._attempts import AsyncAttempt, Attempt
    from executors._leasing._seats import Seats


class CrewRun(RunBrief, Protocol):
    """The one run that a crew works off."""

    @property
    def interrupters(self) -> list[Callable[[], None]]:
        """Called when the run is cancelled."""
        ...

    @property
    def ended(self) -> bool:
        """Whether every job is terminal."""
        ...

    @property
    def openings(self) -> int:
        """How often the run was begun: more than once where it was reopened."""
        ...

    def notify(self) -> None:
        """Tell those who watch the run that something has changed."""
        ...

    @property
    def shares(self) -> bool:
        """Whether any job shares its result under an idempotency key."""
        ...

    @property
    def has_async(self) -> bool:
        """Whether any job is async."""
        ...

    @property
    def has_sync(self) -> bool:
        """Whether any job is not."""
        ...

    @property
    def has_timeout(self) -> bool:
        """Whether any sync job has a timeout, or the run has."""
        ...

    @property
    def costly(self) -> bool:
        """Whether an exchange takes longer than many jobs, as one does that commits to a disk."""
        ...

    @property
    def seats(self) -> Seats | None:
        """Who says how many processes at once, if any job is for a process."""
        ...

    @property
    def wakers(self) -> list[Callable[[], None]]:
        """Called when jobs may have become claimable by what happened in other runs."""
        ...

    @property
    def writing(self) -> Writing | None:
        """What makes bytes of results in the hand that ran the handler, where the store takes nothing else."""
        ...


class Writing(Protocol):
    """Goes around what makes attempts."""

    def around(self, attempt: Attempt) -> Attempt:
        """*attempt*, whose settles carry bytes."""
        ...

    def around_async(self, attempt: AsyncAttempt) -> AsyncAttempt:
        """*attempt*, whose settles carry bytes."""
        ...
