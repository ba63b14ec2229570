"""Whatever is read as a flow: `Flow.parse` gives one that plans and can be written down again, or an error of ours."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import DataError, DefinitionError, Flow, Job
from tests.flows.odd_values import Nasty, answered, anything, text

untyped: Any = flows

NODE_KEYS = ("name", "queue", "queueName", "prefix", "id", "data", "inputs", "opts", "children", "depends_on", "after")
KEYS = (
    *(*NODE_KEYS, "jobs", "flow", "root", "roots", "retention", "at", "from", "path", "optional", "jobId", "kind"),
    *("type", "delay", "delays", "jitter", "factor", "cap", "base", "attempts", "backoff", "priority", "lifo"),
    *("timeout", "on_failure", "idempotency_key", "run_in", "retry_on", "removeOnComplete", "removeOnFail", "count"),
    *("age", "keep_completed", "keep_failed", "sizeLimit", "failParentOnFailure", "ignoreDependencyOnFailure"),
    *("continueParentOnFailure", "removeDependencyOnFailure", "repeat", "parent", "telemetry", "keepLogs", "limit"),
)
IDS = ("a", "b", "c", "odd-task", "odd-task#2", "a#2")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(IDS),
    st.sampled_from(KEYS),
    st.integers(-3, 5),
    st.integers(),
    st.floats(),
    text,
)
junk = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(KEYS), text), inner, max_size=4)
    ),
    max_leaves=12,
)
"""What a JSON reader could have made, of words that mean something here."""

OURS: dict[str, Any] = {
    "flow": "order",
    "root": {
        "name": "odd-task",
        "queue": "orders",
        "id": "a",
        "data": {"value": None, "more": [1, {"deep": None}], "text": "x"},
        "inputs": [
            {"at": ["value"], "from": "b", "path": ["items", 0], "optional": True},
            {"at": ["more", 1, "deep"], "from": "c"},
        ],
        "opts": {
            "attempts": 3,
            "backoff": {"kind": "exponential", "base": 1, "factor": 2, "cap": 9, "jitter": 0.5},
            "timeout": "30s",
            "delay": 1.5,
            "priority": 2,
            "lifo": True,
            "on_failure": "ignore",
            "idempotency_key": "k",
            "run_in": "thread",
        },
        "children": [{"name": "odd-task", "id": "b", "opts": {"on_failure": "continue"}}, {"name": "odd-task"}],
        "depends_on": ["c"],
        "after": ["b"],
    },
    "jobs": [{"name": "odd-task", "id": "c", "opts": {"backoff": {"kind": "steps", "delays": [1, 2]}}}],
    "retention": {"keep_completed": {"age": "7d", "count": 10}, "keep_failed": {}},
}

BULLMQ: dict[str, Any] = {
    "name": "process-order",
    "queueName": "orders",
    "prefix": "bull",
    "data": {"order": 1},
    "opts": {"jobId": "a", "removeOnComplete": {"age": 60, "count": 5}, "removeOnFail": False, "attempts": 2},
    "children": [
        {
            "name": "charge",
            "queueName": "payments",
            "data": {"order": 1},
            "opts": {
                "attempts": 3,
                "backoff": {"type": "exponential", "delay": 1000, "jitter": 0.5},
                "failParentOnFailure": True,
                "delay": 500,
                "priority": 4,
                "lifo": False,
                "sizeLimit": 900,
                "keepLogs": 3,
            },
        },
        {
            "name": "mail",
            "queueName": "email",
            "opts": {"ignoreDependencyOnFailure": True, "backoff": 5, "removeOnComplete": True},
            "children": [{"name": "render", "queueName": "email", "opts": {"continueParentOnFailure": True}}],
        },
    ],
}

Spot = tuple[Any, Any]
"""A container and a key or position in it."""


def spots(value: Any, depth: int = 9) -> list[Spot]:
    """Every place in a document that is not too deep, in the order of the text."""
    found: list[Spot] = []
    if not depth:
        return found
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in entries:
        found.append((value, key))
        found += spots(item, depth - 1)
    return found


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid document in which something is no longer as it was."""
    document = json.loads(json.dumps(draw(st.sampled_from([OURS, BULLMQ]))))
    for _ in range(draw(st.integers(1, 4))):
        places = spots(document)
        if not places:
            break
        container, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(["drop", "junk", "rename", "swap", "copy", "add"]))
        if change == "drop":
            del container[key]
        elif change == "junk":
            container[key] = draw(junk)
        elif change == "rename" and isinstance(container, dict):
            container[draw(st.sampled_from(KEYS) | text)] = container.pop(key)
        elif change == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(KEYS))] = draw(junk)
        elif change in ("swap", "copy"):
            other, its = places[draw(st.integers(0, len(places) - 1))]
            if change == "swap":
                container[key], other[its] = other[its], container[key]
            else:
                container[key] = other[its]  # the same object twice, or inside itself
    odd_as_well = draw(st.booleans())
    places = spots(document) if odd_as_well else []
    if places:
        container, key = places[draw(st.integers(0, len(places) - 1))]
        container[key] = draw(anything)
    return document


