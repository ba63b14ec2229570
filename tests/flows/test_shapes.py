"""Plans of flows of one shape share their columns: with that and without it they are the same, and no two flows are
taken for each other.
"""

import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import Job, _planner, _registry, _shapes
from flows._binding import Arguments
from flows._placing import Place

TASKS = [
    flows.task(lambda *values, **named: values, name=f"shape-{number}", queue=f"q{number % 2}") for number in range(3)
]
TASKS += [TASKS[0].using(queue="q1"), TASKS[1].using(attempts=3), TASKS[2].using(on_failure="ignore")]
TASKS += [TASKS[0].using(queue=flows.Queue("q2", concurrency=3)), TASKS[1].using(delay="1s", priority=2)]
GIVEN = TASKS[0].using(id="given")
TASKS.append(GIVEN)
COLUMNS = ("names", "queues_of", "tasks", "settings", "distinct", "inputs", "pending")
REST = ("optional", "conditions", "gone", "roots", "several", "limits", "ids", "name", "fingerprint", "retention")


@pytest.fixture(autouse=True)
def none_known() -> Iterator[None]:
    flows.plan(TASKS[0](TASKS[1]()))  # the first flow of a task is not kept
    forget()
    yield
    forget()


def forget() -> None:
    _shapes._shapes.clear()
    _shapes._latest.clear()


@st.composite
def flows_(draw: st.DrawFn) -> flows.Flow[Any]:
    """Small flows, many of them of one shape, with about everything that jobs can have."""
    jobs: list[Job[Any]] = []
    for number in range(draw(st.integers(1, 4))):
        task = draw(st.sampled_from(TASKS))
        child = st.sampled_from(jobs) if jobs else st.nothing()
        value = st.one_of(
            st.sampled_from([1, "text", None]),
            child.map(lambda job: job.out),
            child.map(lambda job: job.out.part[0]),
            child.map(lambda job: flows.optional(job.out)),
            child.map(lambda job: [job.out, 1, {"in": job.out}]),
            st.lists(child, min_size=1, max_size=3).map(lambda those: [job.out for job in those]),
            st.lists(child, min_size=2, max_size=2).map(lambda those: tuple(job.out for job in those)),
            child,
        )
        job = task(
            *draw(st.lists(value, max_size=3)), **draw(st.dictionaries(st.sampled_from("xy"), value, max_size=1))
        )
        if draw(st.integers(0, 5)) == 0:
            job.id = f"{draw(st.sampled_from('ab'))}{number}"
        if draw(st.booleans()) and jobs:
            job.after(draw(child))
        if draw(st.integers(0, 7)) == 0:
            job.on_failure(draw(st.sampled_from(["skip", "ignore", "fail"])))
        if draw(st.integers(0, 7)) == 0:
            flows.when(draw(child).out if jobs else draw(st.booleans()), job)
        jobs.append(job)

    several = draw(st.booleans())
    roots, name = jobs if several else jobs[-1:], draw(st.sampled_from(["one", "other"]))
    return flows.Flow(name, tuple(roots), several=several)


def told(flow: flows.Flow[Any]) -> object:
    """All that a plan says, or why there is none."""
    try:
        plan = flows.plan(flow)
    except flows.DefinitionError as error:
        return str(error)
    bindings = [
        (one.args, one.kwargs, one.by_name, one.plain) if isinstance(one, Arguments) else one for one in plan.bindings
    ]
    columns = [list(getattr(plan, column)) for column in COLUMNS]
    edges = [list(one) for one in plan.dependents], plan.effects
    traits = [getattr(plan.traits, name) for name in plan.traits.__slots__ if name != "attempts"]
    attempts = [plan.traits.attempts[job] for job in range(len(plan))]
    positions = [plan.position_of(root) for root in flow.roots]
    rest = [getattr(plan, name) for name in REST]
    return columns, edges, bindings, rest, traits, attempts, positions


def cold(flow: flows.Flow[Any]) -> object:
    """The same, nothing being known from before."""
    shapes, latest = _shapes._shapes.copy(), _shapes._latest.copy()
    forget()
    try:
        return told(flow)
    finally:
        _shapes._shapes.update(shapes)
        _shapes._latest.update(latest)


