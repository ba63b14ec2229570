"""The contest: what a contender cannot do is said, what goes wrong is an outcome, the page says where we lose."""

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import environments
from benchmarks.contest import __main__ as command
from benchmarks.contest import driver, rounds
from benchmarks.contest.contenders import CONTENDERS, PLACES, Contender
from benchmarks.contest.contests import SETS, contests, fitted, jobs_of
from benchmarks.contest.driver import AtWork, FellOutError, Turn
from benchmarks.contest.figures import against_best, document, standings
from benchmarks.contest.hosting import turn
from benchmarks.contest.page import page, shown
from benchmarks.contest.plots import picture
from benchmarks.contest.rounds import Outcome
from benchmarks.environments import Environment, NotThereError
from benchmarks.peers import Queued
from benchmarks.workloads import Graph, shaped

ROOT = Path(__file__).parent.parent
OURS = [one for one in CONTENDERS.values() if one.ours]


@pytest.mark.parametrize("name", CONTENDERS)
def test_a_contender_says_what_it_cannot_do_and_its_program_has_what_is_told_of_it(name: str) -> None:
    contender = CONTENDERS[name]
    assert contender.where in PLACES
    assert {*contender.cannot} <= {one.graph.shape for one in contests("tiny")}
    assert all(contender.cannot.values())
    assert "fan_in" not in contender.cannot  # with which every contender begins
    assert contender.settings
    assert all("==" in one or "@" in one or one == "typing_extensions" for one in contender.packages)
    if contender.module.endswith(".mjs"):
        assert (ROOT / "benchmarks" / "peers" / contender.module).exists()
        return
    names = {node.name for node in _top(ROOT.joinpath(*contender.module.split(".")).with_suffix(".py"))}
    assert contender.peer in names
    assert contender.where != "redis" or "work" in names


def _top(path: Path) -> list[Any]:
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]


def test_what_every_contender_imports_is_in_the_standard_library_or_here() -> None:
    told = ("contest/contenders", "contest/hosting", "workloads", "peers/__init__", "__init__", "contest/__init__")
    for name in told:
        tree = ast.parse((ROOT / "benchmarks" / f"{name}.py").read_text())
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        foreign = {one for one in modules if one.split(".")[0] not in {*sys.stdlib_module_names, "benchmarks"}}
        assert foreign == set()


@pytest.mark.parametrize(
    "which", [pytest.param(one, marks=[pytest.mark.slow] if one in {"short", "all"} else []) for one in SETS]
)
def test_a_set_has_every_workload_and_who_is_slow_gets_fewer_jobs(which: Any) -> None:
    found = {one.name: one for one in contests(which)}
    kinds = [one.kind for one in found.values()]
    assert {"start", "memory", "latency", "throughput", "orders", "idle"} == {*kinds}
    assert kinds.index("memory") < kinds.index("throughput")  # a peak only grows
    slow = replace(OURS[0], at_most=8)
    for workload in found.values():
        assert fitted(workload, OURS[0], 1) is workload
        cut = fitted(workload, slow, 1)
        assert jobs_of(cut) <= 10 or cut is workload
        assert cut.graph.shape == workload.graph.shape


@pytest.mark.parametrize("shape", ["fan_in", "chain", "layers", "growth"])
def test_shapes_are_what_their_names_say(shape: str) -> None:
    graph = shaped(shape, 4)
    assert (graph.shape, graph.size) == (shape, 4)
    assert len(graph.nodes) == {"fan_in": 5, "chain": 4, "layers": 16, "growth": 3}[shape]
    assert graph.value()[0] == {"fan_in": 4, "chain": 4, "layers": 40, "growth": 10}[shape]


