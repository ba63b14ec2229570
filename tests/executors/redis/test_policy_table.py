"""The table of failure policies in a shard, cell by cell: how two children end, whatever their parent does then."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import pytest

from executors.redis._shard import Shard
from executors.redis._wire import Granted
from flows._state import COMPLETED, STATE_NAMES
from flows._verbs import End
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import Loop, ended, new_run, records_of, shape_of, shard_on
from tests.flows.naive_run import ENDS, KINDS, POLICIES, Dag, Edge, NaiveRun

CELLS: Final = [*itertools.product(ENDS, POLICIES, KINDS)]
"""How a child ends, its policy, the kind of its edge."""

QUEUES: Final = ("first", "second", "parent")
END_OF: Final = dict(zip(ENDS, (End.COMPLETED, End.FAILED, End.SKIPPED, End.CANCELLED), strict=True))

Cell = tuple[str, str, str]


class Fans:
    """A run of fans of three jobs: of a child in the cell *first*, of one in each cell, and of their parent."""

    def __init__(self, first: Cell) -> None:
        self.cells = [(first, second) for second in CELLS]
        fans = [self.fan(one) for one in self.cells]
        self.naive = [NaiveRun(fan) for fan in fans]
        edges = [
            Edge(edge.child + 3 * number, edge.dependent + 3 * number, edge.kind)
            for number, fan in enumerate(fans)
            for edge in fan.edges
        ]
        self.dag = Dag(tuple(policy for fan in fans for policy in fan.policies), tuple(edges))
        shape = shape_of(self.dag, QUEUES, attempts=[1] * self.dag.size)
        self.run = new_run(shape, keep=10**12, keep_failed=10**12)

    @staticmethod
    def fan(cells: tuple[Cell, Cell]) -> Dag:
        (_, policy, kind), (_, other_policy, other_kind) = cells
        return Dag((policy, other_policy, "fail"), (Edge(0, 2, kind), Edge(1, 2, other_kind)))

    def end(self, place: int, grants: Iterable[Granted]) -> Iterator[tuple[Granted, End]]:
        """The children in that place end, or the parents."""
        for grant in grants:
            number = grant.job // 3
            end = self.cells[number][place][0] if place < 2 else "completed"
            if self.naive[number].states[place] == "released":
                self.naive[number].settle(place, end)
                yield grant, END_OF[end]

    def check_inputs(self, grant: Granted) -> None:
        number = grant.job // 3
        counted = {one.child - 3 * number for one in grant.inputs if one.state >= COMPLETED}
        kinds = [cell[2] for cell in self.cells[number]]
        taken = {child for child in self.naive[number].inputs[2] if kinds[child] != "order"}
        assert counted == taken, self.cells[number]


class Table:
    """All cells for a first child, a run each.

    Args:
        parent: What those parents are that were let go by their first child, when the second one ends.
    """

    def __init__(self, shard: Shard, parent: str) -> None:
        self.shard, self.parent = shard, parent
        self.loop = Loop(shard, ())
        self.runs = {one.run.run_id: one for one in map(Fans, CELLS)}
        self.let_go: dict[str, list[Granted]] = {name: [] for name in self.runs}
        for one in self.runs.values():
            shard.put_run(one.run)

    def claim(self, queue: str) -> dict[str, list[Granted]]:
        grants: dict[str, list[Granted]] = {}
        while True:
            answer = self.loop(limit=64, queues=(queue,))
            for grant in answer.grants:
                grants.setdefault(grant.run_id, []).append(grant)
                if queue == "parent":
                    self.runs[grant.run_id].check_inputs(grant)
            if not answer.grants and not answer.more:
                return grants

    def settle(self, place: int, grants: dict[str, list[Granted]]) -> None:
        for name, some in grants.items():
            outcomes = [ended(grant, end, b"{}") for grant, end in self.runs[name].end(place, some)]
            for first in range(0, len(outcomes), 50):
                assert not self.loop(*outcomes[first : first + 50], limit=0).refused

    def compare(self) -> None:
        while self.shard.sweep():
            pass
        for name, one in self.runs.items():
            records = records_of(self.shard, name, one.dag.size)
            gone = {grant.job for grant in self.let_go.get(name, ())}
            for number, naive in enumerate(one.naive):
                state, meant = STATE_NAMES[records[3 * number + 2][9]], naive.states[2]
                released = self.parent if 3 * number + 2 in gone else "waiting"
                assert state == (released if meant == "released" else meant), one.cells[number]


@pytest.mark.slow
@pytest.mark.parametrize("parent", ["waiting", "active", "completed"])
def test_all_cells_of_the_table(valkey: Server, parent: str) -> None:
    table = Table(shard_on(valkey), parent)
    table.settle(0, table.claim("first"))
    table.compare()
    if parent != "waiting":
        table.let_go = table.claim("parent")
    if parent == "completed":
        table.settle(2, table.let_go)
    table.settle(1, table.claim("second"))
    table.compare()
    parents = table.claim("parent")
    for name, some in table.let_go.items() if parent == "active" else ():
        parents.setdefault(name, []).extend(some)
    table.settle(2, parents)
    for name in table.runs:
        state = table.shard.server.call("HGET", table.shard.keys.run(name), "state")
        assert state in (b"completed", b"failed", b"cancelled"), "it has ended"
