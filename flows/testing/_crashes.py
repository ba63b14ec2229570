"""Crash points: each moment of a flow at which something may strike, and one line that has it strike at all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from flows._names import nearest, shown
from flows._planner import plan as planned_of
from flows.errors import DefinitionError
from flows.testing._checks import broken
from flows.testing._checks_of_runs import check_all
from flows.testing._faults import Fault, checked_faults
from flows.testing._simulate import simulate

if TYPE_CHECKING:
    from flows._flow import Flow
    from flows._job import Job
    from flows._plan import Plan
    from flows.testing._attempts import SimulatedAttempt
    from flows.testing._ledger import EffectLedger
    from flows.testing._trace import Trace

STRIKES: Final = ("crash", "duplicate", "slow", "lost_call", "lost_reply", "doubled_call", "cancel", "drain")
"""What `crash_points` knows."""

_PAST_LEASE: Final = 45.0


def crash_points(
    flow: Flow[Any] | Job[Any] | Callable[[], Flow[Any]] | Plan[Any],
    *,
    kinds: Collection[str] = ("crash",),
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    faults: Iterable[Fault] = (),
    **options: Any,
) -> tuple[Fault, ...]:
    """Every moment at which something can strike *flow*, in the order in which a simulation without it passes them.

    For each attempt of each job: before its start, before its first effect, at each of its awaits, after each of its
    effects, before and after its settle.

    Args:
        flow: What is simulated.
        kinds: What strikes: ``"crash"`` (the worker dies), ``"duplicate"`` and ``"slow"`` (its lease is lost at the
            start, or during a job), ``"lost_call"``, ``"lost_reply"`` and ``"doubled_call"`` (of each exchange with
            the store), ``"cancel"`` and ``"drain"`` (of the run, of the worker; at each instant at which a job begins
            or ends).
        handlers, faults: As for `simulate`: *faults* strike besides.
        options: What else `simulate` takes.

    Raises:
        DefinitionError: As by `simulate`; or there is no such kind.
    """
    return tuple(_points(simulate(flow, handlers=handlers, faults=faults, **options), _checked(kinds)))


def survives_every_crash(
    flow: Flow[Any] | Job[Any] | Callable[[], Flow[Any]] | Plan[Any],
    *,
    ledger: EffectLedger | None = None,
    checks: Iterable[Callable[[Trace[Any]], object]] = (),
    kinds: Collection[str] = ("crash",),
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    faults: Iterable[Fault] = (),
    **options: Any,
) -> int:
    """The flow keeps its promises whenever its worker dies; says how many moments were tried.

    It is simulated once for each of its `crash_points`. Each time `check_all` must hold, with the *ledger* where there
    is one, and every job must end as it does without the crash, unless the run has a deadline, or *kinds* cancel it.

    Args:
        flow: What is simulated.
        ledger: What the handlers tell of their effects; cleared before each simulation.
        checks: Further assertions, called with each trace.
        kinds: What strikes; see `crash_points`.
        handlers, faults: As for `simulate`: *faults* strike besides.
        options: What else `simulate` takes.

    Raises:
        AssertionError: It does not survive one; the message begins with the first such `Fault`.
        DefinitionError: As by `simulate`.
    """
    __tracebackhide__ = True
    plan, given, wanted, checks = planned_of(flow), checked_faults(faults), _checked(kinds), tuple(checks)

    def tried(*more: Fault) -> Trace[Any]:
        if ledger is not None:
            ledger.clear()
        return simulate(plan, handlers=handlers, faults=(*given, *more), **options)

    clean = tried()
    _hold(clean, ledger, checks, "even without a crash")
    points = tuple(_points(clean, wanted))
    alike = options.get("timeout") is None and not options.get("fail_fast")
    for number, point in enumerate(points, 1):
        trace = tried(point)
        where = f"{point!r} (moment {number} of {len(points)})"
        _hold(trace, ledger, checks, where)
        if alike and point.kind != "cancel" and trace.states != clean.states:
            other = [f"{job}: {state}" for job, state in trace.states.items() if clean.states.get(job) != state]
            remedy = "look for handlers that depend on what only a process knows, or on how often they were called"
            broken(trace, f"survives_every_crash: {where}: jobs end otherwise than without it", other, remedy)
    return len(points)


def _hold(
    trace: Trace[Any], ledger: EffectLedger | None, checks: tuple[Callable[[Trace[Any]], object], ...], where: str
) -> None:
    __tracebackhide__ = True
    try:
        check_all(trace, ledger)
    except AssertionError as error:
        raise AssertionError(f"survives_every_crash: {where}: {error}") from None
    for check in checks:
        try:
            check(trace)
        except AssertionError as error:
            raise AssertionError(f"survives_every_crash: {where}: {error}") from error


def _points(trace: Trace[Any], kinds: Collection[str]) -> Iterator[Fault]:
    for attempt in trace.attempts:
        named: dict[str, Any] = {} if attempt.number == 1 else {"attempt": attempt.number}
        if "crash" in kinds:
            yield from _crashes(attempt, named)
        if "duplicate" in kinds:
            yield Fault.duplicate(attempt.job, **named)
        if "slow" in kinds:
            yield Fault.slow(attempt.job, _PAST_LEASE, at="before_start", **named)
            yield Fault.slow(attempt.job, _PAST_LEASE, **named)
    calls = trace._world.mishaps.calls("exchange")
    for kind in [kind for kind in STRIKES[3:6] if kind in kinds]:
        for nth in range(1, calls + 1):
            yield getattr(Fault, kind)(nth=nth)
    instants = {at for one in trace.attempts for at in (one.began_at, one.ended_at) if at is not None}
    for at in sorted(instants):
        if "cancel" in kinds:
            yield Fault.cancel(at=at)
        if "drain" in kinds:
            yield Fault.worker_leaves(at=at)


def _crashes(attempt: SimulatedAttempt, named: dict[str, Any]) -> Iterator[Fault]:
    yield Fault.crash(attempt.job, at="before_start", **named)
    if not attempt.called:
        return
    yield Fault.crash(attempt.job, at="mid", **named)
    for nth in range(1, attempt.reached.get("await", 0) + 1):
        yield Fault.crash(attempt.job, at="await", nth=nth, **named)
    for nth in range(1, attempt.reached.get("after_effect", 0) + 1):
        yield Fault.crash(attempt.job, at="after_effect", nth=nth, **named)
    yield Fault.crash(attempt.job, at="before_settle", **named)
    yield Fault.crash(attempt.job, at="after_settle", **named)


def _checked(kinds: object) -> Collection[str]:
    if isinstance(kinds, str) or not isinstance(kinds, Collection) or not kinds:
        raise DefinitionError(f"kinds= takes some of {', '.join(STRIKES)}, not {shown(kinds)}")
    for kind in kinds:
        if kind not in STRIKES:
            near = nearest(str(kind), STRIKES)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(STRIKES)}"
            raise DefinitionError(f"kinds= knows no {shown(kind)}; {remedy}")
    return kinds