@pytest.mark.slow
@given(st.lists(flows_(), min_size=2, max_size=6))
def test_what_is_known_of_other_flows_changes_no_plan(some: list[flows.Flow[Any]]) -> None:
    for flow in some:
        assert told(flow) == cold(flow) == told(flow)


def chain(length: int, task: flows.Task[..., Any] = TASKS[0]) -> Job[Any]:
    job = task()
    for number in range(length - 1):
        job = task(job.out, number)
    return job


def test_flows_of_one_shape_share_columns_and_not_what_is_their_own() -> None:
    first, second = chain(3), chain(3)
    one, other = flows.plan(first), flows.plan(second)
    assert one.dependents is other.dependents
    assert one.traits is other.traits
    assert (one.gone, one.tasks, one.bindings) == (set(), other.tasks, one.bindings)
    assert one.gone is not other.gone
    (kept,) = _shapes._shapes.values()
    flows.plan(chain(3))
    assert list(_shapes._shapes.values()) == [kept], "what is known is not kept anew each time"
    assert other.position_of(second) == 2
    assert other.position_of(first) is None


def test_conditions_and_lists_are_of_no_shape_whatever_comes_after_them() -> None:
    def join(*conditions: bool) -> flows.Flow[Any]:
        first = TASKS[0]()
        for condition in conditions:
            flows.when(condition, first)
        return follow(first)

    def follow(first: Job[Any]) -> flows.Flow[Any]:
        return flows.Flow("f", (TASKS[0](first.out, TASKS[0](1).after(TASKS[0]()).out),), several=False)

    def spread(task: flows.Task[..., Any]) -> flows.Flow[Any]:
        return follow(flows.each(task, [1]))

    for one, other in ((join(False), join()), (join(), join(False)), (spread(TASKS[0]), spread(TASKS[1]))):
        expected = [cold(one), cold(other)]
        fingerprint = (plan := flows.plan(one)).fingerprint
        assert [told(one), told(other)] == expected
        assert plan.fingerprint == fingerprint, "it shares nothing with the other"


def order(number: int, *, twice: bool = False, name: str = "", late: bool = False) -> Job[Any]:
    """As people write them: data, keywords, a shared job, an order-only edge, a given id."""
    load = TASKS[0](number)
    again = TASKS[0](number)
    stock = TASKS[1](load.out, [again.out if not twice else load.out], note="text")
    root = (TASKS[2].using(id=name) if name else TASKS[2])(stock.out, load.out if twice else again.out)
    return root.after(stock) if late else root


def test_the_latest_shape_is_found_again_without_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    flows.plan(order(1))
    expected, second = told(flows.Flow.of(order(2))), order(2)
    monkeypatch.setattr(_planner.Planner, "walk", None)
    assert told(flows.Flow.of(second)) == expected
    assert flows.plan(second).position_of(second) == 3


@pytest.mark.parametrize(
    "odd", [{"twice": True}, {"name": "given"}, {"late": True}, {"twice": True, "late": True}], ids=str
)
def test_what_only_looks_like_the_latest_shape_is_walked(odd: dict[str, Any]) -> None:
    like, unlike = flows.Flow.of(order(1)), flows.Flow.of(order(1, **odd))
    for flow in (like, unlike, like, unlike):
        assert told(flow) == cold(flow)


def test_a_circle_among_jobs_like_the_latest_is_named() -> None:
    def pair(*, circular: bool) -> Job[Any]:
        below = TASKS[1]()
        middle = TASKS[0](below.out)
        if circular:
            below.args = (middle.out,)
        return TASKS[0](middle.out)

    flows.plan(pair(circular=False))
    flows.plan(pair(circular=False))
    with pytest.raises(flows.CycleError, match="shape-1"):
        flows.plan(pair(circular=True))


