"""KeeperCore: keeps the leases of a worker alive and takes up those of dead workers, without thread, clock or socket.

Its driver gives it a thread and a connection apart from the worker's, so that a handler which hogs the worker cannot
starve the leases of all its other jobs. It goes on until the last handler has ended.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from flows._verbs import Grant

LEASE_SECONDS: Final = 30.0

MARGIN_SECONDS: Final = 5.0
"""A lease that is not confirmed this long before its end counts as lost: better to stop early than to run beside
another.
"""


class Held:
    """The worker holds these grants from now on."""

    __slots__ = ("grants",)

    def __init__(self, grants: Sequence[Grant]) -> None:
        self.grants = grants


class Dropped:
    """The attempts of these grants have ended."""

    __slots__ = ("grants",)

    def __init__(self, grants: Sequence[Grant]) -> None:
        self.grants = grants


class Extended:
    """The store has extended the leases asked for, but for those in *refused*, which others hold by now."""

    __slots__ = ("refused",)

    def __init__(self, refused: Sequence[Grant]) -> None:
        self.refused = refused


class Unconfirmed:
    """The store did not answer an extend."""

    __slots__ = ()


class Beat:
    """The instant `KeeperCore.wake_at` has come."""

    __slots__ = ()


class Extend:
    """Extend the leases of these grants."""

    __slots__ = ("grants",)

    def __init__(self, grants: list[Grant]) -> None:
        self.grants = grants


class Rescue:
    """Give the jobs of expired leases back to their queues."""

    __slots__ = ()


class Interrupt:
    """Tell the handler of this grant to stop: its lease is lost, its result will be refused."""

    __slots__ = ("grant", "why")

    def __init__(self, grant: Grant, why: str) -> None:
        self.grant = grant
        self.why = why


KeeperEvent = Held | Dropped | Extended | Unconfirmed | Beat
KeeperEffect = Extend | Rescue | Interrupt


class KeeperCore:
    """When to extend, when to rescue, when to give a lease up.

    Args:
        lease_seconds: How long a lease lasts from its grant or last extension; renewed three times in it.

    Attributes:
        wake_at: When to feed `Beat`, by a clock that never goes back.
    """

    def __init__(self, now: float, lease_seconds: float = LEASE_SECONDS) -> None:
        self.lease_seconds = lease_seconds
        self.wake_at = self._beat_at = now + lease_seconds / 3
        self._margin = min(MARGIN_SECONDS, lease_seconds / 6)
        self._confirmed: dict[Grant, float] = {}
        self._asked: list[Grant] = []
        self._asked_at = now
        self._effects: list[KeeperEffect] = []

    @property
    def keeping(self) -> bool:
        """Whether it has any leases to keep."""
        return bool(self._confirmed)

    def lasts(self, grant: Grant, since: float, now: float) -> bool:
        """Whether a job may still be started under *grant*, which was asked for at *since*, by the monotonic clock."""
        return now < self._confirmed.get(grant, since) + self.lease_seconds - self._margin

    def feed(self, event: KeeperEvent, now: float) -> None:
        """Take note of what happened at *now*, by the worker's monotonic clock in seconds."""
        if isinstance(event, Held):
            self._confirmed.update((grant, now) for grant in event.grants)
        elif isinstance(event, Dropped):
            for grant in event.grants:
                self._confirmed.pop(grant, None)
        elif isinstance(event, Extended):
            self._extended(event.refused)
        elif isinstance(event, Beat) and now >= self._beat_at:
            self._beat(now)
        self._give_up(now)

    def effects(self) -> list[KeeperEffect]:
        """What to carry out now, in order; each effect is given once."""
        effects = self._effects
        self._effects = []
        return effects

    def _beat(self, now: float) -> None:
        self._beat_at = now + self.lease_seconds / 3
        if self._confirmed:
            self._asked = list(self._confirmed)
            # The lease runs from the moment of asking, not of the answer: the store may have been quick and the
            # network slow.
            self._asked_at = now
            self._effects.append(Extend(self._asked))
        self._effects.append(Rescue())

    def _extended(self, refused: Sequence[Grant]) -> None:
        lost = set(refused)
        for grant in self._asked:
            if grant in lost:
                self._interrupt(grant, "its lease was lost to another worker")
            elif grant in self._confirmed:
                self._confirmed[grant] = self._asked_at
        self._asked = []

    def _give_up(self, now: float) -> None:
        if not self._confirmed:
            self.wake_at = self._beat_at
            return
        safe = self.lease_seconds - self._margin
        ends_at = min(self._confirmed.values()) + safe
        if ends_at <= now:
            for grant in [grant for grant, confirmed in self._confirmed.items() if confirmed + safe <= now]:
                self._interrupt(grant, "its lease could not be renewed")
            ends_at = min(self._confirmed.values(), default=math.inf) + safe
        self.wake_at = min(self._beat_at, ends_at)

    def _interrupt(self, grant: Grant, why: str) -> None:
        if self._confirmed.pop(grant, None) is not None:
            self._effects.append(Interrupt(grant, why))
