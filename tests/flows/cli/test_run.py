"""flows plan and flows run."""

import json
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from flows._cli._live import shown
from tests.flows.cli.conftest import Cli, lines

SHOP = "tests.flows.cli.shop"


def test_a_plan_is_shown_in_words_and_as_json(cli: Cli, shop: Any) -> None:
    assert cli("plan", f"{SHOP}:order").stdout == flows.plan(shop.order).explain() + "\n"
    [plan] = lines(cli("plan", f"{SHOP}:order", "--json"))
    assert plan["flow"] == "order"
    assert plan["jobs"][1]["after"] == ["cli-load"]
    assert plan["jobs"][1]["each"] == ["cli-pack"]
    assert plan["fingerprint"] == flows.plan(shop.order).fingerprint
    assert plan["levels"] == [["cli-load"], ["cli-pack"]]


def test_a_flow_is_run_and_its_value_is_all_of_the_output(cli: Cli, store: MemoryExecutor) -> None:
    result = cli("run", f"{SHOP}:order", "--arg", "order=7")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == ["7", "TEA", "POT"]
    assert "cli-load completed" in result.stderr
    assert "order completed after" in result.stderr


def test_a_run_as_json_is_one_document(cli: Cli, store: MemoryExecutor) -> None:
    [run] = lines(cli("run", f"{SHOP}:order", "--key", "k", "--json"))
    assert (run["state"], run["value"], run["error"]) == ("completed", ["123", "TEA", "POT"], None)
    assert (run["jobs"], run["open"], run["states"]) == (5, 0, {"completed": 5})
    assert run["id"] == flows.get(key="k").id
    assert run["seconds"] >= 0


def test_a_run_that_was_there_is_not_told_as_if_it_ran_now(cli: Cli, store: MemoryExecutor) -> None:
    first, second = [cli("run", f"{SHOP}:order", "--key", "k") for _ in range(2)]
    assert "cli-load completed" in first.stderr
    assert second.stdout == first.stdout
    assert f"order: run {flows.get(key='k').id} has this key, was submitted 20" in second.stderr
    assert "ago, and has ended: nothing is done again\n" in second.stderr
    assert "cli-load" not in second.stderr


def test_of_a_run_that_goes_on_what_is_new_is_told(
    store: MemoryExecutor, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def say(text: object = "", *_: object) -> None:
        said.append(str(text))
        if "had ended before" in said[-1]:
            shop.gate.set()

    monkeypatch.setattr("flows._cli._screen.say", say)
    run = flows.submit(shop.last(shop.load("1").out, shop.wait().out), executor=store, key="k")
    for event in run.events():
        if event.kind == "completed":
            break
    monkeypatch.setattr("flows._cli._live.can_redraw", lambda: False)
    with shown(run._record, joined=True):
        run.wait(60)
    assert said[0].endswith("ago, and goes on")
    assert said[1] == "1 of 3 jobs had ended before"
    assert [text.split()[1:] for text in said[2:]] == [["cli-wait", "completed"], ["cli-last", "completed"]]


def test_a_failure_names_the_job_and_the_error_and_ends_with_1(cli: Cli, store: MemoryExecutor) -> None:
    result = cli("run", f"{SHOP}:payment", "--arg", "cents=-7")
    assert result.exit_code == 1
    assert result.stdout == ""
    told = result.stderr
    assert "payment failed after" in told
    assert "cli-charge failed after 2 attempts, on queue cli-payments" in told
    assert "ValueError: [bold]cannot[/bold] charge \\x1b[31m-7 größe" in told
    assert "data: {'cents': -7}" in told
    assert "in charge" in told
    assert "_handlers.py" not in told
    assert "The run ends with this process" in told


def test_a_failure_as_json_has_the_error(cli: Cli, store: MemoryExecutor) -> None:
    result = cli("run", f"{SHOP}:payment", "--json")
    assert result.exit_code == 1
    [run] = lines(result)
    assert (run["state"], run["error"]["type"]) == ("failed", "DependencyFailedError")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("run", f"{SHOP}:order", "-e", "nowhere://"), "no executor for the scheme"),
        (("run", f"{SHOP}:order", "--arg", "oder=1"), "did you mean order?"),
        (("run", f"{SHOP}:order", "--timeout", "soon"), "timeout"),
        (("run", f"{SHOP}:order", "--detach", "-e", "memory://"), "--detach needs an executor that keeps"),
        (("runs", "ls", "--state", "fialed"), "did you mean failed?"),
        (("runs", "show"), "which run?"),
        (("runs", "prune"), "which runs?"),
        (("queues", "-e", "memory://", "pause", "x"), "options stand behind the command"),
        (("queues", "pause", "no such"), "is not allowed"),
        (("dead", "drop"), "which dead letters?"),
        (("runs", "ls", "--cursor", "x"), "no page of a listing gave it"),
    ],
)
def test_what_is_wrong_ends_with_2_and_is_said_in_a_line(
    cli: Cli, store: MemoryExecutor, args: tuple[str, ...], message: str
) -> None:
    result = cli(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_without_an_executor_nothing_is_listed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWS_EXECUTOR", raising=False)
    for args in (("runs", "ls"), ("queues",), ("dead", "list"), ("doctor",), ("worker", SHOP)):
        result = cli(*args)
        assert result.exit_code == 2
        assert "--executor" in result.stderr


def test_a_worker_is_made_of_what_was_given(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    class Stand:
        def __init__(self, **given: Any) -> None:
            asked.update(given)

        def run(self) -> None:
            raise SystemExit(3)  # as where it wants to be started anew

    monkeypatch.setattr(flows, "Worker", Stand, raising=False)
    result = cli("worker", SHOP, "-e", "sqlite:///x", "-q", "a,b", "-q", "c", "-c", "7", "--grace", "2m", "--name", "w")
    assert result.exit_code == 3
    given = {"queues": ["a", "b", "c"], "concurrency": 7, "grace": 120.0, "name": "w"}
    assert asked == {"executor": "sqlite:///x", **given}
    cli("worker", SHOP, "-e", "sqlite:///x")
    assert asked["queues"] is None
    assert cli("worker", "nowhere_at_all", "-e", "sqlite:///x").exit_code == 2
    assert "memory:// keeps runs in the process that submits them" in cli("worker", SHOP, "-e", "memory://").stderr
    assert "--queues names no queue" in cli("worker", SHOP, "-e", "sqlite:///x", "-q", " , ").stderr
