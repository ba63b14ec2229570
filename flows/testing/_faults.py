"""Faults: what goes wrong in a simulation, as plain data that can be printed, pasted and shrunk.

A `Fault` says what strikes, whom, at which point and how often; when that is, `_mishaps` knows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, Self, get_args

from flows._duration import Duration, seconds
from flows._names import shown
from flows.errors import DefinitionError

Point = Literal["before_start", "mid", "await", "after_effect", "before_settle", "after_settle"]
"""Where in an attempt: before the handler is called, before an effect, while it awaits something, after an effect,
after it has returned and before the store knows, after the store knows and before the worker hears of it.
"""

Verb = Literal["exchange", "extend", "rescue", "reserve", "file", "began"]
"""A call of a worker to the store: claim and settle, renew leases, take up the jobs of dead workers; look at a shared
key, file a result under it; tell a start that a rate counts.
"""

POINTS: Final[tuple[Point, ...]] = get_args(Point)
FAIL_POINTS: Final = ("before_start", "mid", "after_effect", "before_settle")
VERBS: Final[tuple[Verb, ...]] = get_args(Verb)

Raised = BaseException | type[BaseException]


class FaultInjected(Exception):
    """What a handler raises by `Fault.fail`, where nothing else was asked for."""


_EXPECTED: Final[dict[str, dict[str, Any]]] = {
    "fail": {"at": "before_start", "exc": FaultInjected},
    "crash": {"at": "after_effect", "times": 1, "nth": 1},
    "slow": {"at": "after_effect", "times": 1},
    "duplicate": {"times": 1},
    "lost_call": {"verb": "exchange", "times": 1, "nth": 1},
    "lost_reply": {"verb": "exchange", "times": 1, "nth": 1},
    "doubled_call": {"verb": "exchange", "times": 1, "nth": 1},
    "late_call": {"times": 1, "nth": 1},
    "worker_leaves": {"drain": True},
    "store_restart": {"seconds": 1.0},
    "cancel": {"reason": "cancelled by a fault"},
}
"""Kind -> what a maker sets where its caller says nothing, and `repr` therefore leaves out."""

_BY_PLACE: Final = ("job", "verb", "seconds", "handlers")
"""Fields that a maker takes by position."""


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Fault:
    """One thing that goes wrong: `Fault.fail`, `.crash`, `.slow`, `.duplicate` and so on.

    Its `repr` is the call that makes it again. Jobs are named by id, or by task name for all jobs of the task. `times`
    limits how often a fault strikes over all jobs that it names.

    Attributes:
        kind: The name of the method that made it.
        job: The job, or the task, that it strikes.
        at: The point of the attempt; for what happens to the world the instant, in seconds from the start.
        attempt: The number of the attempt that it strikes; None: any.
        times: How often it strikes at most; None: always.
        probability: How likely it strikes each time; None: certainly. Drawn from the schedule or the seed.
        exc: What is raised: an exception, or a class that is called with a text.
        seconds: How long, or how far.
        verb: The store's verb that it strikes.
        nth: From the how-manyeth call of it on, counted from 1; for a crash, at which effect or await of the attempt.
        renewed: Whether a slow worker goes on renewing its leases.
        worker: The name of the worker that leaves; None: the first.
        drain: Whether it ends what it runs; else it is gone from one moment to the next.
        reason: Why the run is cancelled.
        handlers: Task name -> what is deployed in its place.
    """

    kind: str = ""
    job: str | None = None
    verb: Verb | None = None
    seconds: float | None = None
    at: Any = None
    attempt: int | None = None
    times: int | None = None
    probability: float | None = None
    exc: Raised | None = None
    nth: int | None = None
    renewed: bool = False
    worker: str | None = None
    drain: bool | None = None
    reason: str | None = None
    handlers: Mapping[str, Callable[..., Any]] | None = field(default=None, hash=False)

    def __init__(self) -> None:
        raise DefinitionError("a Fault is not made by calling it; use Fault.fail, .crash, .slow and so on")

    @classmethod
    def _made(cls, kind: str, **given: Any) -> Self:
        fault = object.__new__(cls)
        spot = f"Fault.{kind}"
        for known in fields(cls):
            object.__setattr__(fault, known.name, given.get(known.name, known.default))
        object.__setattr__(fault, "kind", kind)
        for name in ("attempt", "times", "nth"):
            _check_count(getattr(fault, name), f"{spot} {name}")
        if fault.job is not None and not isinstance(fault.job, str):
            raise DefinitionError(f"{spot} takes the id of a job, or the name of a task, not {shown(fault.job)}")
        likely = fault.probability
        if likely is not None and (not isinstance(likely, int | float) or not 0 <= likely <= 1):
            raise DefinitionError(f"{spot}: probability must be a number from 0 to 1, not {shown(fault.probability)}")
        if fault.verb is not None and fault.verb not in VERBS:
            raise DefinitionError(f"{spot}: there is no verb {shown(fault.verb)}; there are {', '.join(VERBS)}")
        return fault

    @classmethod
    def fail(
        cls,
        job: str,
        *,
        attempt: int | None = None,
        times: int | None = None,
        probability: float | None = None,
        exc: Raised = FaultInjected,
        at: Point = "before_start",
    ) -> Self:
        """The attempt raises *exc*: always, or as often as said.

        Args:
            job: A job's id, or a task's name.
            attempt: Only the attempt of this number.
            times: Only so many times.
            probability: How likely, each time.
            exc: An exception, or a class that can be called with a text.
            at: ``"before_start"``: in place of calling the handler; ``"mid"``: before its first effect;
                ``"after_effect"``: after that; ``"before_settle"``: in place of returning.
        """
        _check_point(at, "fail", FAIL_POINTS)
        return cls._made(
            "fail", job=job, attempt=attempt, times=times, probability=probability, exc=_raisable(exc), at=at
        )

    @classmethod
    def crash(
        cls,
        job: str,
        *,
        at: Point = "after_effect",
        attempt: int | None = None,
        times: int | None = 1,
        nth: int = 1,
    ) -> Self:
        """The worker dies while it has the job, with all else that it runs; another takes its place.

        Args:
            job: A job's id, or a task's name.
            at: When in the attempt; see `Point`. Effects are what the handler tells an `EffectLedger`.
            attempt: Only in the attempt of this number.
            times: How often; None: whenever the job is run, until it has lost too many workers.
            nth: At which effect or await of the attempt, where it has several.
        """
        _check_point(at, "crash", POINTS)
        return cls._made("crash", job=job, at=at, attempt=attempt, times=times, nth=nth)

    @classmethod
    def slow(
        cls,
        job: str,
        seconds_: Duration,
        /,
        *,
        at: Point = "after_effect",
        attempt: int | None = None,
        times: int | None = 1,
        renewed: bool = False,
    ) -> Self:
        """The worker hangs in the job so long; beyond its lease, another takes the job, and this one is a zombie.

        Args:
            job: A job's id, or a task's name.
            seconds_: How long.
            at: ``"before_start"``: the handler runs at the end of that time; ``"after_effect"``: at its beginning.
            attempt: Only in the attempt of this number.
            times: How often; None: always.
            renewed: Whether the worker renews its leases meanwhile: only the handler is slow.
        """
        _check_point(at, "slow", ("before_start", "after_effect"))
        length = seconds(seconds_, "Fault.slow")
        return cls._made("slow", job=job, seconds=length, at=at, attempt=attempt, times=times, renewed=renewed)

    @classmethod
    def duplicate(cls, job: str, *, attempt: int | None = None, times: int | None = 1) -> Self:
        """The job is delivered twice: its worker is cut off right after the start, and another is given it, too."""
        return cls._made("duplicate", job=job, attempt=attempt, times=times)

    @classmethod
    def lost_call(cls, verb: Verb = "exchange", /, *, nth: int = 1, times: int | None = 1) -> Self:
        """A call never reaches the store; the worker hears nothing and calls again."""
        return cls._made("lost_call", verb=verb, nth=nth, times=times)

    @classmethod
    def lost_reply(cls, verb: Verb = "exchange", /, *, nth: int = 1, times: int | None = 1) -> Self:
        """The store does as it is asked, but its answer is lost; the worker hears nothing and calls again."""
        return cls._made("lost_reply", verb=verb, nth=nth, times=times)

    @classmethod
    def doubled_call(cls, verb: Verb = "exchange", /, *, nth: int = 1, times: int | None = 1) -> Self:
        """A call reaches the store twice."""
        return cls._made("doubled_call", verb=verb, nth=nth, times=times)

    @classmethod
    def late_call(cls, verb: Verb, seconds_: Duration, /, *, nth: int = 1, times: int | None = 1) -> Self:
        """A call reaches the store so much later; the worker has called again by then."""
        return cls._made("late_call", verb=verb, seconds=seconds(seconds_, "Fault.late_call"), nth=nth, times=times)

    @classmethod
    def clock_step(cls, seconds_: float, /, *, at: Duration) -> Self:
        """The store's clock jumps so many seconds: ahead, or back, where it stands still until it has caught up."""
        if isinstance(seconds_, bool) or not isinstance(seconds_, int | float) or not abs(seconds_) < 1e9:
            raise DefinitionError(f"Fault.clock_step takes seconds, below 0 to go back, not {shown(seconds_)}")
        return cls._made("clock_step", seconds=float(seconds_), at=seconds(at, "Fault.clock_step at"))

    @classmethod
    def store_restart(cls, *, at: Duration, down: Duration = 1) -> Self:
        """The store goes away and is back *down* seconds later, with all that it had acknowledged."""
        length = seconds(down, "Fault.store_restart down")
        return cls._made("store_restart", at=seconds(at, "Fault.store_restart at"), seconds=length)

    @classmethod
    def worker_leaves(cls, *, at: Duration, worker: str | None = None, drain: bool = True) -> Self:
        """A worker is told to stop (or, without *drain*, dies); another takes its place."""
        return cls._made("worker_leaves", at=seconds(at, "Fault.worker_leaves at"), worker=worker, drain=drain)

    @classmethod
    def worker_joins(cls, *, at: Duration) -> Self:
        """There is one worker more."""
        return cls._made("worker_joins", at=seconds(at, "Fault.worker_joins at"))

    @classmethod
    def cancel(cls, *, at: Duration, reason: str = "cancelled by a fault") -> Self:
        """Somebody cancels the run."""
        return cls._made("cancel", at=seconds(at, "Fault.cancel at"), reason=reason)

    @classmethod
    def deploy(cls, handlers: Mapping[str, Callable[..., Any]], /, *, at: Duration) -> Self:
        """Other handlers are deployed: jobs that start from then on are run by these, by task name."""
        if not isinstance(handlers, Mapping) or not all(callable(fn) for fn in handlers.values()):
            raise DefinitionError(f"Fault.deploy takes task names and functions, not {shown(handlers)}")
        return cls._made("deploy", handlers=dict(handlers), at=seconds(at, "Fault.deploy at"))

    def __repr__(self) -> str:
        expected = _EXPECTED.get(self.kind, {})
        words: list[str] = []
        for known in fields(self)[1:]:
            value = getattr(self, known.name)
            if (
                known.name in _BY_PLACE
                and value is not None
                and (self.kind, known.name) != ("store_restart", "seconds")
            ):
                words.append(_spelled(value))
            elif value != expected.get(known.name, known.default):
                name = "down" if known.name == "seconds" else known.name
                words.append(f"{name}={_spelled(value)}")
        places = [word for word in words if "=" not in word.split("(")[0]]
        return f"Fault.{self.kind}({', '.join(dict.fromkeys([*places, *words]))})"


