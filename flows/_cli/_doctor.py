"""``flows doctor``: whether an executor is fit for work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows._cli import _screen
from flows._cli._options import Json, examples, stored

if TYPE_CHECKING:
    from flows.operating import Check

EXAMPLES: Final = examples(
    "flows doctor redis://localhost:6379/0",
    "flows doctor sqlite:///shop.db",
    "flows doctor redis://localhost --json | jq 'select(.status != \"ok\")'",
)

_FILE: Final = "check the path, and who may read and write there"
_SERVER: Final = "start it, or check the URL: host, port and password"
_SIGNS: Final = {"ok": "✓", "warn": "○", "fail": "✗"}


def doctor(
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", help="The executor. Without it the variable FLOWS_EXECUTOR.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Examine an executor: is it fit for work?

    Looked at are, by its kind, whether it can be reached and how fast, its version, what it keeps and for how long.
    The exit code is 1 if a check fails; warnings do not count. With --json one check a line: check, status
    (ok, warn or fail), found, remedy.
    """
    from flows._cli._documents import check_document

    named = stored(url)
    checks = _checks(named)
    if as_json:
        for check in checks:
            _screen.document(check_document(check))
    else:
        _show(named, checks)
    raise typer.Exit(1 if any(check.status == "fail" for check in checks) else 0)


def _checks(url: str) -> Sequence[Check]:
    from flows._executors import check_there, made_by_use
    from flows.errors import UnavailableError
    from flows.operating import Check, operator

    try:
        check_there(url)
        return operator(url, "doctor").doctor()
    except UnavailableError as error:
        remedy = _FILE if made_by_use(url) else _SERVER
        return [Check("reachable", "fail", str(error), remedy)]


def _show(url: str, checks: Sequence[Check]) -> None:
    from flows._executors import masked

    _screen.out(masked(url), "bold")
    widest = max((len(check.name) for check in checks), default=0)
    for check in checks:
        text = _screen.styled(f"{_SIGNS[check.status]} {check.status:<4}", _screen.STYLES[check.status])
        _screen.out_text(text.append(f"  {check.name:<{widest}}  {check.found}", style="default"))
        if check.remedy:
            _screen.paragraph(check.remedy, widest + 10, "dim")
