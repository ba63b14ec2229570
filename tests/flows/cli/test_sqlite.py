"""The commands for operators over a file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flows
from executors.sqlite import SqliteExecutor
from flows import _executors
from tests.flows.cli.conftest import Cli, lines


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteExecutor]:
    url = f"sqlite:///{tmp_path}/shop.db?synchronous=normal"
    executor = SqliteExecutor(url)
    monkeypatch.setitem(_executors._shared, url, executor)
    monkeypatch.setenv("FLOWS_EXECUTOR", url)
    yield executor
    executor.close()


def test_a_file_is_operated(cli: Cli, file: SqliteExecutor, shop: Any) -> None:
    good = flows.execute(shop.order("1"), executor=file, key="good")
    bad = flows.execute(shop.payment(-5), executor=file, check=False)
    assert [run["id"] for run in lines(cli("runs", "ls", "--json"))] == [bad.id, good.id]
    [only] = lines(cli("runs", "ls", "--json", "--state", "failed"))
    assert only["error"]["type"] == "DependencyFailedError"
    assert "cli-charge" in cli("dead", "list").stdout
    assert cli("queues", "pause", "cli-payments").exit_code == 0
    [queue] = lines(cli("queues", "--json"))
    assert (queue["queue"], queue["paused"], queue["dead"]) == ("cli-payments", True, 1)
    assert cli("queues", "resume", "cli-payments").exit_code == 0
    doctor = cli("doctor")
    assert doctor.exit_code == 0
    assert "synchronous=normal" in doctor.stdout
    assert "integrity" in doctor.stdout


def test_an_interrupt_leaves_a_run_in_a_file_open(
    cli: Cli, file: SqliteExecutor, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(flows.Run, "wait", interrupted)
        held = cli("run", f"{shop.__name__}:order", "--key", "k")
    assert held.exit_code == 130
    assert "stays open" in held.stderr
    assert flows.get(key="k", executor=file).state == "running"
    assert cli("run", f"{shop.__name__}:order", "--key", "k").exit_code == 0


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_pruned_file_shrinks(cli: Cli, file: SqliteExecutor, shop: Any, tmp_path: Path) -> None:
    flows.execute(shop.order("1" * 50_000), executor=file)
    pages = file.store.database.pragmas("page_count")["page_count"][0][0]
    assert cli("runs", "prune", "--older-than", "0s", "--yes").exit_code == 0
    assert lines(cli("runs", "ls", "--json")) == []
    assert file.store.database.pragmas("page_count")["page_count"][0][0] < pages


@pytest.mark.parametrize(
    "command",
    [
        "doctor",
        "runs ls",
        "queues",
        "queues pause a",
        "dead list",
        "runs prune --older-than 1d --yes",
        "runs show abcdef",
        "runs show --key k",
    ],
)
def test_a_file_that_is_not_there_is_not_made_by_looking(cli: Cli, tmp_path: Path, command: str) -> None:
    where = tmp_path / "missing.db"
    name, *rest = command.split()
    url = f"sqlite:///{where}"
    result = cli(name, *rest, url) if name == "doctor" else cli(name, *rest, "-e", url)
    assert result.exit_code not in (0, 2)
    assert f"there is no file {where}" in result.output.replace("\n", " ")
    assert ("port" in result.output, "check the path" in result.output) == (False, name == "doctor")
    assert not list(tmp_path.iterdir())
