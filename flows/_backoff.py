"""How long to wait before a retry."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from flows._duration import LIMIT_SECONDS, Duration, seconds
from flows._names import shown
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from tenacity import BaseRetrying, RetryCallState
    from tenacity.wait import wait_base

BackoffKind = Literal["fixed", "exponential", "steps", "custom"]
CustomBackoff = Callable[[int, BaseException], Duration]

_LARGEST_FACTOR = 1e6
_MAKERS = "Backoff.fixed, .exponential, .steps or .custom"
# What each kind is stored as, the required one first.
_FIELDS = {
    "fixed": ("delay", "jitter"),
    "exponential": ("base", "factor", "cap", "jitter"),
    "steps": ("delays",),
}


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Backoff:
    """How long to wait after a failed attempt: `Backoff.fixed`, `.exponential`, `.steps` or `.custom`.

    The first three are plain data: they are stored with a job and compare by value. Waits end at 366 days.

    Attributes:
        kind: ``"fixed"``, ``"exponential"``, ``"steps"`` or ``"custom"``.
        delays: In seconds: the fixed wait, the exponential base, or the steps; empty for custom.
        factor: What each exponential wait is times the one before.
        cap: The longest exponential wait in seconds, or None.
        jitter: Which share of each wait may be taken off, from 0.0 (none) to 1.0 (all of it).
        fn: The function of a custom one.
    """

    kind: BackoffKind
    delays: tuple[float, ...]
    factor: float
    cap: float | None
    jitter: float
    fn: CustomBackoff | None

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise DefinitionError(f"Backoff is not made by calling it; use {_MAKERS}")

    @classmethod
    def _made(
        cls,
        kind: BackoffKind,
        delays: Sequence[float],
        *,
        factor: float = 1.0,
        cap: float | None = None,
        jitter: float = 0.0,
        fn: CustomBackoff | None = None,
    ) -> Self:
        backoff = object.__new__(cls)
        values = (kind, tuple(delays), factor, cap, jitter, fn)
        for field, value in zip(fields(cls), values, strict=True):
            object.__setattr__(backoff, field.name, value)
        return backoff

    @classmethod
    def fixed(cls, delay: Duration, jitter: float = 0.0) -> Self:
        """Always *delay*.

        Raises:
            DefinitionError: *delay* is no duration, or *jitter* not between 0 and 1.
        """
        return cls._made("fixed", [seconds(delay, "Backoff.fixed delay")], jitter=_jitter(jitter, "fixed"))

    @classmethod
    def exponential(cls, base: Duration, factor: float = 2, cap: Duration | None = None, jitter: float = 0.0) -> Self:
        """*base* after the first attempt, then each time *factor* times more, never above *cap*.

        Raises:
            DefinitionError: *base* or *cap* is no duration, *cap* is below *base*, *factor* below 1, or
                *jitter* not between 0 and 1.
        """
        first = seconds(base, "Backoff.exponential base")
        most = None if cap is None else seconds(cap, "Backoff.exponential cap")
        if most is not None and most < first:
            raise DefinitionError(
                f"Backoff.exponential cap {shown(cap)}: is below the base {shown(base)}; give a longer one"
            )
        times = _number(factor, "Backoff.exponential factor", 1.0, _LARGEST_FACTOR, "a number from 1 to 1,000,000")
        return cls._made("exponential", [first], factor=times, cap=most, jitter=_jitter(jitter, "exponential"))

    @classmethod
    def steps(cls, delays: Sequence[Duration]) -> Self:
        """The given waits one after the other; the last one repeats.

        Raises:
            DefinitionError: *delays* is empty or no sequence, or one of them is no duration.
        """
        if isinstance(delays, str) or not isinstance(delays, Sequence):
            raise DefinitionError(
                f"Backoff.steps {shown(delays)}: is no list; give the waits: Backoff.steps([1, 5, 30])"
            )
        if not delays:
            raise DefinitionError(f"Backoff.steps {shown(delays)}: is empty; give the waits: Backoff.steps([1, 5, 30])")
        return cls._made("steps", [seconds(delay, f"Backoff.steps delay {n}") for n, delay in enumerate(delays, 1)])

    @classmethod
    def custom(cls, fn: CustomBackoff) -> Self:
        """What *fn* returns for (number of the failed attempt, its exception). Code: the worker's alone.

        If *fn* raises or returns no duration, the wait is 300 s.

        Raises:
            DefinitionError: *fn* is not a plain function.
        """
        fault = _no_function(fn)
        if fault:
            raise DefinitionError(
                f"Backoff.custom {shown(fn)}: {fault}; give a plain function (attempt, error) -> seconds"
            )
        return cls._made("custom", (), fn=fn)

    def delay(self, attempt: int, *, key: str = "", error: BaseException | None = None) -> float:
        """How many seconds to wait after failed attempt number *attempt*, counted from 1.

        The jitter is no chance: it follows from *key* and *attempt* alone, so that a schedule survives a
        crash and can be foretold, while jobs of different keys spread out.

        Raises:
            Exception: Whatever a custom function raises; `DefinitionError` when it returns no duration.
        """
        if self.kind == "custom" or (self.kind == "exponential" and self.delays[0] > 0):
            figure = waited(self.to_tenacity()(call_state(attempt, error)), f"Backoff.{self.kind}")
        else:  # not worth an object of tenacity's
            figure = self.delays[min(attempt, len(self.delays)) - 1]
        return figure * (1.0 - self.jitter * _share(key, attempt)) if self.jitter else figure

    def to_tenacity(self) -> wait_base:
        """The same wait as an object of tenacity's, without the jitter."""
        from tenacity.wait import wait_chain, wait_exponential, wait_fixed

        if self.kind == "custom" and self.fn is not None:
            return _wait_of(self.fn)
        if self.kind == "exponential" and self.delays[0] > 0:
            most = LIMIT_SECONDS if self.cap is None else self.cap
            # A float factor overflows and so gives the cap; an int would grow to thousands of digits first.
            return wait_exponential(multiplier=self.delays[0], max=most, exp_base=float(self.factor))
        return wait_chain(*(wait_fixed(delay) for delay in self.delays))

    def to_dict(self) -> dict[str, Any]:
        """As plain data: ``kind`` and what its maker takes, durations in seconds.

        Raises:
            DefinitionError: It is a custom one.
        """
        if self.kind == "custom":
            raise DefinitionError(f"{self!r} is code and cannot be stored; use Backoff.fixed, .exponential or .steps")
        values: dict[str, Any] = {
            "delay": self.delays[0],
            "base": self.delays[0],
            "delays": list(self.delays),
            "factor": self.factor,
            "cap": self.cap,
            "jitter": self.jitter,
        }
        return {"kind": self.kind} | {name: values[name] for name in _FIELDS[self.kind] if values[name] is not None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The backoff that `to_dict` described.

        Raises:
            DefinitionError: *data* describes none.
        """
        if not isinstance(data, Mapping):
            raise DefinitionError(f"backoff {shown(data)}: is no mapping; give {{'kind': 'fixed', 'delay': 5}}")
        kind = data.get("kind")
        names = _FIELDS.get(kind) if isinstance(kind, str) else None
        if names is None:
            raise DefinitionError(f"backoff kind {shown(kind)}: is unknown; give one of {', '.join(_FIELDS)}")
        unknown = [shown(name) for name in data if name != "kind" and name not in names]
        if unknown or names[0] not in data:
            wrong = f"has the unknown field {unknown[0]}" if unknown else f"lacks {names[0]!r}"
            raise DefinitionError(f"backoff {shown(data)}: {wrong}; {kind} takes {', '.join(names)}")
        made: Self = getattr(cls, str(kind))(**{name: data[name] for name in names if name in data})
        return made

    def __repr__(self) -> str:
        if self.kind == "custom":
            return f"Backoff.custom({getattr(self.fn, '__qualname__', None) or shown(self.fn)})"
        if self.kind == "steps":
            return f"Backoff.steps({list(self.delays)!r})"
        extra = f", factor={self.factor!r}" if self.kind == "exponential" else ""
        extra += f", cap={self.cap!r}" if self.cap is not None else ""
        extra += f", jitter={self.jitter!r}" if self.jitter else ""
        return f"Backoff.{self.kind}({self.delays[0]!r}{extra})"


def call_state(
    attempt: int, error: BaseException | None, elapsed: float = 0.0, retry: BaseRetrying | None = None
) -> RetryCallState:
    """What tenacity's rules are asked with: the failed attempt, *elapsed* seconds after the first began."""
    from tenacity import Future, RetryCallState

    state = RetryCallState(retry, None, (), {})  # type: ignore[arg-type]  # waits need none
    state.attempt_number = attempt
    state.outcome = Future.construct(attempt, error, error is not None)
    state.start_time, state.outcome_timestamp = 0.0, elapsed
    return state


def waited(value: object, what: str) -> float:
    """*value*, which a rule gave as a wait, in seconds; longer than 366 days counts as that.

    Raises:
        DefinitionError: It is no duration.
    """
    if isinstance(value, (int, float)) and LIMIT_SECONDS < value < math.inf:
        return float(LIMIT_SECONDS)
    return seconds(value, what)


def _wait_of(fn: CustomBackoff) -> wait_base:
    from tenacity.wait import wait_base

    class CustomWait(wait_base):
        def __call__(self, retry_state: RetryCallState) -> float:
            error = retry_state.outcome.exception() if retry_state.outcome is not None else None
            return waited(fn(retry_state.attempt_number, error or Exception("unknown")), "Backoff.custom")

    return CustomWait()


def _no_function(fn: object) -> str | None:
    if not callable(fn):
        return "cannot be called"
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):
        return "is a coroutine function"
    return None


def _share(key: str, attempt: int) -> float:
    """A number from 0 to 1 that follows from its arguments and looks random."""
    import hashlib  # OpenSSL takes longer to load than most flows to run

    digest = hashlib.blake2b(f"{key}\x1f{attempt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _jitter(value: object, kind: BackoffKind) -> float:
    return _number(value, f"Backoff.{kind} jitter", 0.0, 1.0, "a number from 0 (none) to 1 (all of the wait)")


def _number(value: object, what: str, low: float, high: float, wanted: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; give {wanted}")
    plain = int.__int__(value) if isinstance(value, int) else float.__float__(value)
    if not low <= plain <= high:
        raise DefinitionError(f"{what} {shown(value)}: is out of range; give {wanted}")
    return float(plain)
