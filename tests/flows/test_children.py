"""Children: results read by id, and why there is none."""

from typing import Any

import pytest

from flows import INJECTED, Children, Failed

FAILED = Failed("ValueError", "no", "", "bad")


@pytest.fixture
def children() -> Children:
    return Children({"b": 2, "a": None}, {"bad": FAILED})


def test_results_are_read_like_a_dict_in_declared_order(children: Children) -> None:
    assert (children["b"], children["a"], len(children), list(children)) == (2, None, 2, ["b", "a"])
    assert (children.keys(), children.items()) == (["b", "a"], [("b", 2), ("a", None)])
    assert ("a" in children, "bad" in children, "c" in children) == (True, False, False)
    assert (children.get("b"), children.get("c"), children.get("c", 7), children.get("a", 7)) == (2, None, 7, None)
    assert dict(children.items()) == children.values


def test_a_failure_is_no_result_and_says_why(children: Children) -> None:
    with pytest.raises(KeyError, match="'bad' has no result: ValueError: bad: no"):
        children["bad"]
    assert children.failures == {"bad": FAILED}


def test_what_is_no_child_is_told_with_those_there_are(children: Children) -> None:
    with pytest.raises(KeyError, match="'c' is no dependency with a result here; there are 'b', 'a'"):
        children["c"]
    with pytest.raises(KeyError, match="there are none"):
        Children({}, {})["c"]


@pytest.mark.parametrize("view", ["values", "failures"])
def test_the_mappings_cannot_be_changed_and_are_copies(view: str) -> None:
    values: dict[str, Any] = {"a": 1}
    failures = {"b": FAILED}
    children = Children(values, failures)
    values["x"] = failures["x"] = FAILED
    mapping = getattr(children, view)
    assert len(mapping) == 1
    with pytest.raises(TypeError):
        mapping["c"] = 1


def test_it_shows_what_is_in_it(children: Children) -> None:
    assert repr(children) == f"Children(values={{'b': 2, 'a': None}}, failures={{'bad': {FAILED!r}}})"
    assert repr(INJECTED) == "INJECTED"
