"""What a planted bug is: a small flow with a mistake that people make, and the property that it breaks."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flows import Job
from flows.testing import EffectLedger, Trace

Property = Callable[[Trace[Any]], None]
Planter = Callable[[EffectLedger, bool], tuple[Job[Any], Property]]


@dataclass(frozen=True)
class Planted:
    """One bug.

    Attributes:
        plant: Builds the flow, with the mistake, or done right; and says what must hold.
        found_by: A part of the message of what finds it.
        faults: How many faults it takes to show.
        kinds: The faults to draw from; empty: all.
    """

    plant: Planter
    found_by: str
    faults: int = 0
    kinds: tuple[str, ...] = field(default=())

    def build(self, *, right: bool) -> tuple[Job[Any], Property]:
        return self.plant(EffectLedger(idempotent=True), right)


CATALOGUE: dict[str, Planted] = {}


def planted(found_by: str, *, faults: int = 0, kinds: tuple[str, ...] = ()) -> Callable[[Planter], Planter]:
    """Put what builds a flow into the catalogue, under its own name."""

    def add(plant: Planter) -> Planter:
        CATALOGUE[getattr(plant, "__name__", "")] = Planted(plant, found_by, faults, kinds)
        return plant

    return add


async def pause(seconds: float) -> None:
    """What a call of the world outside takes: no time at all, on a virtual event loop."""
    await asyncio.sleep(seconds)
