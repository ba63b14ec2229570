"""The options that several commands share, and the executor that they name."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows._cli._wrong import WrongCommandError

if TYPE_CHECKING:
    from flows._run import Run
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
RunId = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="The run's id, the beginning of one, or its key.", show_default=False),
]
Key = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="Name the run by its key instead.", show_default=False)
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many to show at most.")]
Cursor = Annotated[
    str | None,
    typer.Option("--cursor", metavar="TEXT", help="Where the page before ended.", show_default=False),
]

SHORTEST: Final = 4
NEWEST: Final = 1_000
"""Among so many runs the beginning of an id is looked for."""

PAGE: Final = 250


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


def existing(url: str | None) -> str:
    """As `stored`, for those who look at what is there: nothing is made.

    Raises:
        WrongCommandError: No executor was named.
        UnavailableError: The URL is of a store that would only come to be by being used.
    """
    from flows._executors import check_there

    named = stored(url)
    if logging.lastResort is not None:  # whoever looks need not be told each time what `flows doctor` and workers say
        logging.lastResort.addFilter(_is_news)
    check_there(named)
    return named


def _is_news(record: logging.LogRecord) -> bool:
    return getattr(record, "about", None) != "persistence"


def operating(url: str | None, *verbs: Verb) -> Operator:
    """The operator's side of the executor that was named.

    Raises:
        WrongCommandError: None was named.
        UnsupportedError: It does not offer these verbs.
        UnavailableError: It is not there.
    """
    from flows.operating import operator

    return operator(existing(url), *verbs)


def found(run_id: str | None, key: str | None, url: str | None) -> Run[Any]:
    """The run that was named, by its id, the beginning of one, or its key.

    Raises:
        WrongCommandError: None was named, or in two ways.
        UnknownRunError: The executor knows no such run, or several that begin so.
    """
    import flows

    if (run_id is None) == (key is None):
        raise WrongCommandError("which run? Give its id, or its key with --key; `flows runs ls` lists them")
    named = existing(url)
    try:
        return flows.get(run_id, key=key, executor=named)
    except flows.UnknownRunError:
        whole = None if run_id is None or len(run_id) < SHORTEST else _whole(run_id, named)
        if whole is not None:
            return flows.get(whole, executor=named)
        if run_id is None:
            raise
        try:  # as `flows.resume` does; ids and keys are not mistaken
            return flows.get(key=run_id, executor=named)
        except flows.UnknownRunError:
            raise flows.UnknownRunError(
                f"no run here has the id or the key {run_id!r}, or an id that begins so; `flows runs ls` lists them"
            ) from None


def _whole(beginning: str, url: str) -> str | None:
    """The id of the only one of the newest runs that begins so; None where none does, or they are not listed."""
    from flows.errors import UnknownRunError, UnsupportedError
    from flows.operating import operator

    try:
        listing = operator(url, "runs")
    except UnsupportedError:
        return None
    matches: list[str] = []
    cursor, looked_at = None, 0
    while looked_at < NEWEST:
        page = listing.runs(limit=PAGE, cursor=cursor)
        matches += [run.id for run in page.runs if run.id.startswith(beginning)]
        cursor, looked_at = page.cursor, looked_at + PAGE
        if cursor is None:
            break
    if len(matches) > 1:
        raise UnknownRunError(f"{len(matches)} runs begin with {beginning!r}; give more of the id")
    return matches[0] if matches else None


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
