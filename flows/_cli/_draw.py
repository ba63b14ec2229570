"""``flows draw``: a flow as a picture, in a file or as text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from flows._cli import _screen
from flows._cli._options import examples
from flows._cli._plan import Args, Target
from flows._cli._wrong import WrongCommandError

EXAMPLES: Final = examples(
    "flows draw app:order_flow -o flow.svg",
    "flows draw app.py:order_flow --arg order_id=7 --critical-path -o flow.png",
    "flows draw app:order_flow          Mermaid, for a ```mermaid block in a page",
)

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Where to write it; the name ends in .svg, .png, .pdf, .mmd (Mermaid) or .dot. "
        "Without it Mermaid goes to standard output.",
        show_default=False,
    ),
]
Critical = Annotated[bool, typer.Option("--critical-path", help="Mark the longest chain of jobs.")]
Unfold = Annotated[
    bool, typer.Option("--unfold", help="A box for each job; else jobs that are alike share one above 200.")
]


def draw(
    target: Target, arg: Args = None, output: Output = None, critical_path: Critical = False, unfold: Unfold = False
) -> None:
    """Draw what a flow would run."""
    from flows._cli._arguments import pairs
    from flows._cli._target import plan_of

    planned = plan_of(target, pairs(arg or ()))
    if output is None:
        _screen.out(planned.to_mermaid(critical_path=critical_path, unfold=unfold).rstrip())
        return
    try:
        planned.draw(output, critical_path=critical_path, unfold=unfold)
    except OSError as error:
        raise WrongCommandError(f"{output} cannot be written: {error.strerror or error}") from None
    _screen.say(f"wrote {output}")
