"""Tasks that the tests of `each` fan out over, and the shortest way to run a flow."""

from typing import Any

import flows


@flows.task(queue="each-runs")
def source(n: int = 2) -> list[int]:
    return list(range(n))


@flows.task(queue="each-runs")
def double(number: int) -> int:
    return 2 * number


@flows.task(queue="each-runs")
def add(*numbers: int) -> int:
    return sum(numbers)


@flows.task(queue="each-runs")
def plus(first: int, second: int = 0, *, third: int = 0) -> int:
    return first + second + third


@flows.task(queue="each-runs")
def give(value: Any = None) -> Any:
    return value


@flows.task(queue="each-runs")
def fail(*_: Any) -> int:
    raise ValueError("broken")


@flows.task(queue="each-runs")
def names(children: flows.Children = flows.INJECTED) -> dict[str, Any]:
    return {**children.values, **dict.fromkeys(children.failures, "failed")}


def run(flow: Any, **options: Any) -> flows.Run[Any]:
    return flows.execute(flow, executor="memory://?private=1", **options)


def value(flow: Any) -> Any:
    return run(flow).value
