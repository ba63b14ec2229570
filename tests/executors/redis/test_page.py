"""docs/running-on-redis.md: what it has an operator type is what the command line, the URL and the server take."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import flows
from executors.redis._doctor import examine
from executors.redis._url import OPTIONS, parse
from flows._cli._app import app
from tests.executors.redis.servers import server

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "running-on-redis.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def block(word: str) -> str:
    (found,) = [text for text in BLOCKS if word in text]
    return str(found)


def commands() -> list[list[str]]:
    """How the page starts workers: in a shell, by systemd, in a container."""
    (shell,) = re.findall(r"^\$ flows (.*)$", PAGE, re.MULTILINE)
    (unit,) = re.findall(r"^ExecStart=/opt/shop/.venv/bin/flows (.*)$", block("[Unit]"), re.MULTILINE)
    (container,) = re.findall(r"^CMD (.*)$", block("FROM python"), re.MULTILINE)
    return [shlex.split(shell), shlex.split(unit), json.loads(container)[1:]]


def test_its_workers_can_be_started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[dict[str, Any]] = []

    class Stand:
        def __init__(self, **given: Any) -> None:
            made.append(given)

        def run(self) -> int:
            return 0

    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tasks.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flows, "Worker", Stand, raising=False)
    monkeypatch.setenv("FLOWS_EXECUTOR", "redis://of-the-environment")
    for args in commands():
        done = CliRunner().invoke(app, args)
        assert done.exit_code == 0, done.output
    assert [one["queues"] for one in made] == [["payments", "email"]] * 3
    assert [one["executor"] for one in made[1:]] == ["redis://of-the-environment"] * 2


def test_whoever_ends_a_worker_waits_longer_than_its_grace() -> None:
    unit = dict(line.split("=", 1) for line in block("[Unit]").splitlines() if "=" in line)
    assert int(unit["TimeoutStopSec"]) > int(unit["ExecStart"].partition("--grace ")[2].removesuffix("s"))
    (grace,) = re.findall(r'"--grace", "(\d+)s"', PAGE)
    (period,) = re.findall(r"terminationGracePeriodSeconds: (\d+)", PAGE)
    assert int(period) > int(grace)


def test_its_urls_mean_something_and_no_option_is_missing() -> None:
    listed = re.findall(r"^\| `([a-z+]+://[^`]*)` \|", PAGE, re.MULTILINE)
    assert len(listed) == 5
    for url in listed:
        parse(url, {"REDIS_HOST": "localhost"})
    parse("redis://host?namespace=shop&lease=10s", {})
    cells = re.findall(r"^\| (`[a-z_]+=.*?) \|", PAGE, re.MULTILINE)
    told = {name for cell in cells for name in re.findall(r"`([a-z_]+)=", cell)}
    assert told == set(OPTIONS)


def test_the_doctor_is_content_with_the_settings() -> None:
    settings = dict(line.split() for line in block("maxmemory-policy").splitlines())
    with server(**{name.replace("-", "_"): value for name, value in settings.items()}) as one:
        assert {finding.status for finding in examine(parse(one.url))} == {"ok"}
