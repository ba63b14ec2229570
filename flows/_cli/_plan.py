"""``flows plan``: what would run, without running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows._cli import _screen
from flows._cli._options import Json, examples

if TYPE_CHECKING:
    from flows._plan import Plan

EXAMPLES: Final = examples(
    "flows plan app:order_flow",
    "flows plan app.py:order_flow --arg order_id=123",
    "flows plan app:order_flow --json | jq .critical_path",
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:FLOW",
        help="A module, by its dotted name or its file, and a flow, a flow function or a task in it. "
        "Without :FLOW, the only flow of the module.",
        show_default=False,
    ),
]
Args = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        "-a",
        metavar="NAME=VALUE",
        help="An argument of the flow's function; JSON where it is no plain value. May be repeated.",
        show_default=False,
    ),
]


def plan(target: Target, arg: Args = None, as_json: Json = False) -> None:
    """Show what a flow would run, and in which order."""
    from flows._cli._arguments import pairs
    from flows._cli._target import plan_of

    planned = plan_of(target, pairs(arg or ()))
    if as_json:
        _screen.document(plan_document(planned))
    else:
        _screen.out(planned.explain())


def plan_document(plan: Plan[Any]) -> dict[str, Any]:
    """The plan for programs: ``flow``, ``queues``, ``levels``, ``critical_path`` and ``jobs`` with what they wait for.

    ``fingerprint`` is null where the flow's data has no JSON form.
    """
    from flows.errors import DataError

    after: list[list[str]] = [[] for _ in range(len(plan))]
    for child, dependent, _ in plan.edges():
        after[dependent].append(plan.ids[child])
    try:
        fingerprint = plan.fingerprint
    except DataError:
        fingerprint = None
    jobs = [
        {
            "id": plan.ids[job],
            "task": plan.names[job],
            "queue": None if job in plan.lists else plan.queues_of[job],
            "after": after[job],
            "attempts": settings.attempts,
            "timeout": settings.timeout,
            "delay": settings.delay,
            "priority": settings.priority,
            "on_failure": settings.on_failure,
            "each": plan.lists[job].plan.ids if job in plan.lists else None,
            "conditional": job in plan.conditions,
        }
        for job, settings in enumerate(plan.settings)
    ]
    return {
        "flow": plan.name,
        "roots": [plan.ids[root] for root in plan.roots],
        "queues": plan.queues,
        "levels": plan.levels,
        "critical_path": plan.critical_path(),
        "fingerprint": fingerprint,
        "jobs": jobs,
    }
