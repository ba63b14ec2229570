"""Calm spells: while nothing happens but keepers that renew their leases, hours pass at once and not beat by beat."""

from __future__ import annotations

from heapq import heapify
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flows.testing._world import World

_RENEWING: Final = frozenset(("extend", "rescue"))


def pass_calm(world: World, until: float) -> None:
    """Let time pass up to shortly before something else happens than beats, or *until*.

    Nothing is lost by it: each beat renews all that is held, and is followed by one like it.
    """
    world.calm_down()
    beat = world.lease / 3
    others = [at for at, _, worker, what in world._heap if worker is None or worker.gone or what != worker.beat]
    beats = int((min([until, *others]) - world.now) / beat) - 1
    if beats < 2 or not others or not _is_calm(world):
        return
    seconds = beats * beat
    for at, (instant, tie, worker, what) in enumerate(world._heap):
        if worker is not None and what == worker.beat:
            world._heap[at] = (instant + seconds, tie, worker, what)
    heapify(world._heap)
    for one in world.living():
        keeper = one.keeper
        keeper.wake_at += seconds
        keeper._beat_at += seconds
        keeper._confirmed = {grant: at + seconds for grant, at in keeper._confirmed.items()}
    for run in world.store.leased:
        run.leases.update({job: (grant, until + seconds) for job, (grant, until) in run.leases.items()})


def _is_calm(world: World) -> bool:
    """Whether every lease is renewed by whoever has it, and the store answers."""
    if world.down or world.overdue or world.clock() > world.now + world._offset or world.mishaps.struck & _RENEWING:
        return False
    living = world.living()
    kept = {grant for one in living for grant in one.keeper._confirmed}
    leased = {grant for run in world.store.leased for grant, _ in run.leases.values()}
    return kept == leased and all(one.frozen_until <= world.now and one.beating for one in living)
