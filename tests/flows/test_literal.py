"""What documents say: our own form, BullMQ's FlowJob as it is, and what is wrong with those that cannot be read."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import Backoff, DataError, DefinitionError, DuplicateJobError, Flow, Job, Opts
from flows._bullmq import NO_EFFECT, REFUSED

FLOW_JOB = {
    "name": "process-order",
    "queueName": "orders",
    "data": {"orderId": "123"},
    "children": [
        {"name": "validate-inventory", "queueName": "inventory", "data": {"orderId": "123"}},
        {
            "name": "charge-payment",
            "queueName": "payments",
            "data": {"orderId": "123"},
            "opts": {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}},
        },
        {
            "name": "send-confirmation",
            "queueName": "email",
            "data": {"orderId": "123"},
            "opts": {"delay": 1000},
        },
    ],
}


def order_flow() -> Job[Any]:
    order = {"orderId": "123"}
    retried = Opts(attempts=3, backoff=Backoff.exponential("1s"))
    return Job(
        "process-order",
        queue="orders",
        data=order,
        children=[
            Job("validate-inventory", queue="inventory", data=order),
            Job("charge-payment", queue="payments", data=order, opts=retried),
            Job("send-confirmation", queue="email", data=order, opts=Opts(delay="1s")),
        ],
    )


def bullmq(**options: Any) -> dict[str, Any]:
    return {"name": "work", "queueName": "q", "opts": options}


def root(document: Any) -> Job[Any]:
    return Flow.parse(document).roots[0]


def given(document: Any) -> dict[str, object]:
    opts = root(document).opts
    return {} if opts is None else opts.given


def problems(document: Any) -> tuple[str, ...]:
    with pytest.raises(DefinitionError) as caught:
        Flow.parse(document)
    return caught.value.problems


def problem(document: Any) -> str:
    (text,) = problems(document)
    return text


# BullMQ's documents


@pytest.mark.parametrize(
    "source",
    [FLOW_JOB, json.dumps(FLOW_JOB), json.dumps(FLOW_JOB).encode(), b"\xef\xbb\xbf" + json.dumps(FLOW_JOB).encode()],
)
def test_a_flow_job_declares_what_job_literals_declare(source: Any) -> None:
    assert Flow.parse(source) == Flow.of(order_flow())


def test_a_parsed_flow_runs() -> None:
    @flows.task(name="literal-load")
    def load(n: int) -> int:
        return n

    @flows.task(name="literal-total")
    def total(children: flows.Children, plus: int) -> int:
        return sum(children.values.values()) + plus

    document = {
        "name": "literal-total",
        "data": {"plus": None},
        "inputs": [{"at": ["plus"], "from": "one"}],
        "children": [{"name": "literal-load", "data": {"n": 20}}],
        "jobs": [{"name": "literal-load", "id": "one", "data": {"n": 1}}],
    }
    assert flows.execute(Flow.parse(json.dumps(document))).value == 22  # 20 as a child, 1 as an input of both kinds


def test_children_of_one_name_are_numbered_as_the_documentation_of_bullmq_has_them() -> None:
    steps = [
        {"name": "paint", "data": {"place": "ceiling"}, "queueName": "steps"},
        {"name": "paint", "data": {"place": "walls"}, "queueName": "steps"},
        {"name": "fix", "data": {"place": "floor"}, "queueName": "steps"},
    ]
    plan = flows.plan(Flow.parse({"name": "renovate-interior", "queueName": "renovate", "children": steps}))
    assert plan.order == ("paint", "paint#2", "fix", "renovate-interior")
    assert plan.queues == {"steps": 3, "renovate": 1}


def test_a_serial_chain_runs_its_innermost_job_first() -> None:
    car: dict[str, Any] = {"name": "car", "data": {"step": "chassis"}, "queueName": "assembly-line"}
    for step in ("wheels", "engine"):
        car = {"name": "car", "data": {"step": step}, "queueName": "assembly-line", "children": [car]}
    flow = Flow.parse(car)
    assert flows.plan(flow).order == ("car#3", "car#2", "car")
    assert flow.roots[0].children[0].children[0].kwargs == {"step": "chassis"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        ({"attempts": 3, "priority": 7, "lifo": True}, {"attempts": 3, "priority": 7, "lifo": True}),
        ({"attempts": 0}, {"attempts": 1}),
        ({"attempts": 3.0, "priority": 2.0}, {"attempts": 3, "priority": 2}),
        ({"delay": 1500}, {"delay": 1.5}),
        ({"delay": 0}, {"delay": 0.0}),
        ({"delay": "2m"}, {"delay": 120.0}),
        ({"delay": None, "attempts": None, "repeat": None}, {}),
        ({"backoff": 250}, {"backoff": Backoff.fixed(0.25)}),
        ({"backoff": {"type": "fixed", "delay": 1000, "jitter": 0.5}}, {"backoff": Backoff.fixed(1, jitter=0.5)}),
        ({"backoff": {"type": "exponential", "delay": 500}}, {"backoff": Backoff.exponential(0.5)}),
        (
            {"backoff": {"type": "exponential", "delay": 3000, "jitter": 1}},
            {"backoff": Backoff.exponential(3, jitter=1)},
        ),
        ({"failParentOnFailure": True}, {"on_failure": "fail"}),
        ({"continueParentOnFailure": True}, {"on_failure": "continue"}),
        ({"ignoreDependencyOnFailure": True, "failParentOnFailure": False}, {"on_failure": "ignore"}),
        ({"removeDependencyOnFailure": True, "continueParentOnFailure": None}, {"on_failure": "remove"}),
        ({"failParentOnFailure": False}, {}),
        ({"on_failure": "skip", "timeout": "30s"}, {"on_failure": "skip", "timeout": 30.0}),
        ({"idempotency_key": "k", "run_in": "thread"}, {"idempotency_key": "k", "run_in": "thread"}),
    ],
)
def test_bullmq_options_are_mapped(options: dict[str, Any], expected: dict[str, object]) -> None:
    assert given(bullmq(**options)) == expected


def test_a_job_id_is_the_id() -> None:
    assert root(bullmq(jobId="order:1")).id == "order:1"


@pytest.mark.parametrize("option", sorted(NO_EFFECT))
def test_some_bullmq_options_have_no_effect(option: str) -> None:
    assert given(bullmq(**{option: 5})) == {}


@pytest.mark.parametrize("option", sorted(REFUSED))
def test_options_that_are_lacking_are_refused_by_name_with_what_to_do(option: str) -> None:
    text = problem(bullmq(**{option: {"id": "x"}}))
    assert text.startswith(f"opts.{option}: ")
    assert REFUSED[option] in text


def test_every_option_that_bullmq_documents_is_known() -> None:
    documented = (
        "attempts backoff continueParentOnFailure debounce deduplication delay failParentOnFailure "
        "ignoreDependencyOnFailure jobId keepLogs lifo parent prevMillis priority removeDependencyOnFailure "
        "removeOnComplete removeOnFail repeat repeatJobKey sizeLimit stackTraceLimit telemetry timestamp"
    )
    for option in documented.split():
        with pytest.raises(DefinitionError) as caught:
            Flow.parse(bullmq(**{option: object(), "surely not an option": 1}))
        assert not [text for text in caught.value.problems if text.startswith(f"opts.{option}: neither")]


@pytest.mark.parametrize(
    ("options", "spot", "said"),
    [
        ({"failParentOnFailure": True, "removeDependencyOnFailure": True}, "removeDependencyOnFailure", "beside fail"),
        ({"failParentOnFailure": True, "on_failure": "fail"}, "failParentOnFailure", "beside on_failure='fail'"),
        ({"ignoreDependencyOnFailure": 1}, "ignoreDependencyOnFailure", "neither true nor false"),
        ({"backoff": {"type": "mine", "delay": 1}}, "backoff", "'mine'"),
        ({"backoff": {"type": "fixed"}}, "backoff", "lacks the delay"),
        ({"backoff": {"type": "fixed", "delay": 1, "factor": 2}}, "backoff", "'factor'"),
        ({"backoff": {"type": "fixed", "delay": 1, "jitter": 2}}, "backoff", "jitter 2"),
        ({"backoff": -1}, "backoff", "-1"),
        ({"backoff": True}, "backoff", "True"),
        ({"delay": -1}, "delay", "-1"),
        ({"delay": 10**400}, "delay", "no number"),
        ({"delay": 367 * 86_400_000}, "delay", "366 days"),
        ({"delay": [1]}, "delay", "[1]"),
        ({"timeout": 30_000}, "timeout", "has no unit"),
        ({"removeOnComplete": "all"}, "removeOnComplete", "'all'"),
        ({"removeOnFail": {"age": -1}}, "removeOnFail", "-1"),
        ({"removeOnFail": {"days": 1}}, "removeOnFail", "'days'"),
        ({"sizeLimit": "1k"}, "sizeLimit", "'1k'"),
        ({"attempt": 3}, "attempt", "did you mean attempts?"),
        ({"rejectOnFailure": True}, "rejectOnFailure", "neither BullMQ nor"),
    ],
)
def test_wrong_bullmq_options_are_named_with_the_value(options: dict[str, Any], spot: str, said: str) -> None:
    text = problem({"name": "top", "queueName": "q", "children": [bullmq(**options)]})
    assert text.startswith(f"children[0].opts.{spot}: ")
    assert said in text


@pytest.mark.parametrize(
    ("options", "retention"),
    [
        ({}, {}),
        ({"removeOnComplete": True}, {"keep_completed": {"count": 0}}),
        ({"removeOnComplete": False}, {"keep_completed": {}}),
        ({"removeOnFail": 50}, {"keep_failed": {"count": 50}}),
        ({"removeOnFail": -1}, {"keep_failed": {}}),
        (
            {"removeOnComplete": {"age": 3600, "count": 1000, "limit": 10}, "removeOnFail": {"age": 86400}},
            {"keep_completed": {"age": 3600.0, "count": 1000}, "keep_failed": {"age": 86400.0}},
        ),
    ],
)
def test_what_a_root_says_of_removal_is_kept_as_the_retention(
    options: dict[str, Any], retention: dict[str, Any]
) -> None:
    flow = Flow.parse(bullmq(**options))
    assert flow.retention == retention
    assert Flow.parse(flow.to_dict()).retention == retention
    assert Flow.parse(flow.to_dict()) == flow


def test_what_a_child_says_of_removal_has_no_effect() -> None:
    document = {"name": "top", "queueName": "q", "children": [bullmq(removeOnComplete=True, removeOnFail=5)]}
    assert Flow.parse(document).retention == {}


def test_roots_that_disagree_on_removal_are_refused() -> None:
    document = {"roots": [bullmq(removeOnComplete=True), bullmq(removeOnComplete=5)]}
    assert problem(document).startswith("roots[1].opts: removeOnComplete and removeOnFail")


def test_a_size_limit_is_kept_to_when_read() -> None:
    data = {"text": "ü" * 10}
    size = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    assert given(bullmq(sizeLimit=size) | {"data": data}) == {}
    with pytest.raises(DataError, match=rf"data: has {size} bytes as JSON, and opts\.sizeLimit is {size - 1}"):
        Flow.parse(bullmq(sizeLimit=size - 1) | {"data": data})


def test_a_prefix_is_taken_and_has_no_effect() -> None:
    assert Flow.parse({**FLOW_JOB, "prefix": "{bull}"}) == Flow.parse(FLOW_JOB)
    assert problem({**FLOW_JOB, "prefix": 5}) == "prefix: 5 is not text"


# Whose a node is


@pytest.mark.parametrize(
    ("node", "delay"),
    [
        ({"queueName": "q", "opts": {"delay": 2000}}, 2.0),
        ({"queue": "q", "opts": {"delay": 2000}}, 2000.0),
        ({"opts": {"delay": 2000}}, 2000.0),
        ({"opts": {"delay": 2000, "jobId": "x"}}, 2.0),
        ({"opts": {"delay": 2000, "keepLogs": 1}}, 2.0),
        ({"opts": {"delay": 2000, "backoff": {"type": "fixed", "delay": 1}}}, 2.0),
        ({"opts": {"delay": 2000, "on_failure": "ignore"}}, 2000.0),
        ({"prefix": "bull", "opts": {"delay": 2000}}, 2.0),
        ({"queueName": None, "queue": "q", "opts": {"delay": 2000}}, 2000.0),
    ],
)
def test_times_are_milliseconds_where_a_node_is_bullmqs(node: dict[str, Any], delay: float) -> None:
    assert given({"name": "work", **node})["delay"] == delay


@pytest.mark.parametrize(
    ("inner", "delay"),
    [
        ({"opts": {"delay": 2000}}, 2.0),
        ({"queue": "q", "opts": {"delay": 2000}}, 2000.0),
        ({"opts": {"delay": 2000, "timeout": 1}}, 2000.0),
        ({"opts": {"delay": 2000, "backoff": {"kind": "fixed", "delay": 1}}}, 2000.0),
    ],
)
def test_a_node_that_says_nothing_is_as_the_node_around_it(inner: dict[str, Any], delay: float) -> None:
    (child,) = root({"name": "top", "queueName": "q", "children": [{"name": "below", **inner}]}).children
    assert child.opts is not None
    assert child.opts.given["delay"] == delay


def test_a_node_cannot_be_both() -> None:
    assert problem({"name": "x", "queue": "a", "queueName": "b"}).startswith(
        "queueName: is BullMQ's and stands beside queue"
    )
    assert problem({"name": "x", "queueName": "a", "id": "1", "opts": {"jobId": "2"}}).startswith(
        "opts.jobId: stands beside id"
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"removeOnFail": True}, "opts.removeOnFail: is an option of BullMQ's on a node of ours"),
        ({"failParentOnFailure": True}, "write on_failure='fail'"),
        ({"backoff": 5}, "opts.backoff: 5 leaves its unit open"),
        ({"backoff": {"type": "fixed", "delay": 5}}, "opts.backoff: type is BullMQ's"),
        ({"backoff": {"kind": "sometimes"}}, "opts.backoff: kind 'sometimes': is unknown"),
        ({"attempts": 0}, "opts.attempts 0: is out of range"),
        ({"delay": None}, "opts.delay None: is no value"),
        ({"retries": 3}, "opts.retries: there is no option of that name"),
        ({"atempts": 3}, "did you mean attempts?"),
        ({"retry_on": "ValueError"}, "opts.retry_on: is code"),
    ],
)
def test_wrong_options_of_ours_are_named(options: dict[str, Any], said: str) -> None:
    assert said in problem({"name": "x", "queue": "q", "opts": options})


# Our own form


def test_options_of_ours_are_those_of_opts() -> None:
    options = {
        "attempts": 3,
        "backoff": {"kind": "steps", "delays": [1, "5s"]},
        "timeout": "1m",
        "delay": 2,
        "priority": 1,
        "lifo": True,
        "on_failure": "ignore",
        "idempotency_key": "k",
        "run_in": "thread",
    }
    made = Opts(**{**options, "backoff": Backoff.steps([1, 5])})  # type: ignore[typeddict-item]
    assert root({"name": "x", "queue": "q", "opts": options}).opts == made


def test_ids_join_jobs_in_both_directions() -> None:
    document = {
        "name": "report",
        "id": "top",
        "depends_on": ["b"],
        "after": ["log"],
        "children": [{"name": "a", "depends_on": ["b"]}, {"name": "b", "id": "b"}],
        "jobs": [{"name": "log"}],
    }
    flow = Flow.parse(document)
    (top,) = flow.roots
    a, b = top.children[:2]
    assert top.children == (a, b, b)
    assert a.children == (b,)
    assert [job.name for job in top.predecessors] == ["log"]
    assert flows.plan(flow).order == ("b", "a", "log", "top")


def test_a_job_without_an_id_goes_by_its_name() -> None:
    flow = Flow.parse(
        {
            "name": "top",
            "depends_on": ["load"],
            "children": [{"name": "x", "depends_on": ["load"]}],
            "jobs": [{"name": "load"}],
        }
    )
    assert flows.plan(flow).order == ("load", "x", "top")


def test_an_id_beats_a_name() -> None:
    jobs = [{"name": "load"}, {"name": "other", "id": "load"}]
    flow = Flow.parse({"name": "top", "after": ["load"], "children": [jobs[0]], "jobs": [jobs[1]]})
    assert [job.name for job in flow.roots[0].predecessors] == ["other"]


def test_a_name_that_several_jobs_have_is_no_id() -> None:
    document = {"name": "top", "after": ["a"], "children": [{"name": "a"}, {"name": "a"}]}
    assert problem(document).startswith("after[0]: 2 jobs without an id are named 'a'")


def test_an_unknown_id_is_refused_with_the_nearest() -> None:
    document = {"name": "top", "children": [{"name": "x", "depends_on": ["laod"]}, {"name": "load", "id": "load"}]}
    assert problem(document) == (
        "children[0].depends_on[0]: no job of this document has the id 'laod'; did you mean 'load'?"
    )


def test_an_id_given_twice_is_a_duplicate_with_both_places() -> None:
    with pytest.raises(DuplicateJobError) as caught:
        Flow.parse(
            {
                "name": "top",
                "children": [{"name": "a", "id": "x"}, {"name": "b", "children": [{"name": "c", "id": "x"}]}],
            }
        )
    assert str(caught.value).startswith("children[1].children[0].id: the id 'x' is that of children[0] already")
    assert caught.value.job == "x"


def test_a_circle_is_found_when_planned() -> None:
    flow = Flow.parse({"name": "top", "id": "t", "children": [{"name": "a", "after": ["t"]}]})
    with pytest.raises(flows.CycleError, match="t -> a -> t|a -> t -> a"):
        flows.plan(flow)


def test_a_job_that_nothing_depends_on_is_found_when_planned() -> None:
    with pytest.raises(DefinitionError, match="'lonely'.*would never run"):
        flows.plan(Flow.parse({"name": "top", "jobs": [{"name": "lonely"}]}))


def test_inputs_put_results_into_data() -> None:
    document = {
        "name": "charge",
        "data": {"order": None, "parts": [1, {"n": None}], "note": None},
        "inputs": [
            {"at": ["order"], "from": "load"},
            {"at": ["parts", 1, "n"], "from": "load", "path": ["items", 0, "n"], "optional": True},
        ],
        "jobs": [{"name": "load"}],
    }
    before = json.dumps(document)
    job = root(document)
    assert repr(job.kwargs) == (
        "{'order': <load.out>, 'parts': [1, {'n': optional(<load.out.items[0].n>)}], 'note': None}"
    )
    assert json.dumps(document) == before


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("load", "inputs[0]: 'load' is no input"),
        ({"at": ["order"]}, "inputs[0].from: None is no id"),
        (
            {"at": ["order"], "from": "lod"},
            "inputs[0].from: no job of this document has the id 'lod'; did you mean 'load'?",
        ),
        ({"at": "order", "from": "load"}, "inputs[0].at: 'order' is no path into the data"),
        ({"at": [], "from": "load"}, "inputs[0].at: [] is no path"),
        ({"at": ["other"], "from": "load"}, "inputs[0].at: ['other'] leads to no null"),
        ({"at": ["order", 0], "from": "load"}, "inputs[0].at: ['order', 0] leads to no null"),
        ({"at": ["parts", 9], "from": "load"}, "inputs[0].at: ['parts', 9] leads to no null"),
        ({"at": ["parts", -1], "from": "load"}, "inputs[0].at: ['parts', -1] leads to no null"),
        ({"at": ["parts", True], "from": "load"}, "inputs[0].at: ['parts', True] is no path"),
        ({"at": ["parts", 0], "from": "load"}, "inputs[0].at: ['parts', 0] leads to no null"),
        ({"at": ["order"], "from": "load", "path": [1.5]}, "inputs[0].path: [1.5] is no path"),
        ({"at": ["order"], "from": "load", "optional": "yes"}, "inputs[0].optional: 'yes' is neither"),
        ({"at": ["order"], "from": "load", "form": 1}, "inputs[0]: there is no key 'form' here; did you mean from?"),
    ],
)
def test_wrong_inputs_are_named(entry: Any, said: str) -> None:
    data = {"order": None, "parts": [1, None]}
    text = problem({"name": "x", "data": data, "inputs": [entry], "jobs": [{"name": "load"}]})
    assert text.startswith(said)


def test_a_place_takes_one_result() -> None:
    twice = [{"at": ["order"], "from": "load"}] * 2
    text = problem({"name": "x", "data": {"order": None}, "inputs": twice, "jobs": [{"name": "load"}]})
    assert text.startswith("inputs[1].at: ['order'] leads to no null")


def test_a_flow_node_has_a_name_and_one_root_or_several() -> None:
    shared = {"name": "b", "id": "b"}
    one = Flow.parse({"flow": "nightly", "root": {"name": "a"}})
    several = Flow.parse({"flow": "nightly", "roots": [{"name": "a", "children": [shared]}, "b"]})
    assert (one.name, one.several, len(one.roots)) == ("nightly", False, 1)
    assert (several.name, several.several) == ("nightly", True)
    assert several.roots[1] is several.roots[0].children[0]
    assert Flow.parse({"roots": [{"name": "a"}]}).name == "a"
    assert Flow.parse({"root": "a", "jobs": [{"name": "a"}]}).roots[0].name == "a"


def test_a_flow_node_has_the_retention() -> None:
    document = {"root": {"name": "a"}, "retention": {"keep_completed": {"age": "1m", "count": 3}, "keep_failed": {}}}
    assert Flow.parse(document).retention == {"keep_completed": {"age": 60.0, "count": 3}, "keep_failed": {}}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"flow": "x"}, "root: a flow node has either a root or roots"),
        ({"flow": "x", "root": {"name": "a"}, "roots": []}, "root: a flow node has either a root or roots"),
        ({"flow": "x", "roots": []}, "roots: is empty"),
        ({"flow": "", "root": {"name": "a"}}, "flow '': is empty"),
        ({"flow": "x", "root": "nowhere"}, "root: no job of this document has the id 'nowhere'"),
        ({"flow": "x", "root": 5}, "root: 5 is no job"),
        ({"flow": "x", "root": {"name": "a"}, "name": "a"}, "the document: there is no key 'name' here"),
        ({"root": {"name": "a"}, "retention": {"keep": {}}}, "retention: there is no key 'keep' here"),
        ({"root": {"name": "a"}, "retention": {"keep_failed": 5}}, "retention.keep_failed: 5 is no mapping"),
        ({"root": {"name": "a"}, "retention": {"keep_failed": {"age": "soon"}}}, "retention.keep_failed: age 'soon'"),
        ({"root": {"name": "a"}, "retention": {"keep_failed": {"ages": 1}}}, "retention.keep_failed: 'ages'"),
    ],
)
def test_wrong_flow_nodes_are_named(document: Any, said: str) -> None:
    assert problems(document)[0].startswith(said)


# What no flow can be made of


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({}, "the document: lacks its name"),
        ({"name": ""}, "name '': is empty"),
        ({"name": "a\x00"}, "name 'a\\x00': control character U+0000"),
        ({"name": 5}, "name 5: is of type int"),
        ({"name": "a", "queue": "a b"}, "queue 'a b': space U+0020"),
        ({"name": "a", "queueName": ""}, "queueName '': is empty"),
        ({"name": "a", "id": ""}, "id '': is empty"),
        ({"name": "a", "nmae": "b"}, "the document: there is no key 'nmae' here; did you mean name?"),
        ({"name": "a", "data": [1]}, "data: [1] is no mapping"),
        ({"name": "a", "data": {1: 2}}, "data: the key 1 is not text"),
        ({"name": "a", "data": {"x": float("inf")}}, "data.x: inf has no JSON form"),
        ({"name": "a", "data": {"x": {1, 2}}}, "data.x: {1, 2} of type set"),
        ({"name": "a", "data": {"x": 2**64}}, "data.x: an integer of 65 bits"),
        ({"name": "a", "data": {"x": "\ud800"}}, "data.x: a lone surrogate at position 0"),
        ({"name": "a", "opts": []}, "opts: [] is no mapping of options"),
        ({"name": "a", "children": {"name": "b"}}, "children: {'name': 'b'} is no list"),
        ({"name": "a", "children": [None]}, "children[0]: None is no job"),
        ({"name": "a", "children": ["b"]}, "children[0]: 'b' is no job"),
        ({"name": "a", "depends_on": "b"}, "depends_on: 'b' is no list"),
        ({"name": "a", "after": [5]}, "after[0]: 5 is no id"),
    ],
)
def test_wrong_nodes_are_named(document: Any, said: str) -> None:
    assert problem(document).startswith(said)


def test_data_has_a_bounded_depth() -> None:
    def nested(depth: int) -> Any:
        value: Any = 1
        for _ in range(depth):
            value = {"n": value}
        return {"name": "a", "data": value}

    assert Flow.parse(nested(64)).roots[0].name == "a"
    assert "data nests deeper than 64 levels" in problem(nested(66))
    circle: dict[str, Any] = {}
    circle["again"] = circle
    assert "or is circular" in problem({"name": "a", "data": circle})


def test_a_document_that_holds_itself_is_refused() -> None:
    document: dict[str, Any] = {"name": "a"}
    document["children"] = [{"name": "b", "children": [document]}]
    assert problem(document).startswith("children[0].children[0]: this object holds itself")


def test_one_object_in_two_places_is_two_jobs_as_it_is_in_json() -> None:
    leaf = {"name": "leaf"}
    assert flows.plan(Flow.parse({"name": "top", "children": [leaf, leaf]})).order == ("leaf", "leaf#2", "top")


def test_up_to_twenty_problems_are_shown_each_with_its_path() -> None:
    document = {"name": "top", "children": [{"name": "a", "opts": {"attempts": 0}} for _ in range(30)]}
    with pytest.raises(DefinitionError) as caught:
        Flow.parse(document)
    lines = str(caught.value).splitlines()
    assert lines[0] == "30 problems:"
    assert lines[1].startswith("- children[0].opts.attempts 0: is out of range")
    assert lines[20].startswith("- children[19].opts.attempts 0:")
    assert lines[21:] == ["… and 10 more"]


def test_reading_stops_where_problems_no_longer_help() -> None:
    assert len(problems({"name": "top", "children": [{}] * 100_000})) == 100


def test_the_path_to_a_deep_spot_has_its_middle_left_out() -> None:
    document: dict[str, Any] = {"name": ""}
    for _ in range(5_000):
        document = {"name": "x", "children": [document]}
    assert problem(document).startswith(
        "children[0].children[0].children[0]….children[0].children[0].children[0].children[0].name ''"
    )


@pytest.mark.parametrize("source", [None, 42, 1.5, [FLOW_JOB], ("name", "a"), object(), Path("flow.json")])
def test_what_is_no_document_is_refused(source: Any) -> None:
    assert problem(source).startswith("a flow is declared by a JSON object")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the JSON text is empty"),
        (b" \n", "the JSON text is empty"),
        ("{", "the text is not JSON: Expecting property name enclosed in double quotes at line 1, column 2"),
        ("flow.json", "the text is not JSON: Expecting value at line 1, column 1; parse() takes the text itself"),
        (b'{"name": "\xff"}', "the JSON text is not UTF-8: byte 0xff at position 10"),
        ('{"name": "a", "name": "b"}', "the document: the key 'name' stands there twice"),
        ('{"name": "a", "data": {"x": [{"y": 1, "y": 2}]}}', "data.x[0]: the key 'y' stands there twice"),
        (
            '{"name": "a", "data": {"x": {"y": 1, "y": 2}}, "data": {}}',
            "the document: the key 'data' stands there twice",
        ),
        ('{"name": "a", "data": {"x": NaN}}', "data.x: NaN has no place in JSON"),
        ('{"name": "a", "data": {"a b": [-Infinity]}}', "data['a b'][0]: -Infinity has no place in JSON"),
        ('{"name": "a", "data": {"x": 1e999}}', "data.x: the number '1e999' is too large"),
        ('{"name": "a", "data": {"x": ' + "1" * 5_000 + "}}", "data.x: an integer of 5000 digits does not fit 64 bits"),
        ('{"name": "a", "data": {"x": ' + "1" * 30 + "}}", "data.x: an integer of 97 bits does not fit 64"),
        ('{"name": "a", "data": {"x": "\\ud800"}}', "data.x: a lone surrogate"),
    ],
)
def test_text_that_other_readers_would_read_otherwise_is_refused(text: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        Flow.parse(text)
    assert caught.value.problems[0].startswith(said)


# Depth


def shallowly(act: Callable[[], object]) -> None:
    """Do *act* in a thread at recursion limit 200."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)

    limit = sys.getrecursionlimit()
    thread = threading.Thread(target=run)
    sys.setrecursionlimit(200)
    try:
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
    if failures:
        raise failures[0]


