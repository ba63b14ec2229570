"""Hypothesis strategies: flows, payloads, options, what fails, what goes wrong and when. Needs hypothesis.

    from hypothesis import given
    from flows.testing import check_all, simulate, strategies

    @given(strategies.fault_plans(order_flow), strategies.schedules())
    def test_whatever_goes_wrong_the_run_ends(faults, schedule):
        check_all(simulate(order_flow, faults=faults, schedule=schedule, workers=3))

What they draw can be printed and pasted, and shrinks towards fewer jobs, fewer faults and the harmless order of events.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from flows._backoff import Backoff
from flows._names import nearest, shown
from flows._opts import Opts
from flows._planner import plan as planned_of
from flows.errors import DefinitionError, GiveUp, MissingDependencyError, RetryAfter, Skip
from flows.testing._drawn_flows import BACKOFFS, POLICIES, DrawnEdge, DrawnFlow, DrawnJob, built
from flows.testing._faults import FAIL_POINTS, POINTS, Fault, Verb
from flows.testing._simulate import attempts_by_name

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as missing:
    raise MissingDependencyError("flows.testing.strategies needs hypothesis: pip install hypothesis") from missing

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

    from flows._flow import Flow
    from flows._job import Job
    from flows._plan import Plan

__all__ = ["FAULTS", "SHAPES", "failures", "fault_plans", "flow_graphs", "payloads", "retry_policies", "schedules"]

SHAPES: Final = ("chain", "star", "diamond", "layered", "random", "each", "when")
"""What `flow_graphs` can draw; the last two are known only at run time."""

FAULTS: Final = ("fail", "crash", "slow", "duplicate", "call", "clock_step", "store_restart", "worker", "cancel")
"""What `fault_plans` can draw. ``call``: one that is lost, doubled or late; ``worker``: one that leaves or joins."""

_NASTY: Final = (
    *("", " ", "\x00", "\x1b[31m", "\u202etxt.exe", "\ufeff", "é", "e\u0301", "\U0001f9d1\u200d\U0001f680", "ﬀ"),
    *("'; --", '"', "\\", "\\u0000", "null", "NaN", "1e999", "{{x}}", "${x}", "%s", "../..", "__proto__", "\r\n"),
)
_DEATHS: Final = ("after_effect", *(point for point in POINTS if point != "after_effect"))
"""What matters most comes first: failures shrink to it."""

_INSTANTS: Final = (0.0, 0.5, 1.0, 5.0, 31.0, 100.0)
_LENGTHS: Final = (1.0, 5.0, 20.0, 45.0, 120.0)


def payloads(*, max_leaves: int = 12) -> SearchStrategy[Any]:
    """JSON data as stores take it: nested, with text that breaks parsers, integers to the limits, and odd floats.

    Args:
        max_leaves: How many values at most, lists and dicts not counted.
    """
    text = st.sampled_from(_NASTY) | st.text(max_size=12)
    numbers = (
        st.integers(-(2**63), 2**64 - 1)
        | st.sampled_from([2**53 + 1, -(2**53) - 1, 2**63, 2**64 - 1, -(2**63)])
        | st.floats(allow_nan=False, allow_infinity=False)
    )
    leaves = st.none() | st.booleans() | numbers | text
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
        max_leaves=max_leaves,
    )


def retry_policies(*, max_attempts: int = 6) -> SearchStrategy[Opts]:
    """Options about retries: attempts, waits of each kind, what is worth another try and what is not.

    They go into ``Job(..., opts=opts)``, and as ``task.using(**opts.given)`` into typed jobs, which may have
    `retry_on` and `give_up_on`, too: drawn as built-in exceptions.
    """
    waits = st.sampled_from([0.0, 0.1, 1.0, 60.0, 3_600.0])
    jitter = st.sampled_from([0.0, 0.5, 1.0])
    backoffs = st.one_of(
        st.builds(Backoff.fixed, waits, jitter),
        st.builds(
            lambda base, factor, cap, jitter: Backoff.exponential(
                base, factor, None if cap is None else base + cap, jitter
            ),
            *(waits, st.sampled_from([1.0, 2.0, 10.0]), st.none() | waits, jitter),
        ),
        st.lists(waits, min_size=1, max_size=4).map(Backoff.steps),
    )
    classes = st.sampled_from([(ConnectionError,), (TimeoutError, OSError), (ValueError,)])
    options: SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {"attempts": st.integers(1, max_attempts)},
        optional={"backoff": backoffs, "retry_on": classes, "give_up_on": classes},
    )
    return options.map(lambda given: Opts(**given))


def failures(*, signals: bool = True) -> SearchStrategy[Exception]:
    """What a handler may raise: errors of the network, of the code, with unreadable texts or with none.

    Args:
        signals: Whether `GiveUp`, `RetryAfter` and `Skip` are among them.
    """
    made: list[Callable[[], Exception]] = [
        *(lambda: TimeoutError("no answer"), lambda: ConnectionResetError(104, "reset"), lambda: KeyError("sku")),
        *(ValueError, lambda: ValueError("\x00\u202e" * 50), lambda: RuntimeError("x" * 10_000)),
        *(_Unreadable, lambda: ExceptionGroup("two", [OSError("one"), ValueError("two")])),
    ]
    if signals:
        made += [lambda: GiveUp("for good"), lambda: RetryAfter(30), lambda: Skip("not today")]
    return st.sampled_from(made).map(lambda make: make())


class _Unreadable(Exception):
    def __str__(self) -> str:
        raise TypeError("this error has no text")


def schedules(*, max_odd: int = 8) -> SearchStrategy[dict[int, int]]:
    """What ``simulate(schedule=)`` takes: which of its picks are not the harmless ones; ``{}``: none.

    Args:
        max_odd: How many picks at most are odd.
    """
    _make_ready()
    places = st.integers(0, 40) | st.integers(0, 400)
    return st.dictionaries(places, st.integers(1, 4), max_size=max_odd)


def fault_plans(
    flow: Flow[Any] | Job[Any] | Callable[[], Flow[Any]] | Plan[Any],
    *,
    max_faults: int = 3,
    kinds: Collection[str] = FAULTS,
) -> SearchStrategy[tuple[Fault, ...]]:
    """What may go wrong in *flow*: up to *max_faults* faults, which name jobs of it and no others.

    Shrinks to fewer faults, and to simple ones: those early in `FAULTS`, at the first jobs, early in time.

    Args:
        flow: What is simulated.
        max_faults: How many at most.
        kinds: Which, of `FAULTS`.

    Raises:
        DefinitionError: The flow is wrong, or there is no such kind.
    """
    _make_ready()
    plan = planned_of(flow)
    wanted = _checked(kinds, FAULTS, "kinds")
    jobs = _jobs_of(plan)
    limits = attempts_by_name(plan)
    makers = {
        kind: maker
        for kind, maker in _fault_makers(jobs, limits).items()
        if kind in wanted and (jobs or kind in _WORLD)
    }
    return st.lists(st.one_of(*makers.values()), max_size=max_faults).map(tuple)


def _make_ready() -> None:
    """Load what a simulation takes: within the first example that would count against hypothesis' deadline."""
    importlib.import_module("flows.testing._world")


