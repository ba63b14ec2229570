"""The command line over a server: what operators see of a fleet, and workers that are told to stop."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest
from typer.testing import CliRunner, Result

import flows
from executors.redis import RedisExecutor
from flows._cli._app import app
from tests.executors.redis.servers import Server

ROOT = Path(__file__).resolve().parents[3]
QUEUE = "redis-cli"
SOON = 20.0
MODULE = '''
"""Tasks for a worker of its own."""
import sys
import flows

@flows.task(name="redis-cli-hold", queue="redis-cli")
def hold() -> str:
    print("holding", flush=True)
    sys.stdin.readline()
    return "done"
'''


@flows.task(name="redis-cli-charge", queue=QUEUE)
def charge(cents: int) -> int:
    if cents < 0:
        raise ValueError(f"cannot charge {cents}")
    return cents


@pytest.fixture
def executor(valkey: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisExecutor]:
    """A fleet of one worker."""
    monkeypatch.setenv("FLOWS_EXECUTOR", valkey.url)
    one = RedisExecutor(valkey.url)
    with flows.Worker(one, queues=[QUEUE], concurrency=2, grace=1):
        yield one
    one.close()


def cli(*args: str) -> Result:
    return CliRunner().invoke(app, list(args), prog_name="flows")


def lines(result: Result) -> list[Any]:
    return [json.loads(text) for text in result.stdout.splitlines()]


def test_a_run_is_waited_for_although_the_server_is_away_for_a_while(
    executor: RedisExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait, failures = flows.Run.wait, [flows.UnavailableError("no answer in time")]

    def interrupted(run: flows.Run[Any], timeout: float | None = None) -> flows.Run[Any]:
        if failures:
            raise failures.pop()
        return wait(run, timeout)

    monkeypatch.setattr(flows.Run, "wait", interrupted)
    result = cli("run", f"{__name__}:charge", "--arg", "cents=3")
    assert (result.exit_code, result.stdout, failures) == (0, "3\n", [])


def test_a_doctor_examines_the_server(executor: RedisExecutor) -> None:
    result = cli("doctor", "--json")
    found = {check["check"]: check["status"] for check in lines(result)}
    assert result.exit_code == (1 if "fail" in found.values() else 0)
    assert found["reachable"] == "ok"
    gone = cli("doctor", "redis+unix:///nowhere/s.sock?connect_timeout=1", "--json")
    assert gone.exit_code in (1, 2)


def test_runs_and_dead_letters_are_listed_and_tried_again(executor: RedisExecutor) -> None:
    good = flows.execute(charge(5), executor=executor)
    bad = flows.execute(charge(-5), executor=executor, check=False)
    assert [(run["id"], run["state"]) for run in lines(cli("runs", "ls", "--json"))] == [
        (bad.id, "failed"),
        (good.id, "completed"),
    ]
    assert "cannot charge -5" in cli("runs", "show", bad.id, "--job", "redis-cli-charge").stdout
    [letter] = lines(cli("dead", "list", "--json"))
    assert (letter["run"], letter["job"], letter["data"]) == (bad.id, "redis-cli-charge", {"cents": -5})
    cli("dead", "retry", bad.id, "redis-cli-charge")
    bad.wait(SOON)
    assert bad.state == "failed"
    assert len(bad.jobs["redis-cli-charge"].attempts) == 2
    assert "1 dead letter dropped" in cli("dead", "drop", bad.id).stderr
    assert lines(cli("dead", "list", "--json")) == []


def test_a_queue_is_paused_and_resumed(executor: RedisExecutor) -> None:
    assert "is paused" in cli("queues", "pause", QUEUE).stderr
    held = flows.submit(charge(1), executor=executor)
    [queue] = [one for one in lines(cli("queues", "--json")) if one["queue"] == QUEUE]
    assert (queue["paused"], queue["waiting"], queue["active"]) == (True, 1, 0)
    cli("queues", "resume", QUEUE)
    assert held.wait(SOON).value == 1
    assert "no job, limit or worker of such a queue" in cli("queues", "pause", "paymnets").stderr


@contextmanager
def worker(url: str, folder: Path, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    (folder / "held_tasks.py").write_text(MODULE)
    command = [sys.executable, "-m", "flows", "worker", "held_tasks.py", "-e", url, "--grace", "20s", *flags]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def until(stream: IO[str] | None, text: str) -> None:
    assert stream is not None
    for line in stream:
        if text in line:
            return
    pytest.fail(f"{text!r} was never said")


@pytest.mark.slow
@pytest.mark.parametrize("patient", [True, False])
def test_a_worker_that_is_told_to_stop(valkey: Server, tmp_path: Path, patient: bool) -> None:
    """Once: the handler may end. Twice: it quits at once, and the job is left to others."""
    executor = RedisExecutor(valkey.url)
    run = flows.submit(flows.Job("redis-cli-hold", queue=QUEUE), executor=executor)
    with worker(valkey.url, tmp_path) as process:
        until(process.stdout, "holding")
        process.send_signal(signal.SIGTERM)
        until(process.stdout, " drains")
        if patient:
            assert process.stdin is not None
            process.stdin.write("on\n")
            process.stdin.flush()
        else:
            process.send_signal(signal.SIGTERM)
        code = process.wait(SOON)
    assert (code, run.state) == ((0, "completed") if patient else (128 + signal.SIGTERM, "running"))
    executor.close()


@pytest.mark.slow
def test_a_worker_that_is_developed_is_started_anew_when_its_tasks_change(valkey: Server, tmp_path: Path) -> None:
    executor = RedisExecutor(valkey.url)
    with worker(valkey.url, tmp_path, "--reload", "--name", "developed", "--log-json") as process:
        until(process.stdout, "serves redis-cli")
        command = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0]
        assert valkey.url not in Path(f"/proc/{command}/cmdline").read_text()  # others may read it
        (tmp_path / "held_tasks.py").write_text(MODULE.replace("sys.stdin.readline()", "").replace("done", "anew"))
        until(process.stdout, "held_tasks.py has changed; starting anew")
        until(process.stdout, "serves redis-cli")
        run = flows.execute(flows.Job("redis-cli-hold", queue=QUEUE), executor=executor)
        assert (run.value, run.jobs["redis-cli-hold"].worker) == ("anew", "developed")
        told: dict[str, Any] = {}
        while told.get("message", "").partition(" in ")[0] != "redis-cli-hold completed":
            assert process.stdout is not None
            line = process.stdout.readline()
            told = json.loads(line) if line.startswith("{") else {}
        assert (told["run"], told["job"], told["queue"], told["level"]) == (run.id, "redis-cli-hold", QUEUE, "info")
        assert told["seconds"] >= 0
        process.send_signal(signal.SIGINT)
        assert process.wait(SOON) == 0
    executor.close()
