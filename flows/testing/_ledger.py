"""EffectLedger: stands in for the world outside, and tells what handlers have done to it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Protocol

from flows._context import Context, current_grant
from flows._names import shown
from flows.errors import DefinitionError


class Reached(Protocol):
    """The attempt that the calling handler is making, where it is simulated."""

    def reach(self, point: str) -> None:
        """The handler is at *point*: what is to happen there happens now."""
        ...

    def elapsed(self) -> float:
        """Seconds since the simulation began."""
        ...

    def simulation(self) -> int:
        """Which simulation of this process it is."""
        ...


attempt_here: ContextVar[Reached | None] = ContextVar("flows_simulated_attempt", default=None)


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that was done to the outside world.

    Attributes:
        name: What was done.
        key: The idempotency key that came with it.
        job, attempt: Whose handler did it; None outside a job.
        at: When, in seconds since the simulation began; 0.0 outside one.
        applied: Whether it changed anything: an idempotent world does nothing for a key that it has seen.
        simulation: Which simulation of this process it belongs to; None outside one.
    """

    name: str
    key: str | None
    job: str | None
    attempt: int | None
    at: float
    applied: bool
    simulation: int | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        what = f"{self.name} by {self.job} (attempt {self.attempt}) at {self.at:g} s under key {self.key!r}"
        return what if self.applied else f"{what}, recognised by its key and not done again"


class EffectLedger:
    """A stand-in for an outside API: notes each effect, and does it again or not, as that API would.

    Handlers tell it what they do, in the place of the real call; a simulation can let a worker die right before or
    right after that. Thread-safe; works outside simulations, too.

    Args:
        idempotent: Whether the outside world honours idempotency keys: the same effect under the same key is done once.

    Attributes:
        effects: All that was asked of the outside world, in order.
    """

    def __init__(self, idempotent: bool = False) -> None:
        if type(idempotent) is not bool:
            raise DefinitionError(f"EffectLedger(idempotent=) is True or False, not {shown(idempotent)}")
        self.idempotent = idempotent
        self.effects: list[Effect] = []
        self._lock = threading.Lock()

    def record(self, effect: str, key: str | None = None) -> bool:
        """An effect happens.

        Args:
            effect: What it is: ``"charge"``.
            key: The idempotency key that the outside API is given; ``None`` for an API that takes none, or by a
                handler that does not hand one on.

        Returns:
            Whether anything was done: False where an idempotent world has seen *effect* under *key* before.

        Raises:
            DefinitionError: *effect* or *key* is no text.
        """
        if not isinstance(effect, str) or not isinstance(key, str | None):
            raise DefinitionError(f"record() takes what is done and its key as text, not {shown((effect, key))}")
        attempt = attempt_here.get()
        if attempt is not None:
            attempt.reach("mid")
        grant = current_grant.get(None)
        context = None if grant is None else Context(grant)
        at = 0.0 if attempt is None else attempt.elapsed()
        with self._lock:
            applied = not (self.idempotent and key is not None and self._knows(effect, key))
            job, number = (None, None) if context is None else (context.job_id, context.attempt)
            simulation = None if attempt is None else attempt.simulation()
            self.effects.append(Effect(effect, key, job, number, at, applied, simulation))
        if attempt is not None:
            attempt.reach("after_effect")
        return applied

    def effect(self, name: str, returns: Any = None, *, keyed: bool = True) -> Callable[..., Any]:
        """A handler that does nothing but this effect, for ``simulate(handlers={"charge": ledger.effect("charge")})``.

        Args:
            name: What it does.
            returns: Its result; a function is called with the arguments of the handler.
            keyed: Whether it hands on the job's idempotency key.
        """

        def handler(*args: Any, **kwargs: Any) -> Any:
            grant = current_grant.get(None)
            self.record(name, Context(grant).idempotency_key if keyed and grant is not None else None)
            return returns(*args, **kwargs) if callable(returns) else returns

        return handler

    def clear(self) -> None:
        """Forget all effects; for ledgers that serve several simulations."""
        with self._lock:
            self.effects.clear()

    def _knows(self, effect: str, key: str) -> bool:
        return any(one.name == effect and one.key == key and one.applied for one in self.effects)

    def __repr__(self) -> str:
        done = sum(effect.applied for effect in self.effects)
        return f"<EffectLedger: {done} effects done, {len(self.effects) - done} recognised by their keys>"