class Faults(tuple[Fault, ...]):
    """Several faults, to be written as a chain: ``Faults().fail("charge", attempt=1).crash("ship")``."""

    __slots__ = ()

    def __new__(cls, faults: Iterable[Fault] = ()) -> Self:
        return super().__new__(cls, checked_faults(faults))

    def __getattr__(self, kind: str) -> Callable[..., Faults]:
        if kind.startswith("_") or kind not in _KINDS:
            raise AttributeError(f"there is no fault {kind!r}; there are {', '.join(_KINDS)}")
        maker = getattr(Fault, kind)
        return lambda *args, **options: Faults((*self, maker(*args, **options)))

    def __repr__(self) -> str:
        return f"Faults([{', '.join(map(repr, self))}])"


_KINDS: Final = tuple(name for name, made in vars(Fault).items() if isinstance(made, classmethod) and name[0] != "_")


def checked_faults(faults: object) -> tuple[Fault, ...]:
    """What was given as ``faults=``, or an error that says what is wrong with it."""
    if isinstance(faults, Fault):
        return (faults,)
    if not isinstance(faults, Iterable) or isinstance(faults, str):
        raise DefinitionError(f"faults= takes a list of faults such as Fault.crash('charge'), not {shown(faults)}")
    given = tuple(faults)
    for one in given:
        if not isinstance(one, Fault):
            raise DefinitionError(f"faults= takes faults such as Fault.crash('charge'), not {shown(one)}")
    return given


def _spelled(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_spelled(name)}: {_spelled(each)}' for name, each in value.items())}}}"
    if isinstance(value, BaseException):
        return f"{_spelled(type(value))}({', '.join(map(repr, value.args))})"
    name = getattr(value, "__qualname__", None)
    return repr(value) if name is None else name.rpartition("<locals>.")[2]


def _check_point(at: object, kind: str, points: tuple[str, ...]) -> None:
    if at not in points:
        raise DefinitionError(f"Fault.{kind} at={shown(at)}: there is no such point; there are {', '.join(points)}")


def _check_count(value: object, spot: str) -> None:
    if value is not None and (type(value) is not int or value < 1):
        raise DefinitionError(f"{spot} must be a whole number of at least 1, not {shown(value)}")


def _raisable(exc: object) -> Any:
    if isinstance(exc, BaseException) or (isinstance(exc, type) and issubclass(exc, BaseException)):
        return exc
    raise DefinitionError(f"Fault.fail exc= takes an exception or a class of exceptions, not {shown(exc)}")