_WORLD: Final = FAULTS[4:]


def _jobs_of(plan: Plan[Any]) -> list[str]:
    """The jobs that have handlers: those of items by the name of their task."""
    from flows._bodies import bodies_of

    plain = [job for number, job in enumerate(plan.ids) if number not in plan.lists]
    bodies = bodies_of(plan) if plan.lists else ()
    inner = (name for body in bodies for job, name in enumerate(body.plan.names) if job not in body.plan.lists)
    return list(dict.fromkeys([*plain, *inner]))


def _fault_makers(jobs: Sequence[str], limits: Mapping[str, int]) -> dict[str, SearchStrategy[Fault]]:
    """By kind what makes faults.

    Args:
        jobs: Which may be struck.
        limits: How many attempts these have.
    """

    def of_attempt(make: Callable[..., Fault], *given: SearchStrategy[Any], **named: SearchStrategy[Any]) -> Any:
        def made(job: str, *values: Any, attempt: int | None, **others: Any) -> Fault:
            return make(job, *values, attempt=attempt and min(attempt, limits[job]), **others)

        return st.builds(made, job, *given, attempt=st.none() | st.integers(1, 3), **named)

    job = st.sampled_from(jobs or [""])
    times = st.integers(1, 3)
    ends = st.sampled_from(FAIL_POINTS)
    verb: SearchStrategy[Verb] = st.sampled_from(get_args(Verb))
    nth, at, length = st.integers(1, 6), st.sampled_from(_INSTANTS), st.sampled_from(_LENGTHS)
    either = st.sampled_from(("before_start", "after_effect"))
    return {
        "fail": st.builds(Fault.fail, job, times=times | st.none(), at=ends),
        "crash": of_attempt(Fault.crash, at=st.sampled_from(_DEATHS), times=times),
        "slow": of_attempt(Fault.slow, length, at=either, renewed=st.booleans()),
        "duplicate": of_attempt(Fault.duplicate),
        "call": st.one_of(
            st.builds(Fault.lost_reply, verb, nth=nth, times=times),
            st.builds(Fault.lost_call, verb, nth=nth, times=times),
            st.builds(Fault.doubled_call, verb, nth=nth, times=times),
            st.builds(Fault.late_call, verb, length, nth=nth),
        ),
        "clock_step": st.builds(Fault.clock_step, st.sampled_from([1.0, 60.0, 3_600.0, -1.0, -60.0, -3_600.0]), at=at),
        "store_restart": st.builds(Fault.store_restart, at=at, down=length),
        "worker": st.builds(Fault.worker_leaves, at=at, drain=st.booleans()) | st.builds(Fault.worker_joins, at=at),
        "cancel": st.builds(Fault.cancel, at=at),
    }


