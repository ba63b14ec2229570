"""A command line in this process, over a store of its own, in a folder with modules."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import flows
from executors.memory import MemoryExecutor
from flows import _executors
from flows._cli._app import app
from tests.flows.cli import shop as _shop

URL = "memory://?concurrency=4"

Cli = Callable[..., Result]

COMMAND = typer.main.get_command(app)
"""Put together once, which takes longer than most commands."""


@pytest.fixture
def shop() -> Any:
    _shop.gate.clear()
    _shop.begun.clear()
    yield _shop
    _shop.gate.set()


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryExecutor:
    """The executor that `FLOWS_EXECUTOR` names in the test, with runs of its own."""
    own = MemoryExecutor("memory://?private=1&concurrency=4")
    monkeypatch.setitem(_executors._shared, URL, own)
    monkeypatch.setenv("FLOWS_EXECUTOR", URL)
    return own


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Cli]:
    """Calls the command in an empty folder; sys.path and sys.modules are as before afterwards."""
    monkeypatch.setattr("typer.testing._get_command", lambda _: COMMAND)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("NO_COLOR", raising=False)
    before = set(sys.modules)

    def call(*args: str, given: str | None = None) -> Result:
        return CliRunner().invoke(app, list(args), input=given, prog_name="flows")

    yield call
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def lines(result: Result) -> list[Any]:
    """The JSON lines of an output."""
    return [json.loads(text) for text in result.stdout.splitlines()]


def failed_run(store: MemoryExecutor, shop: Any, cents: int = -5, key: str | None = None) -> flows.Run[Any]:
    return flows.execute(shop.payment(cents), executor=store, key=key, check=False)
