"""``Flow.parse(flow.to_dict()) == flow`` for any flow, typed or literal, and both plan to the same thing."""

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import Backoff, DataError, DefinitionError, Flow, Job, Opts, Plan, Queue
from flows._idempotency import data_of

PAYMENTS = Queue("payments", concurrency=2, attempts=4, delay="1s")
OTHER = Queue("other", attempts=7, backoff=Backoff.steps([1, 2]), on_failure="skip", timeout=9)


@flows.task(name="trip-plain")
def plain(a: Any = None, b: Any = None) -> Any: ...


@flows.task(name="trip-mixed", queue=PAYMENTS, on_failure="ignore", timeout="3s")
def mixed(first: Any = None, /, a: Any = None, *rest: Any, b: Any = None, **more: Any) -> Any: ...


# Flows drawn at random
NAMES = st.sampled_from(["a", "a#2", "b", "größe 発注", "trip-plain", "trip-mixed", "n" * 128])
QUEUES = st.sampled_from([None, "payments", "plain.queue", PAYMENTS, OTHER])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
STEPS = st.lists(st.one_of(st.integers(-3, 3), st.sampled_from(["items", "größe", "no name", "__class__"])), max_size=3)
BACKOFFS = st.one_of(
    st.builds(Backoff.fixed, st.floats(0, 99), st.floats(0, 1)),
    st.builds(
        Backoff.exponential, st.floats(0, 9), st.floats(1, 9), st.one_of(st.none(), st.floats(10, 99)), st.floats(0, 1)
    ),
    st.builds(Backoff.steps, st.lists(st.floats(0, 99), min_size=1, max_size=3)),
)
OPTIONS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "attempts": st.integers(1, 1_000),
        "backoff": BACKOFFS,
        "timeout": st.one_of(st.floats(0.001, 9_999), st.just("1m30s")),
        "delay": st.floats(0, 9_999),
        "priority": st.integers(0, 2_097_151),
        "lifo": st.booleans(),
        "on_failure": st.sampled_from(["fail", "ignore", "continue", "remove", "skip"]),
        "idempotency_key": st.sampled_from(["key", "schlüssel"]),
        "run_in": st.just("thread"),
    },
)


@st.composite
def references(draw: st.DrawFn, job: Job[Any]) -> Any:
    """A result of *job* as users write it: ``job``, ``job.out``, a part of it, optional or not."""
    reference = job.out
    for step in draw(STEPS):
        reference = reference[step]
    if draw(st.booleans()):
        return flows.optional(reference)
    return draw(st.sampled_from([job, reference]))


def values(jobs: list[Job[Any]]) -> st.SearchStrategy[Any]:
    leaves = st.one_of(SCALARS, st.sampled_from(jobs).flatmap(references)) if jobs else SCALARS
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.tuples(inner, inner), st.dictionaries(KEYS, inner, max_size=3)
        ),
        max_leaves=6,
    )


@st.composite
def typed(draw: st.DrawFn, jobs: list[Job[Any]], job_id: str | None) -> Job[Any]:
    task: Any = draw(st.sampled_from([plain, mixed]))
    if draw(st.booleans()):
        task = task.using(queue=draw(QUEUES), id=job_id, **draw(OPTIONS))
    value = values(jobs)
    positional = draw(st.lists(value, max_size=2 if task.name == "trip-plain" else 4))
    if task.name == "trip-plain":
        free = ["a", "b"][len(positional) :]
    else:
        free = ["b", "extra", "größe"] if len(positional) > 1 else ["a", "b", "extra", "größe"]
    named = draw(st.lists(st.sampled_from(free), unique=True)) if free else []
    made: Job[Any] = task(*positional, **{name: draw(value) for name in named})
    return made


@st.composite
def literal(draw: st.DrawFn, jobs: list[Job[Any]], job_id: str | None) -> Job[Any]:
    return Job(
        draw(NAMES),
        queue=draw(QUEUES),
        data=draw(st.dictionaries(KEYS, values(jobs), max_size=3)),
        children=draw(st.lists(st.sampled_from(jobs), max_size=4)) if jobs else (),
        opts=draw(st.one_of(st.none(), OPTIONS.map(lambda options: Opts(**options)))),
        id=job_id,
    )