def flow_graphs(
    *, shapes: Collection[str] = SHAPES, max_jobs: int = 10, options: bool = True
) -> SearchStrategy[DrawnFlow]:
    """Flows of up to *max_jobs* jobs, whose results are check sums of what they take.

    Their handlers are ``step`` and ``async_step``, which `simulate(handlers=)` may replace; the jobs are called
    ``job-0``, ``job-1`` and so on. The `repr` of a flow says what it is made of.

    Args:
        shapes: Which, of `SHAPES`.
        max_jobs: How many at most; the items of a list count.
        options: Whether jobs have policies, retries, delays, priorities and timeouts; else all have the usual ones.

    Raises:
        DefinitionError: There is no such shape, or *max_jobs* is no number above 0.
    """
    wanted = _checked(shapes, SHAPES, "shapes")
    if type(max_jobs) is not int or max_jobs < 1:
        raise DefinitionError(f"flow_graphs() max_jobs= takes a whole number from 1, not {shown(max_jobs)}")
    return _rows(wanted, max_jobs, _job_options() if options else st.just(())).map(built)


def _job_options() -> SearchStrategy[tuple[tuple[str, Any], ...]]:
    chosen = st.fixed_dictionaries(
        {},
        optional={
            "on_failure": st.sampled_from(POLICIES),
            "attempts": st.integers(1, 3),
            "backoff": st.sampled_from(BACKOFFS[1:]),
            "priority": st.integers(0, 2),
            "delay": st.sampled_from([0.0, 1.0, 40.0]),
            "timeout": st.sampled_from([10.0, 60.0]),
        },
    )
    return chosen.map(lambda given: tuple(given.items()))


@st.composite
def _rows(draw: st.DrawFn, shapes: Sequence[str], max_jobs: int, options: SearchStrategy[Any]) -> list[DrawnJob]:
    shape = draw(st.sampled_from(shapes))
    size = draw(st.integers(1, max_jobs))
    kinds = st.sampled_from(("value", "value", "optional", "order"))
    rows: list[DrawnJob] = []
    for number, children in enumerate(_below(draw, shape, size)):
        edges = tuple(DrawnEdge(child, draw(kinds)) for child in children)
        rows.append(DrawnJob(edges, draw(options), is_async=draw(st.booleans())))
        if shape == "when" and (number == size - 1 or draw(st.booleans())):
            rows[-1] = rows[-1]._replace(condition=draw(st.booleans()))
    if shape == "each":
        place = draw(st.integers(0, len(rows) - 1))
        given = tuple((name, value) for name, value in rows[place].options if value != "continue")
        items, limit = max_jobs - size, draw(st.none() | st.integers(1, 3))
        rows[place] = rows[place]._replace(options=given, items=draw(st.integers(0, items)), limit=limit)
    return rows


def _below(draw: st.DrawFn, shape: str, size: int) -> list[Sequence[int]]:
    """For each job, the earlier ones that it depends on."""
    if shape == "chain":
        return [(number - 1,) if number else () for number in range(size)]
    if shape == "star":
        return [() if number < size - 1 else range(size - 1) for number in range(size)]
    if shape == "diamond":
        return [
            () if not number else (0,) if number < size - 1 else range(min(1, size - 2), size - 1)
            for number in range(size)
        ]
    if shape == "layered":
        width = draw(st.integers(1, 4))
        return [
            range(number // width * width - width, number // width * width) if number >= width else ()
            for number in range(size)
        ]
    below = [draw(st.frozensets(st.integers(0, number - 1), max_size=3)) if number else () for number in range(size)]
    return [tuple(sorted(children)) for children in below]


def _checked(given: object, known: Sequence[str], spot: str) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Collection) or not given:
        raise DefinitionError(f"{spot}= takes some of {', '.join(known)}, not {shown(given)}")
    for one in given:
        if one not in known:
            near = nearest(str(one), known)
            remedy = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise DefinitionError(f"{spot}= knows no {shown(one)}; {remedy}")
    return [one for one in known if one in given]
