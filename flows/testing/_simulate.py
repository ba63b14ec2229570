"""simulate: a flow run under a virtual clock, in this thread, by the code that runs it in production."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, TypeVar

from flows._duration import Duration, seconds
from flows._names import nearest, shown
from flows._planner import plan as planned_of
from flows.errors import DefinitionError
from flows.executor import RunOptions
from flows.testing._choices import Choices
from flows.testing._faults import Fault, checked_faults
from flows.testing._real_time import RealTimeUsedError, checked_kinds
from flows.testing._trace import Trace

if TYPE_CHECKING:
    from flows._flow import Flow
    from flows._job import Job
    from flows._plan import Plan

R = TypeVar("R")

RUN_ID: Final = "simulated"
TRACE_ID: Final = "5" * 32
LIMIT_SECONDS: Final = 10 * 366 * 86_400.0
SLOTS: Final = 4

_EXPECTED: Final[dict[str, Any]] = {
    "faults": [],
    "seed": None,
    "schedule": None,
    "workers": 1,
    "slots": SLOTS,
    "key": None,
    "timeout": None,
    "fail_fast": False,
    "allow": (),
}

latest: Final[deque[Trace[Any]]] = deque(maxlen=1)
"""The last simulation, for the report of a test that fails."""

overrides: Final[dict[str, Any]] = {}
"""Arguments that stand in for those given: what a test is to replay."""


def _hidden(raised: Any) -> bool:
    """Whether pytest need not show how a simulation came to what it has raised; its message says it all."""
    return isinstance(raised.value, DefinitionError | RealTimeUsedError)


def simulate(
    flow: Flow[R] | Job[R] | Callable[[], Flow[R]] | Plan[R],
    *,
    handlers: Mapping[str, Callable[..., Any]] | None = None,
    faults: Iterable[Fault] = (),
    seed: int | None = None,
    schedule: object = None,
    workers: int = 1,
    slots: int = SLOTS,
    key: str | None = None,
    timeout: Duration | None = None,
    fail_fast: bool = False,
    allow: Sequence[str] = (),
    spans: bool = False,
) -> Trace[R]:
    """Run *flow* under a virtual clock, on workers and a store as in production, and say what happened.

    One thread, no sleeping: a backoff of a day takes no time. Data and results are written down as JSON and read back;
    workers hold leases, lose them, die and are replaced. Without a seed or a schedule all goes well but for *faults*;
    with one, calls are lost, doubled and late, handlers take their time, and workers get jobs in any order: none of
    which costs a job its lease, so what a handler does happens as often as without. The same arguments give the same
    trace, on every machine.

    Args:
        flow: What `flows.execute` takes.
        handlers: Task name -> what is called in place of its handler; `EffectLedger.effect` makes such functions.
        faults: What goes wrong.
        seed: A number from which all choices follow.
        schedule: Where choices come from instead: hypothesis' ``data()`` or ``randoms()``, or a former trace's
            ``replay["schedule"]``.
        workers: How many workers there are at first.
        slots: How many jobs each runs at once.
        key: The run's key, from which the keys of its jobs are made.
        timeout: The run's deadline.
        fail_fast: Whether the run is cancelled as soon as its root is certain to fail.
        allow: What handlers may use of the real world: ``"time"``, ``"sleep"``, ``"random"``, ``"sockets"``,
            ``"threads"``, ``"processes"``.
        spans: Whether to record spans, in `Trace.spans`; needs the OpenTelemetry SDK.

    Raises:
        DefinitionError: The flow, its data or an argument is wrong; nothing has run.
        RealTimeUsedError: A handler used the real clock, chance, a socket, a thread or a process.
    """
    __tracebackhide__ = _hidden
    asked: dict[str, Any] = {
        "faults": faults,
        "seed": seed,
        "schedule": schedule,
        "workers": workers,
        "slots": slots,
        "key": key,
        "timeout": timeout,
        "fail_fast": fail_fast,
        "allow": allow,
    }
    if overrides:
        asked = _EXPECTED | overrides
    trace = _simulated(planned_of(flow), handlers, spans=spans, **asked)
    latest.append(trace)
    return trace


def _simulated(
    plan: Plan[R],
    handlers: Mapping[str, Callable[..., Any]] | None,
    *,
    faults: Iterable[Fault],
    seed: int | None,
    schedule: object,
    workers: int,
    slots: int,
    key: str | None,
    timeout: Duration | None,
    fail_fast: bool,
    allow: Sequence[str],
    spans: bool,
) -> Trace[R]:
    __tracebackhide__ = _hidden
    from flows.testing._mishaps import arm, as_tasks
    from flows.testing._world import World

    given = checked_faults(faults)
    _check_counts(workers=workers, slots=slots)
    replaced = as_tasks(_checked_handlers(plan, handlers))
    _check_jobs(plan, given)
    choices = Choices(schedule, seed)
    world = World(choices, given, slots=slots, allow=checked_kinds(allow), replaced=replaced)
    limit = None if timeout is None else seconds(timeout, "timeout", above_zero=True)
    run = world.submit(plan, RunOptions(RUN_ID, key, TRACE_ID, timeout=limit, fail_fast=fail_fast))
    recorded = _recorded(run, plan) if spans else tuple
    arm(world)
    for _ in range(workers):
        world.hire()
    Context().run(world.play, LIMIT_SECONDS)  # an empty context, as workers have: nothing of the caller's
    by_chance = any(fault.probability is not None for fault in given)
    came_to = {
        "faults": list(given),
        "schedule": dict(choices.odd) if choices.odd or by_chance else None,
        "workers": workers,
        "slots": slots,
        "key": key,
        "timeout": timeout,
        "fail_fast": fail_fast,
        "allow": tuple(allow),
        "handlers": handlers or {},
    }
    replay = {name: value for name, value in came_to.items() if value != _EXPECTED.get(name, {})}
    return Trace(world, replay, plan, recorded())


def _recorded(run: Any, plan: Plan[Any]) -> Callable[[], Sequence[Any]]:
    from flows.testing._spans import record_spans

    return record_spans(run, plan.name)


def _check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or not 1 <= count <= 1000:
            raise DefinitionError(f"simulate() {name}= takes a whole number from 1 to 1000, not {shown(count)}")


def _checked_handlers(plan: Plan[Any], handlers: object, spot: str = "handlers=") -> Mapping[str, Callable[..., Any]]:
    if handlers is None:
        return {}
    if not isinstance(handlers, Mapping) or not all(callable(fn) for fn in handlers.values()):
        raise DefinitionError(f"{spot} takes task names and functions, not {shown(handlers)}")
    known = {name for one in (plan, *(body.plan for body in _bodies(plan))) for name in one.names}
    for name in handlers:
        if name not in known:
            raise DefinitionError(f"{spot}: the flow has no task {shown(name)}{_remedy(name, known)}")
    return handlers


def _check_jobs(plan: Plan[Any], faults: Sequence[Fault]) -> None:
    """Refuse faults on jobs or tasks that the flow does not have: they would never strike, and prove nothing."""
    known = attempts_by_name(plan) if faults else {}
    for fault in faults:
        _checked_handlers(plan, fault.handlers, "Fault.deploy")
        if fault.job is None:
            continue
        limit = known.get(fault.job) or known.get(fault.job.partition("[")[0])
        if limit is None:
            raise DefinitionError(f"{fault!r}: the flow has no job {shown(fault.job)}{_remedy(fault.job, set(known))}")
        if fault.attempt is not None and fault.attempt > limit:
            raise DefinitionError(
                f"{fault!r} would never strike: job {fault.job!r} has attempts={limit}, and an attempt that lost its "
                "worker is made again under the same number; name an earlier one, or none"
            )


def attempts_by_name(plan: Plan[Any]) -> dict[str, int]:
    """How many attempts jobs have, by id and by task; of several of one task the most."""
    limits: dict[str, int] = {}
    for one in (plan, *(body.plan for body in _bodies(plan))):
        for names in (one.ids, one.names):
            for name, settings in zip(names, one.settings, strict=True):
                limits[name] = max(settings.attempts, limits.get(name, 1))
    return limits


def _bodies(plan: Plan[Any]) -> Iterable[Any]:
    from flows._bodies import bodies_of

    return bodies_of(plan) if plan.lists else ()


def _remedy(name: object, known: set[str]) -> str:
    near = nearest(str(name), sorted(known), 3)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else f"; there are {', '.join(sorted(known)[:20])}"