@st.composite
def any_flow(draw: st.DrawFn) -> Flow[Any]:
    """A DAG: each job may use any made before it, any number of times and in any way."""
    jobs: list[Job[Any]] = []
    ids = draw(st.permutations([None, None, None, None, "a", "a#2", "a#3", "größe", "trip-plain", "load"]))
    for job_id in ids[: draw(st.integers(1, 8))]:
        job: Job[Any] = draw(st.one_of(typed(jobs, job_id), literal(jobs, job_id)))
        waits = draw(st.booleans())
        if jobs and waits:
            job.after(*draw(st.lists(st.sampled_from(jobs), min_size=1, max_size=3)))
        jobs.append(job)
    roots = draw(st.lists(st.sampled_from(jobs), min_size=1, max_size=3))
    several = len(roots) > 1 or draw(st.booleans())
    name = draw(st.sampled_from([roots[0].name, "a flow", "größe"]))
    keep: st.SearchStrategy[dict[str, float]] = st.sampled_from([{}, {"count": 3}, {"age": 60.0, "count": 0}])
    retention = draw(st.dictionaries(st.sampled_from(["keep_completed", "keep_failed"]), keep))
    return Flow(name, tuple(roots), several=several, retention=retention)


def meaning(plan: Plan[Any]) -> dict[str, Any]:
    """Everything that a run depends on."""
    return {
        "name": plan.name,
        "ids": plan.ids,
        "tasks": plan.names,
        "queues": plan.queues_of,
        "settings": plan.settings,
        "inputs": plan.inputs,
        "edges": plan.edges(),
        "pending": plan.pending,
        "optional": plan.optional,
        "roots": (plan.roots, plan.several),
        "data": [json.loads(json.dumps(data_of(plan, job))) for job in range(len(plan))],
        "fingerprint": plan.fingerprint,
    }


@pytest.mark.slow
@given(any_flow())
def test_what_is_written_reads_back_as_an_equal_flow_that_means_the_same(flow: Flow[Any]) -> None:
    document = flow.to_dict()
    assert json.loads(json.dumps(document)) == document
    for source in (document, json.dumps(document), json.dumps(document, ensure_ascii=False).encode()):
        again = Flow.parse(source)
        assert again == flow
        assert again.to_dict() == document
        assert meaning(flows.plan(again)) == meaning(flows.plan(flow))
        assert again.retention == flow.retention


DOCUMENT_KEYS = st.sampled_from(
    [
        *("name", "queue", "queueName", "prefix", "id", "data", "inputs", "opts", "children", "depends_on", "after"),
        *("jobs", "flow", "root", "roots", "retention", "at", "from", "path", "optional", "attempts", "backoff"),
        *("delay", "type", "kind", "jobId", "removeOnFail", "keep_failed", "age", "count", "sizeLimit", "a"),
    ]
)
DOCUMENTS = st.recursive(
    st.one_of(SCALARS, st.sampled_from(["a", "b", "fixed"])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(DOCUMENT_KEYS, inner, max_size=6)),
    max_leaves=20,
)
JOB_IDS = st.sampled_from(["a", "b"])
ALMOST_JOBS = st.fixed_dictionaries(
    {"name": st.just("a")},
    optional={
        "data": st.dictionaries(JOB_IDS, DOCUMENTS),
        "opts": st.dictionaries(DOCUMENT_KEYS, DOCUMENTS, max_size=3),
        "children": st.lists(st.one_of(DOCUMENTS, st.fixed_dictionaries({"name": JOB_IDS}))),
        "depends_on": st.one_of(DOCUMENTS, st.lists(JOB_IDS)),
        "inputs": st.lists(st.one_of(DOCUMENTS, st.fixed_dictionaries({"at": st.just(["a"]), "from": JOB_IDS}))),
        "jobs": st.lists(DOCUMENTS),
    },
)


