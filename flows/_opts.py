"""Options of jobs: what may be given, what is right, and what counts when several levels give it."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, Unpack

from flows._names import check_queue, shown
from flows._option_checks import (
    KEY_LIMIT,
    MAX_ATTEMPTS,
    MAX_PRIORITY,
    REPLACED_BY_RETRY,
    Policy,
    RunIn,
    check_limit,
    check_rate,
    checked,
)
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tenacity import BaseRetrying
    from tenacity.wait import wait_base

    from flows._backoff import Backoff
    from flows._duration import Duration

__all__ = [
    "KEY_LIMIT",
    "MAX_ATTEMPTS",
    "MAX_PRIORITY",
    "Options",
    "Opts",
    "Policy",
    "Queue",
    "RunIn",
    "Settings",
    "resolve",
]

ErrorTypes = type[BaseException] | tuple[type[BaseException], ...]

# The parts of a tenacity controller, each with the option that does its work without one.
_PARTS = {"stop": "attempts", "wait": "backoff", "retry": "retry_on"}


class Options(TypedDict, total=False):
    """The options of a job, by name; `Opts` says what each one means."""

    attempts: int
    backoff: Backoff | wait_base
    retry_on: ErrorTypes
    give_up_on: ErrorTypes
    retry: BaseRetrying
    timeout: Duration
    delay: Duration
    priority: int
    lifo: bool
    on_failure: Policy
    idempotency_key: str
    run_in: RunIn


class Opts:
    """Options given for a job, a task or a queue. Immutable; what was not given is not set.

    Durations are seconds, `timedelta` or text: ``"1m30s"``, ``"24h"``, ``"3d"``, ``"500ms"``.

    Args:
        attempts: All tries, the first included; 1 to 1,000. Without it, one.
        backoff: The wait before a retry: a `Backoff` or a tenacity wait. Without it, none.
        retry_on: The exception class, or tuple of classes, worth another try. Without it, `Exception`.
        give_up_on: Those that are not; they beat `retry_on`.
        retry: A ``tenacity.Retrying`` or ``AsyncRetrying``. Its stop, wait and retry take the place of the
            four options above, of this level and of those below it; 1,000 tries at most.
        timeout: How long an attempt may run; more than 0.
        delay: How long to wait from the moment that the job is ready.
        priority: 0 (without it) comes before all numbered ones; then the lower first.
        lifo: Whether the job goes before those that wait already.
        on_failure: What its final failure does to the jobs that depend on it. Without it, ``"fail"``.
        idempotency_key: Names the effect, in place of ``"{run}/{job}"``. Handlers hand it on.
        run_in: Where the handler runs: ``"thread"`` (async ones on the event loop) or ``"process"``.

    Raises:
        DefinitionError: An option is unknown or wrong; all that are get listed.
    """

    __slots__ = ("_given",)
    _given: Mapping[str, object]

    def __init__(self, **options: Unpack[Options]) -> None:
        object.__setattr__(self, "_given", MappingProxyType(checked(options)))

    @classmethod
    def _of(cls, given: Mapping[str, object]) -> Opts:
        opts = object.__new__(cls)
        object.__setattr__(opts, "_given", MappingProxyType(dict(given)))
        return opts

    @property
    def given(self) -> dict[str, object]:
        """What was given, checked: durations in seconds as float, exception classes as a tuple. A copy."""
        return dict(self._given)

    def updated(self, other: Opts) -> Opts:
        """These options with those of *other* put over them."""
        return Opts._of(_over(self._given, other._given))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Opts cannot be changed; make others: opts.updated(Opts({name}=...))")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("Opts cannot be changed; make others")

    def __eq__(self, other: object) -> bool:
        return self._given == other._given if isinstance(other, Opts) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset((name, _hash(value)) for name, value in self._given.items()))

    def __repr__(self) -> str:
        return f"Opts({_spelled(self._given)})"

    def __reduce__(self) -> tuple[Callable[..., Opts], tuple[dict[str, object]]]:
        return Opts._of, (self.given,)


class Queue:
    """A queue: its name, its limits over the whole fleet, the default options of its jobs. Immutable.

    Args:
        name: 1 to 64 of the characters ``A-Z a-z 0-9 _ . -``.
        concurrency: How many of its jobs may run at once; None for no limit.
        rate: How many may start per time: ``"10/s"``, ``"100/min"``, ``"10/30s"``; None for no limit.
        **options: The fields of `Opts`.

    Raises:
        DefinitionError: Anything of it is wrong; all that is gets listed.
    """

    __slots__ = ("concurrency", "name", "opts", "rate", "rate_limit")
    name: str
    concurrency: int | None
    rate: str | None
    opts: Opts
    #: The rate as (jobs, seconds).
    rate_limit: tuple[int, float] | None

    def __init__(
        self,
        name: str,
        *,
        concurrency: int | None = None,
        rate: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        problems: list[DefinitionError] = []
        spot = f"queue {shown(name)}:"
        checks: dict[str, Callable[[], object]] = {
            "name": lambda: check_queue(name),
            "concurrency": lambda: check_limit(concurrency, f"{spot} concurrency"),
            "rate": lambda: rate,
            "rate_limit": lambda: None if rate is None else check_rate(rate, f"{spot} rate"),
            "opts": lambda: Opts(**options),
        }
        for field, check in checks.items():
            try:
                object.__setattr__(self, field, check())
            except DefinitionError as error:
                problems.append(error)
        if problems:
            raise DefinitionError.of(problems)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a Queue cannot be changed; make another one")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a Queue cannot be changed; make another one")

    def __eq__(self, other: object) -> bool:
        return self._facts() == other._facts() if isinstance(other, Queue) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._facts())

    def __repr__(self) -> str:
        limits = {"concurrency": self.concurrency, "rate": self.rate}
        given = {name: value for name, value in limits.items() if value is not None} | self.opts.given
        return f"Queue({self.name!r}{', ' if given else ''}{_spelled(given)})"

    def __reduce__(self) -> tuple[Callable[..., Queue], tuple[object, ...]]:
        return _queue, self._facts()

    def _facts(self) -> tuple[str, int | None, str | None, Opts]:
        return self.name, self.concurrency, self.rate, self.opts


def _queue(name: str, concurrency: int | None, rate: str | None, opts: Opts) -> Queue:
    queue = Queue(name, concurrency=concurrency, rate=rate)
    object.__setattr__(queue, "opts", opts)
    return queue


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of one job, resolved: every field has the value that counts.

    Attributes:
        retry_parts: Which parts of `retry` are in force: those of ``"stop"``, ``"wait"``, ``"retry"`` that no
            higher level overrides by an option of its own. Empty without `retry`.
    """

    attempts: int = 1
    backoff: Backoff | wait_base | None = None
    retry_on: tuple[type[Exception], ...] = (Exception,)
    give_up_on: tuple[type[Exception], ...] = ()
    retry: BaseRetrying | None = None
    retry_parts: frozenset[str] = frozenset()
    timeout: float | None = None
    delay: float = 0.0
    priority: int = 0
    lifo: bool = False
    on_failure: Policy = "fail"
    idempotency_key: str | None = None
    run_in: RunIn = "thread"


def resolve(queue: Opts | None, task: Opts | None, job: Opts | None) -> Settings:
    """What counts for a job: its own options over its task's over its queue's. Pure.

    A `retry` takes the place of the attempts, backoff, retry_on and give_up_on of its level and of those
    below; what a higher level gives of these stands, in place of that part of `retry`.
    """
    merged: dict[str, Any] = {}
    for level in (queue, task, job):
        if level is not None:
            merged = _over(merged, level._given)
    if "retry" not in merged:
        return Settings(**merged)
    parts = frozenset(part for part, option in _PARTS.items() if option not in merged)
    if not parts:
        del merged["retry"]
    return Settings(**({"attempts": MAX_ATTEMPTS} | merged), retry_parts=parts)


def _over(lower: Mapping[str, object], higher: Mapping[str, object]) -> dict[str, Any]:
    kept = dict(lower)
    if "retry" in higher:
        for name in REPLACED_BY_RETRY:
            kept.pop(name, None)
    return kept | dict(higher)


def _hash(value: object) -> int:
    try:
        return hash(value)
    except TypeError:
        return 0  # equal values must have equal hashes; nothing else is known of this one


def _spelled(given: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in given.items())