def deep_document(depth: int) -> dict[str, Any]:
    document: dict[str, Any] = {"name": "car", "queueName": "line"}
    for _ in range(depth):
        document = {"name": "car", "queueName": "line", "children": [document]}
    return document


def test_a_deep_chain_is_read_written_and_read_from_text_without_recursion() -> None:
    def act() -> None:
        flow = Flow.parse(deep_document(10_000))
        text = json.dumps(flow.to_dict())
        again = Flow.parse(text)
        assert len(flows.plan(again)) == 10_001
        assert again == flow

    shallowly(act)


@pytest.mark.slow
def test_a_chain_of_100_000_jobs_is_read_and_written_without_recursion() -> None:
    @flows.task(name="literal-link")
    def link(before: object = None) -> None: ...

    def act() -> None:
        assert len(flows.plan(Flow.parse(deep_document(100_000)))) == 100_001
        job = link()
        for _ in range(100_000):
            job = link(job.out)
        document = Flow.of(job).to_dict()
        assert Flow.parse(json.dumps(document)).to_dict() == document

    shallowly(act)


def test_text_that_nests_too_deep_for_the_reader_is_refused_with_what_to_do() -> None:
    text = '{"name": "a", "children": [' * 100_000
    with pytest.raises(DataError, match='nests deeper than .* list the jobs flat under "jobs"'):
        Flow.parse(text)