@given(st.one_of(ALMOST_JOBS, DOCUMENTS))
def test_any_document_is_read_or_refused_with_a_definition_error(document: Any) -> None:
    try:
        flow = Flow.parse(document)
        flows.plan(flow)
    except DefinitionError:
        return
    assert Flow.parse(flow.to_dict()) == flow


# What stands where


def test_a_tree_of_literals_is_written_as_it_was_declared() -> None:
    flow = Flow.of(
        Job(
            "process-order",
            queue="orders",
            data={"order_id": "123"},
            children=[
                Job("validate-inventory", queue="inventory"),
                Job("send-confirmation", opts=Opts(delay="1s", backoff=Backoff.fixed(2)), id="mail"),
            ],
        )
    )
    assert flow.to_dict() == {
        "name": "process-order",
        "queue": "orders",
        "data": {"order_id": "123"},
        "children": [
            {"name": "validate-inventory", "queue": "inventory"},
            {
                "name": "send-confirmation",
                "id": "mail",
                "opts": {"delay": 1.0, "backoff": {"kind": "fixed", "delay": 2.0, "jitter": 0.0}},
            },
        ],
    }


def test_a_typed_flow_is_written_by_name_queue_and_argument() -> None:
    @flows.flow
    def nightly() -> Job[Any]:
        order = plain("x", {"day": date(2024, 2, 29)})
        mail = plain(order.out).on_failure("ignore")
        return mixed(order.out["items"][0], b=[flows.optional(order.out), 1], extra=(order,)).after(mail)

    assert nightly().to_dict() == {
        "flow": "nightly",
        "root": {
            "name": "trip-mixed",
            "queue": "payments",
            "data": {"first": None, "b": [None, 1], "extra": [None]},
            "inputs": [
                {"at": ["first"], "from": "trip-plain", "path": ["items", 0]},
                {"at": ["b", 0], "from": "trip-plain", "optional": True},
                {"at": ["extra", 0], "from": "trip-plain"},
            ],
            "after": ["trip-plain#2"],
        },
        "jobs": [
            {
                "name": "trip-plain",
                "queue": "default",
                "id": "trip-plain",
                "data": {"a": "x", "b": {"day": "2024-02-29"}},
            },
            {
                "name": "trip-plain",
                "queue": "default",
                "id": "trip-plain#2",
                "data": {"a": None},
                "inputs": [{"at": ["a"], "from": "trip-plain"}],
                "opts": {"on_failure": "ignore"},
            },
        ],
    }


def test_a_shared_child_is_written_once_and_the_order_of_children_is_kept() -> None:
    shared, first, last = Job("shared"), Job("first"), Job("last")
    middle = Job("middle", children=[first, shared, last])
    flow = Flow.of(Job("top", children=[shared, middle]))
    assert flow.to_dict() == {
        "name": "top",
        "children": [
            {"name": "shared", "id": "shared"},
            {"name": "middle", "children": [{"name": "first"}], "depends_on": ["shared", "last"]},
        ],
        "jobs": [{"name": "last", "id": "last"}],
    }


def test_arguments_are_written_in_the_order_of_the_call() -> None:
    x, y = Job("x"), Job("y")
    flow = Flow.of(plain(b=y.out, a=x.out))
    assert list(flow.to_dict()["data"]) == ["b", "a"]
    assert flows.plan(Flow.parse(flow.to_dict())).order == flows.plan(flow).order == ("y", "x", "trip-plain")


def test_an_id_that_a_number_made_longer_than_ids_may_be_reads_back() -> None:
    name = "n" * 128
    flow = Flow.of(Job("top", children=[Job(name), Job("middle", children=[again := Job(name)]), again]))
    assert flows.plan(flow).order == (name, f"{name}#2", "middle", "top")
    assert Flow.parse(flow.to_dict()) == flow


def test_names_that_look_like_numbered_ids_read_back() -> None:
    numbered = Job("a#2")
    flow = Flow.of(Job("top", children=[Job("a"), numbered, Job("b", children=[Job("a"), numbered])]))
    assert Flow.parse(flow.to_dict()) == flow
    assert flows.plan(Flow.parse(flow.to_dict())).order == flows.plan(flow).order


