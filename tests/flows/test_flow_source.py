"""What may be passed where a flow is wanted, and what is said about what may not."""

import pytest

import flows
from flows import Flow, Job


@flows.task(name="source-load")
def load(order_id: str) -> str:
    return f"order {order_id}"


@flows.flow
def needy(order_id: str) -> Job[str]:
    return load(order_id)


@flows.flow
def content(order_id: str = "1") -> Job[str]:
    return load(order_id)


def hand_made() -> Flow[str]:
    return content("3")


@pytest.mark.parametrize(
    ("source", "value"),
    [(content, "order 1"), (content("2"), "order 2"), (load("4"), "order 4"), (hand_made, "order 3")],
    ids=["flow function", "flow", "job", "function that makes a flow"],
)
def test_a_flow_may_be_given_in_several_forms(source: object, value: str) -> None:
    assert flows.execute(source).value == value  # type: ignore[arg-type]


def test_a_flow_function_that_needs_arguments_is_named_with_what_is_missing() -> None:
    with pytest.raises(flows.DefinitionError, match=r"flow 'needy': .* argument: 'order_id'; call needy\(\.\.\.\)"):
        flows.execute(needy)  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [None, 42, "flow", [], {"name": "load"}, int], ids=repr)
def test_what_is_no_flow_is_refused(wrong: object) -> None:
    with pytest.raises(flows.DefinitionError, match="is no flow"):
        flows.execute(wrong)  # type: ignore[arg-type]


def test_a_flow_may_be_named_and_return_several_jobs() -> None:
    @flows.flow(name="a pair")
    def pair() -> tuple[Job[str], Job[str]]:
        return load("1"), load("2")

    run = flows.execute(pair)
    assert run.name == "a pair"
    assert run.value == ("order 1", "order 2")


def test_a_function_that_needs_arguments_or_is_async_is_no_flow() -> None:
    async def later() -> None: ...

    for source, said in ((lambda x: x, "missing a required argument: 'x'"), (later, "is no flow")):
        with pytest.raises(flows.DefinitionError, match=said):
            flows.execute(source)  # type: ignore[arg-type]
