"""Mishaps: which of the faults strike when, and what becomes of calls to the store by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flows._names import nearest, shown
from flows._opts import Opts
from flows._task import DEFAULT_QUEUE, Task
from flows.errors import DefinitionError
from flows.testing._choices import Choices
from flows.testing._faults import Fault

if TYPE_CHECKING:
    from flows.testing._world import World

LATE_SECONDS: Final = 2.0
"""How late a call is that is late by chance: it has been sent again by then, and no lease is lost."""

FINE: Final = ("fine", 0.0)

Fate = dict[str, list[tuple[int, Fault]]]
"""Point of an attempt -> what may happen there; each fault with its place among all."""


class Mishaps:
    """What goes wrong in a simulation.

    Args:
        faults: What is to go wrong.
        choices: Where chance comes from.

    Attributes:
        struck: The verbs that faults strike.
        missed: The places of the faults that have not struck yet.
    """

    def __init__(self, faults: Sequence[Fault], choices: Choices) -> None:
        self.faults = tuple(faults)
        self.choices = choices
        self._left = [fault.times for fault in self.faults]
        self._calls: dict[str, int] = {}
        self.struck = frozenset(fault.verb for fault in self.faults)
        self.missed = set(range(len(self.faults)))

    def of_attempt(self, job: str, task: str, number: int) -> Fate:
        """What may happen in an attempt."""
        fate: Fate = {}
        for place, fault in enumerate(self.faults):
            if fault.job not in (job, task) or fault.attempt not in (None, number) or self._left[place] == 0:
                continue
            if fault.probability is None or self.choices.happens(fault.probability):
                fate.setdefault(fault.at or "after_effect", []).append((place, fault))
        return fate

    def of_world(self) -> list[tuple[int, Fault]]:
        """What happens at an instant, and neither to a job nor to a call; each fault with its place among all."""
        return [(place, fault) for place, fault in enumerate(self.faults) if fault.job is None and fault.verb is None]

    def calls(self, verb: str) -> int:
        """How many calls of *verb* there have been."""
        return self._calls.get(verb, 0)

    def strikes(self, place: int) -> bool:
        """Whether the fault at that place strikes now; it can so often, and once less from then on."""
        left = self._left[place]
        if left is not None:
            self._left[place] = max(0, left - 1)
        if left != 0:
            self.missed.discard(place)
        return left != 0

    def of_call(self, verb: str, kinds: Sequence[str]) -> tuple[str, float]:
        """What becomes of a call, and after how many seconds it reaches the store.

        Args:
            verb: What is called.
            kinds: What may become of it by chance; the first is that all goes well.
        """
        number = self._calls[verb] = self._calls.get(verb, 0) + 1
        if self.faults and verb in self.struck:
            for place, fault in enumerate(self.faults):
                if fault.verb == verb and number >= (fault.nth or 1) and self.strikes(place):
                    return fault.kind, fault.seconds or 0.0
        kind = self.choices(kinds) if kinds else "fine"
        return FINE if kind == "fine" else (kind, LATE_SECONDS if kind == "late_call" else 0.0)


def arm(world: World) -> None:
    """Have happen to *world* what is to happen at an instant."""
    for place, fault in world.mishaps.of_world():
        world.at(fault.at, partial(_strike, world, place, fault))


def as_tasks(handlers: Mapping[str, Callable[..., Any]]) -> dict[str, Task[..., Any]]:
    """Tasks made of what a test gives in the place of handlers; they are registered nowhere."""
    return {
        name: fn if isinstance(fn, Task) else Task(fn, name, DEFAULT_QUEUE, Opts()) for name, fn in handlers.items()
    }


def _check_worker(world: World, fault: Fault) -> None:
    names = [worker.name for worker in world.workers]
    if fault.worker is not None and fault.worker not in names:
        near = f"did you mean {', '.join(nearest(fault.worker, names) or names[:20])}?"
        when = f"after {world.elapsed():g} s"
        world.fall(DefinitionError(f"{fault!r}: there has been no worker {shown(fault.worker)} {when}; {near}"))


def _strike(world: World, place: int, fault: Fault) -> None:
    world.mishaps.strikes(place)
    length = fault.seconds or 0.0
    if fault.kind == "cancel":
        world.note(None, "cancels the run", detail=fault.reason or "")
        for run in world.runs:
            world.store.cancel(run, fault.reason or "")
        world.tell(None)
    elif fault.kind == "worker_joins":
        world.join()
    elif fault.kind == "worker_leaves":
        _check_worker(world, fault)
        for worker in [one for one in world.living() if fault.worker in (None, one.name)][:1]:
            if fault.drain:
                world.at(0.0, worker.drain, worker)
            else:
                worker.vanish()
    elif fault.kind == "clock_step":
        world.note(None, f"the store's clock steps by {length:g} s")
        world.jump(length)
        for worker in world.living():
            world.at(0.0, worker.rearm, worker)
        world.arm_deadlines()
    elif fault.kind == "store_restart":
        world.note(None, f"the store is away for {length:g} s")
        world.down_until = world.now + length
    elif fault.kind == "deploy":
        world.note(None, "deploys", detail=", ".join(sorted(fault.handlers or ())))
        world.deploy(as_tasks(fault.handlers or {}))
