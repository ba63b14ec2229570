"""pydantic-graph: a map over a list and a join for a parent and its children, steps in a row for a chain."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from pydantic_graph import GraphBuilder, StepContext, reduce_list_append

from benchmarks.workloads import Graph


class Built:
    """Graphs built beforehand; timed is `graph.run`, on a standing event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        built = _chain(graph.size) if graph.shape == "chain" else _mapped(step=graph.shape == "growth")
        return lambda: (self._loop.run_until_complete(built.run(inputs=graph.size)),)

    def close(self) -> None:
        self._loop.close()


async def _source(context: StepContext[None, None, int]) -> int:
    return 1


async def _step(context: StepContext[None, None, int]) -> int:
    return int(context.inputs) + 1


async def _numbers(context: StepContext[None, None, int]) -> list[int]:
    return list(range(context.inputs))


async def _gather(context: StepContext[None, None, list[int]]) -> int:
    return sum(context.inputs)


def _chain(length: int) -> Any:
    builder: Any = GraphBuilder(input_type=int, output_type=int)
    steps = [builder.step(_source, node_id="job-0")]
    steps += [builder.step(_step, node_id=f"job-{index}") for index in range(1, length)]
    ends = [builder.start_node, *steps, builder.end_node]
    builder.add(*(builder.edge_from(one).to(other) for one, other in pairwise(ends)))
    return builder.build()


def _mapped(*, step: bool) -> Any:
    builder: Any = GraphBuilder(input_type=int, output_type=int)
    numbers, gather = builder.step(_numbers), builder.step(_gather)
    one = builder.step(_step if step else _source)
    joined = builder.join(reduce_list_append, initial_factory=list)
    builder.add(
        builder.edge_from(builder.start_node).to(numbers),
        builder.edge_from(numbers).map().to(one),
        builder.edge_from(one).to(joined),
        builder.edge_from(joined).to(gather),
        builder.edge_from(gather).to(builder.end_node),
    )
    return builder.build()