def test_nothing_in_data_is_taken_for_a_reference() -> None:
    data = {"$out": "a", "inputs": [{"at": ["x"], "from": "a"}], "$ref": {"id": "a"}}
    (child,) = Flow.parse({"name": "top", "children": [{"name": "a", "data": data}]}).roots[0].children
    assert child.kwargs == data


def test_a_queue_left_out_stays_out_and_a_queues_own_options_go_with_the_job() -> None:
    assert "queue" not in Flow.of(Job("unheard of")).to_dict()
    assert Flow.of(Job("unheard of", queue=OTHER, opts=Opts(timeout=1))).to_dict() == {
        "name": "unheard of",
        "queue": "other",
        "opts": {
            "attempts": 7,
            "backoff": {"kind": "steps", "delays": [1.0, 2.0]},
            "on_failure": "skip",
            "timeout": 1.0,
        },
    }
    assert Flow.of(Job("trip-mixed", queue=PAYMENTS)).to_dict() == {"name": "trip-mixed", "queue": "payments"}


def test_flows_differ_by_data_options_edges_name_and_retention() -> None:
    def made(**changed: Any) -> Flow[Any]:
        return Flow.of(Job("a", **({"data": {"n": 1}, "children": [Job("b")]} | changed)))

    assert made() == made()
    others = [
        made(data={"n": 2}),
        made(opts=Opts(attempts=2)),
        made(children=[Job("c")]),
        made(id="x"),
        made(queue="q"),
    ]
    others += [Flow("z", made().roots, several=False), Flow("a", made().roots, several=True)]
    others += [Flow("a", made().roots, several=False, retention={"keep_failed": {}})]
    assert [other for other in others if other == made()] == []


# What cannot be written down


@pytest.mark.parametrize(
    "options",
    [{"retry_on": ValueError}, {"give_up_on": (KeyError,)}, {"backoff": Backoff.custom(lambda attempt, error: 1)}],
)
def test_code_is_refused_naming_job_and_option(options: Any) -> None:
    (name,) = options
    for job in (Job("work", opts=Opts(**options)), Job("work", queue=Queue("q", **options)), plain.using(**options)()):
        with pytest.raises(
            DefinitionError, match=rf"job '{job.name}': option {name}=.* is code and cannot be written down"
        ):
            Flow.of(job).to_dict()


def test_tenacity_objects_are_code() -> None:
    tenacity = pytest.importorskip("tenacity")
    for options in ({"retry": tenacity.Retrying()}, {"backoff": tenacity.wait_fixed(1)}):
        with pytest.raises(DefinitionError, match="is code and cannot be written down"):
            Flow.of(Job("work", opts=Opts(**options))).to_dict()


def test_the_options_of_a_task_stay_with_the_task_even_code() -> None:
    @flows.task(name="trip-coded", retry_on=(ValueError,), attempts=3)
    def coded() -> None: ...

    assert Flow.of(coded()).to_dict() == {"name": "trip-coded", "queue": "default"}


def test_data_without_a_json_form_is_refused_with_its_path_all_problems_at_once() -> None:
    @dataclass
    class Point:
        x: int

    fine = Flow.of(Job("work", data={"at": Point(1)}))
    assert fine.to_dict()["data"] == {"at": {"x": 1}}
    with pytest.raises(DataError) as caught:
        Flow.of(
            Job("work", data={"a": [{1, 2}], "b": {"c": float("nan")}}, children=[Job("below", data={"d": object()})])
        ).to_dict()
    assert [text.split(" ", 2)[:2] for text in caught.value.problems] == [
        ["job", "'work':"],
        ["job", "'work':"],
        ["job", "'below':"],
    ]
    assert caught.value.problems[0].startswith("job 'work': data.a[0]: ")
    assert caught.value.problems[1].startswith("job 'work': data.b.c: ")


def test_an_argument_whose_name_is_there_twice_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'first' names a positional parameter and a keyword argument as well"):
        Flow.of(mixed(1, first=2)).to_dict()


def test_a_flow_that_cannot_be_planned_cannot_be_written() -> None:
    job = Job("a")
    job.after(job)
    with pytest.raises(flows.CycleError):
        Flow.of(job).to_dict()
