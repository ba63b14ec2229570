"""Documents that no flow can be made of, text that is read differently by different readers, and depth."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import flows
from flows import DataError, DefinitionError, Flow
from tests.flows.documents import problem, problems


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

    flow = Flow.parse(nested(65))  # 64 levels in the argument
    assert Flow.parse(flow.to_dict()) == flow
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
    assert len(problems({"name": "top", "children": [{}] * 20_000})) == 100


def test_the_path_to_a_deep_spot_has_its_middle_left_out() -> None:
    document: dict[str, Any] = {"name": ""}
    for _ in range(2_000):
        document = {"name": "x", "children": [document]}
    assert problem(document).startswith(
        "children[0].children[0].children[0]….children[0].children[0].children[0].children[0].name ''"
    )


@pytest.mark.parametrize("source", [None, 42, 1.5, [{"name": "a"}], ("name", "a"), object(), Path("flow.json")])
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


@pytest.mark.slow
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
        for _ in range(20_000):
            job = link(job.out)
        document = Flow.of(job).to_dict()
        assert Flow.parse(json.dumps(document)).to_dict() == document

    shallowly(act)


def test_text_that_nests_too_deep_for_the_reader_is_refused_with_what_to_do() -> None:
    text = '{"name": "a", "children": [' * 100_000
    with pytest.raises(DataError, match=r'nests deeper than .* list the jobs flat under "jobs"'):
        Flow.parse(text)
