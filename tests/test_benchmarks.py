"""The benchmarks run, every peer computes what a plain loop computes, and a missed target is called one."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import durable
from benchmarks.measure import Series, WrongValueError, measure
from benchmarks.peers import PEERS, Peer, flows_, load
from benchmarks.pictures import Watched, picture_rows, watched_rows
from benchmarks.report import as_json, import_rows, rows, table
from benchmarks.scale import ABOUT, flat_rows, kahn, kept_bytes, memory_rows, plan_rows, scale_rows
from benchmarks.simulations import simulation_rows
from benchmarks.spans import measure_spans
from benchmarks.spans import rows as span_rows
from benchmarks.workloads import ALL_KINDS, Graph, Workload, chain, layered, workloads

ROOT = Path(__file__).parent.parent
TINY = {workload.name: workload for workload in workloads("tiny")}


@pytest.fixture
def peers() -> Iterator[dict[str, Peer]]:
    found, missing = load()
    assert missing == {}
    yield {peer.name: peer for peer in found}
    for peer in found:
        peer.close()


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("workload", TINY)
def test_every_peer_computes_what_a_plain_loop_does(workload: str, peer: str, peers: dict[str, Peer]) -> None:
    graph = TINY[workload].graph
    assert peers[peer].prepare(graph)() == graph.value()


@pytest.mark.slow
@pytest.mark.parametrize("workload", TINY)
def test_every_peer_of_a_workloads_kind_gets_its_rounds(workload: str, peers: dict[str, Peer]) -> None:
    its = TINY[workload]
    series = measure(its, list(peers.values()))
    assert [one.peer for one in series] == [name for name, peer in peers.items() if its.kind in peer.kinds]
    assert {len(one.samples) for one in series} == {its.rounds}
    assert all(sample > 0 for one in series for sample in one.samples)


@pytest.mark.slow
def test_the_command_prints_a_row_for_each_peer_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "chain", "import", "--json"]
    done = subprocess.run([*command, str(file)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    figures = json.loads(file.read_text())
    assert figures["missing"] == {}
    measured = [(row["workload"], row["peer"]) for row in figures["rows"]]
    assert measured == [*(("chain", name) for name in PEERS), ("import", "flows"), ("import", "pydantic")]
    assert [target["text"] for target in figures["rows"][0]["targets"]] == [">= 8x dask", ">= 1x asyncio"]
    assert ">= 8x dask: " in done.stdout


@pytest.mark.slow
def test_graphs_are_the_same_each_time_and_differ_by_seed() -> None:
    assert layered(6, 5) == layered(6, 5)
    assert layered(6, 5) != layered(6, 5, seed=8)
    for workload in workloads("full"):
        for index, node in enumerate(workload.graph.nodes):
            assert all(parent < index for parent in node.parents)


def test_a_layered_node_takes_three_different_nodes_of_the_layer_before() -> None:
    for index, node in enumerate(layered(8, 6)):
        expected = set() if index < 6 else {index // 6 - 1}
        assert {parent // 6 for parent in node.parents} == expected
        assert len(set(node.parents)) == (0 if index < 6 else 3)


class Wrong:
    name, timed, kinds = "wrong", "nothing", ALL_KINDS

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        return lambda: (-1,)

    def close(self) -> None:
        pass


def test_a_peer_with_a_wrong_value_gets_no_figure() -> None:
    with pytest.raises(WrongValueError, match="wrong: "):
        measure(TINY["chain"], [Wrong()])


def throughput_targets(ours: float, dask: float, loop: float) -> list[bool]:
    workload = Workload("chain", "throughput", "", Graph(chain(3)), rounds=3)
    series = [Series(name, [time] * 3) for name, time in (("flows", ours), ("dask", dask), ("asyncio", loop))]
    first, *others = rows(workload, series)
    assert all(row.targets == () for row in others)
    return [target.met for target in first.targets]


def test_throughput_is_judged_against_dask_and_the_loop() -> None:
    assert throughput_targets(1.0, 8.0, 1.0) == [True, True]
    assert throughput_targets(1.0, 7.9, 0.9) == [False, False]


def test_orders_are_judged_against_dask_over_all_their_flows() -> None:
    workload = replace(TINY["orders"], calls=1_000)
    for ours, met in ((1.0, True), (1.1, False)):
        first, _ = rows(workload, [Series("flows", [ours]), Series("dask", [8.0])])
        assert [(target.text, target.met) for target in first.targets] == [(">= 8x dask", met)]
        assert first.jobs == 4_000


def test_a_round_of_orders_is_the_time_of_all_its_flows(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    monkeypatch.setattr("benchmarks.measure.time.perf_counter", lambda: float(next(ticks)))
    peer = OneAfterTheOther()
    assert [its.samples for its in measure(replace(TINY["orders"], calls=5, rounds=1), [peer])] == [[5.0]]
    assert [its.samples for its in measure(replace(TINY["small_flow"], calls=5, rounds=1), [peer])] == [[1.0]]


@pytest.mark.slow
@pytest.mark.parametrize("name", durable.ABOUT)
def test_flows_in_a_file_are_measured_beside_bare_commits(name: str) -> None:
    flows_._task.cache_clear()  # tasks are known by their names only for the length of a test
    found = durable.durable_rows(name, "tiny")
    assert {row.workload for row in found} == {name}
    assert [row.peer for row in found] == (["flows"] * 2 if name == "durable_flat" else ["flows", "bare commits"])


def test_a_chain_in_a_file_is_judged_against_bare_commits() -> None:
    for ours, met in ((1.5, True), (1.6, False)):
        first, second = durable.rows("durable_chain", 10, Series("flows", [ours]), Series("bare commits", [1.0]))
        assert [target.met for target in first.targets] == [met]
        assert second.targets == ()


def test_planning_is_judged_against_a_plain_sort() -> None:
    for ours, met in ((6.0, True), (6.1, False)):
        first, second = plan_rows((10, [Series("flows", [ours]), Series("kahn", [1.0])]))
        assert [target.met for target in first.targets] == [met]
        assert (second.peer, second.targets) == ("kahn", ())


def test_memory_and_flatness_are_judged() -> None:
    for kept, met in ((1023.0, True), (1024.0, False)):
        (row,) = memory_rows(10, kept)
        assert [target.met for target in row.targets] == [met]
        assert "bytes a job" in table([row])
        assert as_json([row], {}, {})["rows"]
    for slowest, met in ((2.9, True), (3.1, False)):
        *others, last = flat_rows([(1_000, Series("flows", [1.0])), (1_000, Series("flows", [slowest]))])
        assert [target.met for target in last.targets] == [met]
        assert all(row.targets == () for row in others)


def test_the_plain_sort_puts_each_node_behind_its_parents() -> None:
    nodes = layered(6, 5)
    dependents = [[child for child, node in enumerate(nodes) if index in node.parents] for index in range(len(nodes))]
    order = kahn(dependents)
    assert sorted(order) == list(range(len(nodes)))
    assert all(order.index(parent) < order.index(index) for index in order for parent in nodes[index].parents)


@pytest.mark.slow
@pytest.mark.parametrize("name", ABOUT)
def test_what_grows_is_measured_and_judged(name: str) -> None:
    lines = scale_rows(name, "tiny")
    assert sum(len(row.targets) for row in lines) == 1
    assert all(row.seconds is None or row.seconds.low > 0 for row in lines)


@pytest.mark.slow
def test_a_job_planned_and_run_keeps_less_than_a_kilobyte() -> None:
    small, large = kept_bytes(200), kept_bytes(1_200)
    assert (large - small) / 1_000 < 1_024
    assert large - small > 100 * 1_000  # values, times and edges are kept: something was counted


def test_a_delayed_no_op_and_a_queued_nap_are_missed_targets() -> None:
    straggler = TINY["straggler_flat"]
    for last, met in ((0.169, True), (0.171, False)):
        (row,) = rows(straggler, [Series("flows", [last], calm=[0.1])])
        assert [target.met for target in row.targets] == [met]
    blocking = replace(TINY["blocking"], ideal=0.05)
    for wall, met in ((0.1, True), (0.101, False)):
        (row,) = rows(blocking, [Series("flows", [wall])])
        assert [target.met for target in row.targets] == [met]
        assert ("pass" if met else "MISS") in table([row])


class OneAfterTheOther:
    name, timed, kinds = "flows", "a loop in one thread", ALL_KINDS

    def prepare(self, graph: Graph) -> Callable[[], tuple[int, ...]]:
        def run() -> tuple[int, ...]:
            for node in graph.nodes:
                if node.blocks:
                    node.fn()
            return graph.value()

        return run

    def close(self) -> None:
        pass


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("workload", ["blocking", "straggler_flat", "straggler_layers"])
def test_a_runner_with_one_thread_misses_the_targets_of_overlap(workload: str) -> None:
    (row,) = rows(TINY[workload], measure(TINY[workload], [OneAfterTheOther()]))
    assert [target.met for target in row.targets] == [False]


@pytest.mark.slow
def test_spans_are_made_by_the_run_and_alone() -> None:
    ours, alone = measure_spans("tiny")
    assert (ours.peer, alone.peer, ours.jobs) == ("flows", "spans alone", 25)
    assert [target.text for target in ours.targets] == ["<= 1.6x its spans alone"]


def test_a_run_is_judged_against_its_spans() -> None:
    for run, met in ((1.6, True), (1.7, False)):
        ours, alone = span_rows(100, Series("flows", [run] * 3), Series("spans alone", [1.0] * 3))
        assert [target.met for target in ours.targets] == [met]
        assert alone.targets == ()


def test_import_time_is_judged_against_pydantic() -> None:
    for ours, met in ((0.25, True), (0.26, False)):
        first, second = import_rows([Series("flows", [ours]), Series("pydantic", [0.1])])
        assert [target.met for target in first.targets] == [met]
        assert second.targets == ()


@pytest.mark.slow
def test_pictures_are_drawn_recoloured_and_watched() -> None:
    rows = picture_rows("tiny")
    assert [row.workload for row in rows] == ["draw 50", "recolour 50", "watch 20", "watch 20"]
    assert [target.text for row in rows for target in row.targets] == [
        "<= 50 ms",
        "<= 2 ms",
        "<= 1.05x alone, processor",
        "<= 1.05x alone, wall",
    ]


def test_a_run_that_is_watched_is_judged_beside_one_that_is_not() -> None:
    alone = Watched("alone", [1.0] * 3, [2.0] * 3)
    for processor, wall, met in ((1.04, 2.2, [True, False]), (1.06, 2.0, [False, True])):
        ours, theirs = watched_rows(10, Watched("watched", [processor] * 3, [wall] * 3), alone)
        assert [target.met for target in ours.targets] == met
        assert theirs.targets == ()


@pytest.mark.slow
def test_simulations_are_judged_by_what_they_take() -> None:
    rows = simulation_rows("tiny")
    assert [target.text for row in rows for target in row.targets] == [
        "<= 5 ms",
        "<= 2000 ms",
        "<= 50 ms",
        "<= 1000 ms",
    ]
    assert [row.jobs for row in rows] == [10, 100, 366, 10]