class InOrder(Queued):
    """Says in which order it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def declare(self, graph: Graph) -> Graph:
        return graph

    def submit(self, declared: Graph) -> Graph:
        self.asked.append("submit")
        return declared

    def wait(self, submitted: Graph) -> int:
        self.asked.append("wait")
        return submitted.value()[0]


def test_many_flows_are_submitted_before_the_first_is_waited_for() -> None:
    peer = InOrder()
    assert turn(peer, "fan_in", 3, calls=1, copies=2)["value"] == [6]
    assert peer.asked == ["submit", "submit", "wait", "wait"]
    done = turn(peer, "fan_in", 3, calls=2, copies=1)
    assert (len(done["seconds"]), done["value"]) == (2, [3])


class Scripted:
    """In place of `AtWork`: does what the script says about a shape."""

    starts: list[str]
    faults: dict[str, BaseException]

    def __init__(self, contender: Contender, place: str) -> None:
        self.contender = contender
        self.starts.append(contender.name)
        if "start" in self.faults:
            raise self.faults["start"]

    def turn(self, shape: str, size: int, *, calls: int = 1, copies: int = 1, limit: float) -> Turn:
        if shape in self.faults:
            raise self.faults[shape]
        value = [-1] if "wrong" in self.faults else [copies * one for one in shaped(shape, size).value()]
        return Turn([1.0] * calls, value, (1_000, 3_000))

    def processor_seconds(self) -> float:
        return 1.0

    def close(self) -> None:
        pass


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> type[Scripted]:
    Scripted.starts, Scripted.faults = [], {}
    monkeypatch.setattr(rounds, "AtWork", Scripted)
    monkeypatch.setattr(rounds, "SETTLED_SECONDS", 0.0)
    return Scripted


def outcomes_of(contender: Contender) -> dict[str, Outcome]:
    return {one.workload: one for one in rounds.measure(contests("tiny"), [contender], "tiny", lambda line: None)}


def test_what_goes_wrong_is_an_outcome_and_the_rest_is_measured(scripted: type[Scripted]) -> None:
    scripted.faults = {"chain": FellOutError("took longer than 60 s")}
    found = outcomes_of(replace(OURS[0], cannot={"layers": "no words for it"}))
    assert found["chain"].problem == "took longer than 60 s"
    assert found["layers"].cannot == "no words for it"
    assert [name for name, one in found.items() if not one.samples] == ["chain", "layers"]
    assert scripted.starts == ["flows", "flows"]  # again, after what went wrong
    assert len(found["start"].samples) == 1
    assert found["memory"].samples == [2_000 / found["memory"].jobs]


def test_what_is_cut_to_the_same_as_before_is_left_out(scripted: type[Scripted]) -> None:
    small = replace(OURS[0], at_most=100)
    found = {one.workload: one for one in rounds.measure(contests("short")[5:7], [small], "tiny", lambda line: None)}
    assert found["fan_in_1k"].cut
    assert found["fan_in_1k"].jobs == 101
    assert "the one before" in found["fan_in_10k"].left_out
    assert found["fan_in_10k"].samples == []


def test_nobody_begins_another_round_who_would_not_be_done_in_time(
    scripted: type[Scripted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SETS, "tiny", replace(SETS["tiny"], rounds=2))
    said: list[str] = []
    found = rounds.measure(contests("tiny"), [OURS[0]], "tiny", said.append, seconds=-1.0)
    assert scripted.starts == ["flows"]
    assert all(one.samples for one in found)
    assert said[1:] == ["round 2: flows is left out, as the time is up"]


def test_the_page_says_who_took_fewer_rounds_and_that_a_look_is_none() -> None:
    told = figures(1.0, 4.0) | {"rounds": 5}
    assert "| flows | all | 3 of 5 rounds: the time was up |" in page(told)
    assert "too small for figures** (`--tiny`)" in page(told)
    assert "too small" not in page(told | {"set": "short"})


def test_what_there_is_when_a_user_interrupts_is_kept(scripted: type[Scripted]) -> None:
    scripted.faults = {"chain": KeyboardInterrupt()}
    said: list[str] = []
    found = rounds.measure(contests("tiny"), [OURS[0]], "tiny", said.append)
    assert [one.workload for one in found if one.samples] == ["start", "memory", "small_flow"]
    assert said == ["interrupted: what there is by now is what counts"]
    assert {one.left_out for one in found if not one.samples} == {"not come to before the run was interrupted"}


@pytest.mark.parametrize("fault", [NotThereError("no such package"), FellOutError("ended with code 3")])
def test_who_does_not_start_is_said_at_every_workload(scripted: type[Scripted], fault: Exception) -> None:
    scripted.faults = {"start": fault}
    assert {one.problem for one in outcomes_of(OURS[0]).values()} == {str(fault)}
    assert len(scripted.starts) == (1 if isinstance(fault, NotThereError) else 2)  # what fell out gets a second chance


def test_a_wrong_value_gets_no_figure(scripted: type[Scripted]) -> None:
    scripted.faults = {"wrong": Exception()}
    assert "-1] instead of [" in outcomes_of(OURS[0])["chain"].problem
    assert outcomes_of(replace(OURS[0], passes=False))["chain"].samples


def figures(ours: float, theirs: float) -> dict[str, Any]:
    workloads = [one for one in contests("tiny") if one.name in {"chain", "idle"}]
    peer = replace(OURS[0], name="dask", passes=False)
    outcomes = [
        Outcome("chain", "flows", "process", 4, samples=[ours] * 3),
        Outcome("chain", "dask", "process", 8, cut=True, samples=[theirs, theirs, theirs * 2]),
        Outcome("chain", "absent", "process", 4, problem="no | such package"),
        Outcome("idle", "flows", "process", 4, samples=[0.0]),
        Outcome("idle", "dask", "process", 4, cannot="it never rests"),
    ]
    return document("tiny", workloads, [OURS[0], peer], outcomes)


def test_peers_are_compared_by_the_job_and_the_best_one_counts() -> None:
    compared = against_best(standings(figures(1.0, 4.0), "chain", "process"))
    assert compared is not None
    ours, best, times = compared
    assert (ours.contender, best.contender, times) == ("flows", "dask", 2.0)
    assert against_best(standings(figures(1.0, 4.0), "idle", "process")) is None


def test_what_one_would_write_by_hand_is_shown_and_is_not_the_best_peer() -> None:
    told = figures(1.0, 4.0)
    told["outcomes"].append(asdict(Outcome("chain", "asyncio", "process", 4, samples=[0.5] * 3)))
    compared = against_best(standings(told, "chain", "process"))
    assert compared is not None
    assert compared[1].contender == "dask"
    assert "better are asyncio 125 ms a job." in page(told)


def test_the_page_says_where_we_lose_what_cannot_be_and_what_went_wrong() -> None:
    won, lost = page(figures(1.0, 4.0)), page(figures(1.0, 1.0))
    assert "On none of these workloads, in this run." in won
    assert "- in one process, `chain`: 250 ms a job; better are dask 125 ms a job." in lost
    for said in ("| dask * |", "it never rests", "no / such package", "this library", "told no results"):
        assert said in won


def test_a_picture_has_a_dot_for_each_contender() -> None:
    drawn = picture(figures(1.0, 4.0), "process")
    assert drawn.count("<circle") == 2
    assert "idle" not in drawn  # nothing to compare, and no logarithm
    assert drawn.startswith("<svg")


@pytest.mark.parametrize(
    ("value", "kind", "said"),
    [
        (1.5, "start", "1.5 s"),
        (0.0123, "latency", "12.3 ms"),
        (4.2e-6, "throughput", "4.2 µs"),
        (1234.0, "memory", "1,234 B"),
        (12_345.0, "memory", "12 kB"),
        (0.015, "idle", "1.5% of a core"),
    ],
)
def test_figures_have_units(value: float, kind: str, said: str) -> None:
    assert shown(value, kind) == said


def test_without_package_managers_peers_say_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environments, "PLACE", tmp_path / "peers")
    monkeypatch.setenv("PATH", str(tmp_path))
    node = Environment("some-node", ("thing@1",))
    with pytest.raises(NotThereError, match="node and npm"):
        node.ready()
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'registry away' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(NotThereError, match="npm could not install it: registry away"):
        node.ready()
    assert not node.folder.exists()


def test_an_environment_is_made_once_and_again_when_other_packages_are_wanted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[tuple[str, ...]] = []
    monkeypatch.setattr(environments, "PLACE", tmp_path)
    monkeypatch.setattr(environments, "_run", lambda *command: made.append(command))
    for packages in (("thing==1",), ("thing==1",), ("thing==2",)):
        Environment("some", packages).ready()
    assert [one[-1] for one in made if "pip" in one] == ["thing==1", "thing==2"]
    assert Environment("ours").ready() == sys.executable


@contextmanager
def command_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> Iterator[Contender]:
    (tmp_path / "peer.mjs").write_text(script)
    monkeypatch.setattr(Environment, "ready", lambda self: "/bin/sh")
    monkeypatch.setattr(driver, "ROOT", tmp_path)
    (tmp_path / "benchmarks" / "peers").mkdir(parents=True)
    (tmp_path / "benchmarks" / "peers" / "peer.mjs").write_text(script)
    yield replace(OURS[0], module="peer.mjs")


def runs(pid: str) -> bool:
    try:
        return bool(Path("/proc", pid, "environ").read_bytes())  # one that has ended has none
    except OSError:
        return False


@pytest.mark.slow
def test_a_contender_that_ends_or_is_late_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with command_of(monkeypatch, tmp_path, "echo 'out of luck' >&2; exit 3") as contender:
        with pytest.raises(FellOutError, match="ended with code 3: out of luck"):
            AtWork(contender, str(tmp_path))
        sleeping = "sleep 600 & echo $! > pid; echo ready; read line; wait"
        (tmp_path / "benchmarks" / "peers" / "peer.mjs").write_text(sleeping)
        at_work = AtWork(contender, str(tmp_path))
        with pytest.raises(FellOutError, match=r"took longer than 0\.2 s"):
            at_work.turn("fan_in", 3, limit=0.2)
        at_work.close()
        assert not runs((tmp_path / "pid").read_text().strip())


@pytest.mark.slow
def test_we_are_measured_on_every_executor_and_the_page_is_written(tmp_path: Path) -> None:
    target = tmp_path / "page.md"
    names = [one.name for one in OURS if one.where != "cluster"]  # which takes long to start, and is tested elsewhere
    command.main(["--tiny", "--peer", *names, "--page", str(target)])
    text = target.read_text()
    assert "## What went wrong\n\nNothing." in text
    assert all(f"**{name}**" in text for name in names)
    assert {one.name for one in (tmp_path / "page").iterdir()} == {
        *(f"{where}.svg" for where in PLACES if where != "cluster"),
        "figures.json",
    }
    target.unlink()
    command.main(["--again", "--page", str(target)])
    assert target.read_text() == text