def read(document: Any) -> Flow[Any] | None:
    """The flow of a document; what can be read plans or is refused, and what plans can be written down."""
    flow: Flow[Any] | None = answered(lambda: Flow.parse(document), Nasty)
    if flow is not None:
        planned = answered(lambda: flows.plan(flow))
        if planned is not None:
            written = flow.to_dict()
            assert Flow.parse(written) == flow
            assert Flow.parse(json.dumps(written)) == flow
            assert flows.plan(Flow.parse(written)).fingerprint == planned.fingerprint
            planned.explain()
        repr(flow)
        hash(flow)
    return flow


def test_the_documents_that_are_mutated_are_valid() -> None:
    assert read(OURS) is not None
    assert read(BULLMQ) is not None


@given(junk)
def test_any_json(document: Any) -> None:
    read(document)


@given(st.dictionaries(st.sampled_from(KEYS), junk, max_size=5).map(lambda rest: {"name": "odd-task", **rest}))
def test_any_job_node(document: Any) -> None:
    read(document)


@given(mutated())
def test_documents_that_have_come_to_harm(document: Any) -> None:
    read(document)


@given(anything)
def test_anything_for_a_document(document: Any) -> None:
    answered(lambda: untyped.Flow.parse(document), Nasty)


@given(st.lists(st.lists(st.integers(0, 5), max_size=3), min_size=6, max_size=6), st.booleans(), st.booleans())
def test_edges_in_any_direction(edges: list[list[int]], after: bool, forward: bool) -> None:
    key = "after" if after else "depends_on"
    jobs = [
        {"name": "odd-task", "id": str(job), key: [str(child) for child in below if child > job or not forward]}
        for job, below in enumerate(edges)
    ]
    flow = Flow.parse({"flow": "any", "roots": [str(job) for job in range(6)], "jobs": jobs})
    planned = answered(lambda: flows.plan(flow))
    if forward:
        assert planned is not None
    if planned is not None:
        place = {job: position for position, job in enumerate(planned.order)}
        assert all(place[child] < place[job["id"]] for job in jobs for child in job[key])
        assert Flow.parse(flow.to_dict()) == flow


TEXTS = (json.dumps(OURS), json.dumps(BULLMQ, indent=1))


@given(
    st.sampled_from(TEXTS),
    st.integers(0),
    st.integers(0, 9),
    st.one_of(st.text(max_size=4), st.sampled_from('{}[]:,"\\0e-.')),
)
def test_text_that_was_cut_or_written_over(document: str, at: int, length: int, other: str) -> None:
    place = at % len(document)
    read(document[:place] + other + document[place + length :])


@given(st.sampled_from(TEXTS), st.integers(0), st.integers(0, 3), st.binary(max_size=4))
def test_bytes_that_were_cut_or_written_over(document: str, at: int, length: int, other: bytes) -> None:
    raw = document.encode()
    place = at % len(raw)
    read(raw[:place] + other + raw[place + length :])


@given(st.text(max_size=20) | st.binary(max_size=20))
def test_any_text_or_bytes(document: str | bytes) -> None:
    read(document)


@given(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-8", "latin-1"]))
def test_other_encodings(encoding: str) -> None:
    flow = read(json.dumps({"name": "größe"}, ensure_ascii=False).encode(encoding))
    assert (flow is not None) == encoding.startswith("utf-8")


@given(st.integers(1, 20_000), st.sampled_from(["[", '{"name":', '{"name":"a","children":[', '{"a":[']), st.booleans())
def test_any_depth(depth: int, opening: str, closed: bool) -> None:
    closing = "".join({"[": "]", "{": "}"}[char] for char in reversed(opening) if char in "[{")
    answered(lambda: Flow.parse(opening * depth + "0" + (closing * depth if closed else "")))


@given(mutated(), st.sampled_from(KEYS), junk)
def test_a_key_that_stands_twice(document: Any, key: str, value: Any) -> None:
    if not isinstance(document, Mapping):
        return
    try:
        first = json.dumps(document)
        second = json.dumps({key: value})
    except (ValueError, TypeError, RecursionError, Nasty, UnicodeError):
        return
    answered(lambda: Flow.parse(f"{second[:-1]}, {first[1:]}" if document else second))


def test_a_document_that_is_too_odd_to_be_read_registers_nothing() -> None:
    with pytest.raises(DefinitionError) as caught:
        Flow.parse({"name": "odd-task", "children": [{"name": "odd-task"}, {"nmae": 3}]})
    assert len(caught.value.problems) == 2


@pytest.mark.slow
def test_what_holds_things_over_and_over_is_refused_in_time() -> None:
    data: list[Any] = []
    for _ in range(60):
        data = [data, data]  # 60 small lists, and 2 ** 60 ways through them
    job: dict[str, Any] = {"name": "odd-task"}
    for _ in range(60):
        job = {"name": "odd-task", "children": [job, job]}
    with pytest.raises(DataError, match="over and over"):
        flows.plan(Job("odd-task", data={"value": data}))
    with pytest.raises(DataError, match="over and over"):
        Flow.parse({"name": "odd-task", "data": {"value": data}})
    with pytest.raises(DefinitionError, match="over and over"):
        Flow.parse(job)
    assert len(flows.plan(Job("odd-task", data={"value": [[0, 0]] * 10_000}))) == 1
