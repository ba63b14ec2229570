"""BullMQ's FlowJob as it is: what becomes of each option, and whose a node is."""

import json
from typing import Any

import pytest

import flows
from flows import Backoff, DataError, DefinitionError, Flow, Job, Opts
from flows._bullmq import NO_EFFECT, REFUSED
from tests.flows.documents import bullmq, given, problem, root

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
        return int(sum(children.values.values())) + plus

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
