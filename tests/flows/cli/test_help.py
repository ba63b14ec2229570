"""A stranger finds the way: every command says what it does, with a line to copy."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from flows._cli._app import app
from tests.flows.cli.conftest import Cli


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


EVERY = list(commands(typer.main.get_command(app)))


def test_the_commands_are_those_of_the_contract() -> None:
    named = {" ".join(path) for path in EVERY}
    runs = {f"runs {name}" for name in ("ls", "show", "watch", "cancel", "retry", "prune")}
    queues = {f"queues {name}" for name in ("pause", "resume", "drain")}
    dead = {f"dead {name}" for name in ("list", "retry", "drop")}
    assert {"plan", "draw", "run", "worker", "doctor", "queues", *runs, *queues, *dead} <= named


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_help_has_an_example_fits_a_terminal_and_says_in_a_line_what_it_does(
    cli: Cli, path: tuple[str, ...]
) -> None:
    result = cli(*path, "--help")
    assert result.exit_code == 0
    start = result.stdout.index("Examples:")
    assert "\n    flows " in result.stdout[start:]
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "\x1b" not in result.stdout
    _, _, listed = result.stdout.partition("Commands:\n")
    rows = listed.partition("\n\n")[0].splitlines()
    assert not [row for row in rows if row.endswith("...")]  # a summary that was cut


def test_without_anything_the_help_is_shown(cli: Cli) -> None:
    assert "Commands:" in cli().output
    assert "Commands:" in cli("runs").output


def test_the_version_is_shown(cli: Cli) -> None:
    import flows

    assert cli("--version").stdout == f"flows {flows.__version__}\n"


@pytest.mark.parametrize(
    "args", [("rnu",), ("run",), ("runs", "ls", "--limit", "0"), ("plan", "a", "b"), ("worker",), ("run", "a", "--no")]
)
def test_a_wrong_command_line_ends_with_2(cli: Cli, args: tuple[str, ...]) -> None:
    assert cli(*args).exit_code == 2
