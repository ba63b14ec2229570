"""Our own form of documents: ids, inputs, flow nodes, and what is wrong with those that cannot be read."""

import json
from typing import Any

import pytest

import flows
from flows import Backoff, DefinitionError, DuplicateJobError, Flow, Opts
from tests.flows.documents import problem, problems, root


def test_options_of_ours_are_those_of_opts() -> None:
    options: dict[str, Any] = {
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
    made = Opts(**{**options, "backoff": Backoff.steps([1, 5])})
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
    with pytest.raises(flows.CycleError, match=r"t -> a -> t|a -> t -> a"):
        flows.plan(flow)


def test_a_job_that_nothing_depends_on_is_found_when_planned() -> None:
    with pytest.raises(DefinitionError, match=r"'lonely'.*would never run"):
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
