"""flows runs, queues, dead and doctor, over an executor in this process."""

from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor
from flows.operating import operator
from tests.flows.cli.conftest import Cli, failed_run, lines


def test_runs_are_listed_newest_first_in_pages(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    runs = [flows.execute(shop.order(str(n)), executor=store, key=f"k{n}") for n in range(5)]
    bad = failed_run(store, shop)
    assert [run["id"] for run in lines(cli("runs", "ls", "--json"))] == [bad.id, *(run.id for run in runs[::-1])]
    assert [run["id"] for run in lines(cli("runs", "ls", "--json", "--limit", "2", "--all"))][-1] == runs[0].id
    first = cli("runs", "ls", "--json", "--limit", "4")
    assert len(lines(first)) == 4
    cursor = first.stderr.split("--cursor '")[1].split("'")[0]
    assert [run["key"] for run in lines(cli("runs", "ls", "--json", "--cursor", cursor))] == ["k1", "k0"]
    [only] = lines(cli("runs", "ls", "--json", "--state", "failed", "--flow", "payment"))
    assert (only["state"], only["jobs"], only["open"], only["error"]["type"]) == (
        "failed",
        2,
        0,
        "DependencyFailedError",
    )
    text = cli("runs", "ls").stdout
    assert text.splitlines()[0].split() == ["run", "flow", "state", "jobs", "age", "took", "key", "error"]
    assert len(text.splitlines()) == 7
    assert cli("runs", "ls", "--flow", "none").stderr == "no runs\n"


def test_a_run_is_shown_with_its_jobs(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    run = failed_run(store, shop, key="bad")
    text = cli("runs", "show", run.id).stdout
    assert text.startswith(run.explain())
    assert "cli-payments  failed" in text
    for named in (["--key", "bad"], ["bad"]):
        assert cli("runs", "show", *named).stdout.startswith(run.explain())
    one = cli("runs", "show", run.id, "--job", "cli-charge").stdout
    assert "ValueError: [bold]cannot[/bold] charge \\x1b[31m-5 größe" in one
    assert "Traceback (most recent call last)" in one
    [document] = lines(cli("runs", "show", run.id, "--json"))
    assert [row["state"] for row in document["rows"]] == ["failed", "failed"]
    assert [attempt["outcome"] for attempt in document["rows"][0]["attempts"]] == ["failed", "failed"]
    assert "critical path" in cli("runs", "show", run.id, "--timeline").stdout
    assert cli("runs", "show", run.id[:6]).stdout.startswith(run.explain())
    assert cli("runs", "show", "f" * 32).exit_code == 1
    assert cli("runs", "show", run.id[:2]).exit_code == 1
    assert "did you mean 'cli-charge'?" in cli("runs", "show", run.id, "--job", "cli-chrage").stderr


def test_a_run_is_watched_to_its_end_and_cancelled(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    run = failed_run(store, shop)
    result = cli("runs", "watch", run.id, "--json")
    assert result.exit_code == 1
    assert [event["kind"] for event in lines(result)][-1] == "ended"
    assert "payment failed" in cli("runs", "watch", run.id).stderr
    held = flows.submit(shop.held(), executor=store)
    assert shop.begun.wait(60)
    assert f"{held.id} of held is being cancelled" in cli("runs", "cancel", held.id, "--reason", "closed").stderr
    shop.gate.set()
    assert held.wait("30s").state == "cancelled"
    assert "closed" in held.explain(held.jobs["cli-wait"])
    assert "has ended already" in cli("runs", "cancel", held.id).stderr


def test_a_run_is_retried_and_rerun(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    run = failed_run(store, shop)
    assert "is open again" in cli("runs", "retry", run.id).stderr
    assert run.state == "running"
    assert run.wait("30s").state == "failed"
    assert len(run.jobs["cli-charge"].attempts) == 4
    cli("runs", "retry", run.id, "--job", "cli-charge")
    run.wait("30s")
    good = flows.execute(shop.order("1"), executor=store)
    assert "nothing is left to do" in cli("runs", "retry", good.id).stderr
    cli("runs", "retry", good.id, "--rerun", "cli-load")
    assert good.wait("30s").value == ["1", "TEA", "POT"]
    assert len(good.jobs["cli-load"].attempts) == 2
    assert cli("runs", "retry", good.id, "--rerun", "cli-load", "--job", "cli-pack").exit_code == 2


def test_ended_runs_are_pruned_once_somebody_agrees(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    kept = [flows.execute(shop.order(str(n)), executor=store, key=f"k{n}") for n in range(3)]
    bad = failed_run(store, shop)
    held = flows.submit(shop.held(), executor=store)
    dry = cli("runs", "prune", "--state", "completed", "--keep", "1", "--dry-run", "--json")
    assert [run["id"] for run in lines(dry)] == [kept[0].id, kept[1].id]
    refused = cli("runs", "prune", "--keep", "0")
    assert refused.exit_code == 2
    assert "give --yes" in refused.stderr
    assert len(lines(cli("runs", "ls", "--json"))) == 5
    assert "2 runs removed" in cli("runs", "prune", "--state", "completed", "--keep", "1", "--yes").stderr
    assert "0 runs removed" not in cli("runs", "prune", "--older-than", "1h", "--yes").stderr
    assert {run["id"] for run in lines(cli("runs", "ls", "--json"))} == {kept[2].id, bad.id, held.id}
    cli("runs", "prune", "--keep", "0", "--yes")
    assert [run["id"] for run in lines(cli("runs", "ls", "--json"))] == [held.id]
    with pytest.raises(flows.ResultExpiredError):  # the key stays taken: its work is not done twice
        flows.get(key="k2", executor=store)
    assert kept[2].value == ["2", "TEA", "POT"]  # in memory whoever holds the run goes on reading it
    assert cli("runs", "prune", "--state", "running", "--yes").exit_code == 2


def test_queues_are_paused_resumed_and_drained(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    assert cli("queues").stderr == "no queues\n"
    assert "is paused" in cli("queues", "pause", "cli-slow").stderr
    held = flows.submit(shop.held(), executor=store)
    [queue] = lines(cli("queues", "--json"))
    assert (queue["queue"], queue["paused"], queue["waiting"], queue["active"]) == ("cli-slow", True, 1, 0)
    assert "queue cli-slow is paused" in held.explain("cli-wait")
    assert cli("queues", "ls").stdout.splitlines()[1].split() == ["cli-slow", "1", "0", "0", "0", "paused"]
    cli("queues", "resume", "cli-slow")
    assert shop.begun.wait(60)
    result = cli("queues", "drain", "cli-slow", "--timeout", "1ms")
    assert result.exit_code == 1
    assert "1 job still running" in result.stderr
    shop.gate.set()
    held.wait("30s")
    assert "is drained and paused" in cli("queues", "drain", "cli-slow").stderr
    later = flows.submit(shop.held(), executor=store)
    assert later.state == "running"
    cli("queues", "resume", "cli-slow")
    assert later.wait("30s").value == "done"


def test_dead_letters_are_listed_retried_and_dropped(cli: Cli, store: MemoryExecutor, shop: Any) -> None:
    assert cli("dead", "list").stderr == "no dead letters\n"
    first, second = failed_run(store, shop, -1), failed_run(store, shop, -2)
    letters = lines(cli("dead", "list", "--json"))
    assert [(one["run"], one["job"], one["data"]) for one in letters] == [
        (second.id, "cli-charge", {"cents": -2}),
        (first.id, "cli-charge", {"cents": -1}),
    ]
    assert letters[0]["error"]["type"] == "ValueError"
    assert lines(cli("dead", "list", "--json", "--queue", "cli-stock")) == []
    page = cli("dead", "list", "--limit", "1", "--data", "--traceback")
    assert "data: {'cents': -2}" in page.stdout
    assert "in charge" in page.stdout
    assert "--cursor" in page.stderr
    assert "1 dead letter dropped" in cli("dead", "drop", first.id).stderr
    assert [one["run"] for one in lines(cli("dead", "list", "--json"))] == [second.id]
    refused = cli("dead", "retry", "--queue", "cli-payments")
    assert refused.exit_code == 2
    assert "Retry 1 job of 1 run?" in refused.stderr
    cli("dead", "retry", "--queue", "cli-payments", "--yes")
    second.wait("30s")
    cli("dead", "retry", first.id, "cli-charge")
    first.wait("30s")  # it has failed anew, so it is listed anew
    assert {one["run"] for one in lines(cli("dead", "list", "--json"))} == {first.id, second.id}
    assert "2 dead letters dropped" in cli("dead", "drop", "--queue", "cli-payments", "--yes").stderr


def test_a_doctor_says_what_is_well(cli: Cli, store: MemoryExecutor) -> None:
    result = cli("doctor", "memory://")
    assert result.exit_code == 0
    assert "✓ ok" in result.stdout
    assert [check["status"] for check in lines(cli("doctor", "--json"))] == ["ok", "warn"]


def test_a_store_that_is_away_is_a_check_that_failed(
    cli: Cli, store: MemoryExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise flows.UnavailableError("connection refused")

    monkeypatch.setattr(MemoryExecutor, "doctor", away)
    result = cli("doctor", "--json")
    assert result.exit_code == 1
    assert lines(result)[0]["found"] == "connection refused"
    monkeypatch.setattr(MemoryExecutor, "runs", away)
    assert cli("runs", "ls").exit_code == 1


def test_the_beginning_of_an_id_must_be_that_of_one_run(
    cli: Cli, store: MemoryExecutor, shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter((0xABCD << 96 | 1, 0xABCD << 96 | 2))
    monkeypatch.setattr("flows._run_options.new_run_id", lambda: f"{next(numbers):032x}")
    runs = [flows.execute(shop.order(str(n)), executor=store) for n in range(2)]
    result = cli("runs", "show", runs[0].id[:8])
    assert result.exit_code == 1
    assert "2 runs begin with" in result.stderr
    assert cli("runs", "show", runs[0].id).exit_code == 0


def test_an_executor_without_the_verbs_says_which(store: MemoryExecutor) -> None:
    class Plain:
        def submit(self) -> None: ...
        def work(self) -> None: ...
        def runs(self) -> None: ...

    plain: Any = Plain()
    assert operator(plain, "runs") == plain
    with pytest.raises(flows.UnsupportedError, match=r"Plain cannot pause a queue, .*it has no pause_queue\(\)"):
        operator(plain, "runs", "pause_queue", "prune")
    with pytest.raises(flows.UnsupportedError, match="doctor"):
        operator(plain)
    assert operator(store) == store
