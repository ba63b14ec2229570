"""The options that several commands share, and the executor that they name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows._cli._wrong import WrongCommandError

if TYPE_CHECKING:
    from flows.executor import Executor
    from flows.operating import Operator, Verb

ExecutorUrl = Annotated[
    str | None,
    typer.Option(
        "--executor",
        "-e",
        metavar="URL",
        help="Where the runs live: sqlite:///shop.db, redis://host, ... Without it the variable FLOWS_EXECUTOR.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
RunId = Annotated[str | None, typer.Argument(metavar="RUN", help="The run's id.", show_default=False)]
Key = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="Name the run by its key instead.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show at most.")]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", metavar="TEXT", help="Where the page before ended.", show_default=False),
]


def examples(*lines: str) -> str:
    """The end of a help text: lines that can be typed as they stand."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def stored(url: str | None) -> str:
    """The URL of the executor whose runs are asked for.

    Raises:
        WrongCommandError: None was named, and those in memory are those of this very process.
    """
    named = url or os.environ.get("FLOWS_EXECUTOR")
    if not named:
        raise WrongCommandError(
            "which executor? Give its URL with --executor, or in the variable FLOWS_EXECUTOR; the default, memory://, "
            "keeps runs in the process that started them, and they cannot be seen from here"
        )
    return named


def operating(url: str | None, *verbs: Verb) -> Operator:
    """The operator's side of the executor that was named.

    Raises:
        WrongCommandError: None was named.
        UnsupportedError: It does not offer these verbs.
    """
    from flows.operating import operator

    return operator(stored(url), *verbs)


def chosen(url: str | None) -> Executor:
    """The executor that was named.

    Raises:
        WrongCommandError: None was named.
    """
    from flows._executors import executor_of

    return executor_of(stored(url))


def found(run_id: str | None, key: str | None, url: str | None) -> Any:
    """The run that was named.

    Raises:
        WrongCommandError: None was named, or both ways.
        UnknownRunError: The executor knows no such run.
    """
    import flows

    if (run_id is None) == (key is None):
        raise WrongCommandError("which run? Give its id, or its key with --key; `flows runs ls` lists them")
    return flows.get(run_id, key=key, executor=stored(url))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if somebody wants it.

    Raises:
        WrongCommandError: Nobody can be asked, and ``--yes`` was not given.
        typer.Exit: No.
    """
    import sys

    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise WrongCommandError(f"{question} Nobody can be asked here: give --yes")
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)
