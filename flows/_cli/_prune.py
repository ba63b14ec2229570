"""``flows runs prune``: ended runs removed before their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows._cli import _screen
from flows._cli._options import ExecutorUrl, Json, Yes, confirm, examples, operating
from flows._cli._runs import FlowName, StateOption, show_summaries, state_named
from flows._cli._wrong import WrongCommandError
from flows._typeset import count

if TYPE_CHECKING:
    from datetime import datetime

    from flows.operating import RunSummary

EXAMPLES: Final = examples(
    "flows runs prune --older-than 7d --state completed --dry-run",
    "flows runs prune --keep 1000 --yes     the newest 1,000 of each flow stay",
)


def prune(
    executor: ExecutorUrl = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Only runs that ended so long ago.", show_default=False),
    ] = None,
    state: StateOption = None,
    flow: FlowName = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", min=0, metavar="N", help="Spare the newest N of each flow.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Remove ended runs before their retention would. Keys stay taken for their time.

    With --json one removed run a line, as in `flows runs ls`.
    """
    from flows._duration import seconds

    if older_than is None and state is None and flow is None and keep is None:
        raise WrongCommandError(
            "which runs? Give --older-than, --state, --flow or --keep; --keep 0 means all that ended"
        )
    if state_named(state) == "running":
        raise WrongCommandError("a run that goes on cannot be removed; `flows runs cancel` ends it")
    operator = operating(executor, "prune")
    criteria: dict[str, Any] = {"state": state, "flow": flow, "keep": keep}
    criteria["older_than"] = None if older_than is None else seconds(older_than, "--older-than")
    first = operator.prune(**criteria, dry_run=True)
    if not first.runs or dry_run:
        _show_pruned(first.runs, more=first.more, as_json=as_json, would=True)
        return
    least = f"{len(first.runs):,} or more runs" if first.more else count(len(first.runs), "run")
    confirm(f"Remove {least}, submitted between {_day(first.runs[0])} and {_day(first.runs[-1])}?", yes=yes)
    removed: list[RunSummary] = []
    more = True
    while more:
        pruned = operator.prune(**criteria)
        removed += pruned.runs
        more = pruned.more and bool(pruned.runs)
    _show_pruned(removed, more=False, as_json=as_json, would=False)


def _show_pruned(runs: Any, *, more: bool, as_json: bool, would: bool) -> None:
    from flows._cli._documents import summary_document

    if as_json:
        for summary in runs:
            _screen.document(summary_document(summary))
        return
    if would and runs:
        show_summaries(runs[:20])
    number = f"{len(runs):,} or more runs" if more else count(len(runs), "run")
    _screen.say(f"{number} would be removed" if would else f"{number} removed")


def _day(run: RunSummary) -> str:
    submitted: datetime = run.submitted_at
    return f"{submitted.astimezone():%Y-%m-%d %H:%M}"
