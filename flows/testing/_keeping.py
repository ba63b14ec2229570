"""Keeping: what a simulated worker does for its leases, at the times and for the reasons of its `KeeperCore`."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

from flows._keeper import Beat, Extend, Extended, Interrupt, KeeperCore, Rescue, Unconfirmed
from flows._verbs import Grant

if TYPE_CHECKING:
    from flows.testing._simulated_worker import SimulatedWorker
    from flows.testing._world import World


class Keeping:
    """The keeper's part of a simulated worker.

    Attributes:
        beating: Whether it beats: that is while there are leases.
    """

    world: World
    name: str
    keeper: KeeperCore
    attempts: dict[Grant, Any]
    beating = False

    @property
    def _me(self) -> SimulatedWorker:
        return cast("SimulatedWorker", self)

    @abstractmethod
    def stop(self, grant: Grant, why: str) -> None:
        """The lease of *grant* is lost."""

    def beat(self) -> None:
        """The keeper's thread; once there is no lease to keep or to take back, it rests."""
        world = self.world
        world.beaten()
        self.beating = world.store.watched
        if self.beating or self.keeper.keeping or world.overdue:
            self.keeper.feed(Beat(), world.now)
            self.look_after()
            self.beating = world.store.watched
        if self.beating:
            self.world.at_beat(max(0.0, self.keeper.wake_at - world.now), self._me)

    def look_after(self) -> None:
        """Do what the keeper wants."""
        world = self.world
        while effects := self.keeper.effects():
            for effect in effects:
                if isinstance(effect, Extend):
                    self._extend(effect)
                elif isinstance(effect, Interrupt):
                    world.note(self.name, "loses its lease", self.attempts.get(effect.grant))
                    self.stop(effect.grant, effect.why)
                elif isinstance(effect, Rescue):
                    world.rescue(self._me)

    def _extend(self, effect: Extend) -> None:
        world = self.world
        kind, _ = world.delivery("extend", ())
        if kind != "lost_call":
            refused = world.store.extend(effect.grants)
        if kind in ("fine", "doubled_call"):
            self.keeper.feed(Extended(refused), world.now)
        else:
            self.keeper.feed(Unconfirmed(), world.now)