def test_flows_about_other_jobs_are_of_another_shape() -> None:
    def order(*, also_first: bool) -> Sequence[str]:
        first = TASKS[0]()
        last = GIVEN(TASKS[0](first.out).out)
        roots = (first, last) if also_first else (last,)
        return flows.plan(flows.Flow("roots", roots, several=also_first)).order

    for _ in range(3):
        assert order(also_first=False) == ("shape-0#2", "shape-0", "given")
        assert order(also_first=True) == ("shape-0", "shape-0#2", "given")


def test_the_runs_of_one_shape_do_not_touch_each_other() -> None:
    tried: list[str] = []

    def flaky(name: str) -> str:
        tried.append(name)
        if name == "bad":
            raise ValueError(name)
        return name

    task = flows.task(flaky, name="shape-flaky", attempts=2)
    after = flows.task(lambda value: value, name="shape-after")
    runs = [flows.execute(after(task(name).out), check=False) for name in ("good", "bad", "good")]
    assert [run.state for run in runs] == ["completed", "failed", "completed"]
    assert tried == ["good", "bad", "bad", "good"]
    assert [view.state for run in runs for view in run.jobs.values()] == 2 * ["completed"] + 2 * ["failed"] + (
        2 * ["completed"]
    )


def test_what_is_wrong_with_data_is_found_in_flows_of_a_known_shape() -> None:
    def of(value: object) -> flows.Plan[Any]:
        return flows.plan(TASKS[0](TASKS[1]().out, [value]))

    of(1)
    circular: list[object] = []
    circular.append(circular)
    with pytest.raises(flows.DataError, match="circular"):
        of(circular)


def test_a_value_that_may_be_missing_is_found_in_flows_of_a_known_shape() -> None:
    take = flows.task(lambda value: value, name="shape-takes-one")

    def flow(value: Any) -> Job[Any]:
        return take(value)

    for _ in range(3):
        plan = flows.plan(flow([TASKS[5]().out]))  # in a list its place is left out
        assert isinstance(plan.bindings[1], Arguments)
        assert plan.bindings[1].by_name
    with pytest.raises(flows.DefinitionError, match="there may be no value"):
        flows.plan(flow(TASKS[5]().out))


def test_a_job_that_nothing_needs_is_named_in_flows_of_a_known_shape() -> None:
    @flows.flow
    def forgetful(more: bool) -> Job[Any]:
        if more:
            TASKS[1]()
        return chain(2)

    flows.plan(forgetful(False))
    with pytest.raises(flows.DefinitionError, match="would never run"):
        flows.plan(forgetful(True))


def test_only_so_many_shapes_are_kept_and_large_flows_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shapes, "SHAPES", 5)
    for length in range(1, 10):
        flows.plan(chain(length))
    assert len(_shapes._shapes) == 5
    _shapes._shapes.clear()
    flows.plan(chain(_shapes.SHAPE_JOBS + 1))
    assert not _shapes._shapes
    flows.plan(chain(_shapes.SHAPE_JOBS))
    assert _shapes._shapes


def test_what_is_kept_holds_no_task_and_no_data() -> None:
    class Precious:
        pass

    data = Precious()
    task = flows.task(lambda *values: None, name="shape-mortal")
    held: list[weakref.ref[Any]] = [weakref.ref(task), weakref.ref(task.fn), weakref.ref(data)]
    for _ in range(2):
        flows.plan(task(task(data).out))
    assert len(_shapes._shapes) == 1
    del _registry._tasks["shape-mortal"], task, data
    gc.collect()
    assert [one() for one in held] == [None, None, None]


def test_many_threads_plan_flows_of_many_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_shapes, "SHAPES", 3)
    expected = {length: flows.plan(chain(length)).order for length in range(1, 8)}
    wrong: list[object] = []

    def work() -> None:
        for turn in range(100):
            length = 1 + turn % 7
            if flows.plan(chain(length)).order != expected[length]:
                wrong.append(length)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(_shapes._shapes) <= 3 + len(threads)


def test_places_compare_by_identity() -> None:
    """Else two tasks that look alike would be one to the cache, whose parameters may differ."""
    assert Place.__eq__ is object.__eq__
