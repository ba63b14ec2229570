"""The commands put together, and what their errors say and return."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import flows
from flows._cli import _dead, _doctor, _draw, _plan, _prune, _queues, _run, _runs, _screen, _worker
from flows._cli._options import examples
from flows._cli._wrong import WrongCommandError
from flows.errors import DefinitionError, FlowsError, MissingDependencyError, UnknownExecutorError

INTERRUPTED = 130
BROKEN_PIPE = 141
"""What a program has that was ended by SIGPIPE: a reader that has seen enough."""

_WRONG = (DefinitionError, UnknownExecutorError, MissingDependencyError, WrongCommandError)


class _Commands(TyperGroup):
    """The group of all commands: turns what they raise into a message and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except FlowsError as error:
            _tell(error)
            raise typer.Exit(2 if isinstance(error, _WRONG) else 1) from None
        except KeyboardInterrupt:
            _screen.say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            _screen.silence()
            raise typer.Exit(BROKEN_PIPE) from None
        return result


def _tell(error: FlowsError) -> None:
    _screen.say(f"flows: {error.message}", "bold red")
    detail = getattr(error, "detail", None)
    if detail:
        _screen.say(detail)


app = typer.Typer(
    name="flows",
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "flows plan app:order_flow             what would run, in which order",
        "flows draw app:order_flow -o a.svg    the same as a picture",
        "flows run app:order_flow              run it here, to its end",
        "flows worker app -e redis://host      work off what others submit",
        "flows runs ls -e redis://host         what runs, and what has run",
        "flows COMMAND --help                  more of each",
    ),
)


def _version(asked: bool) -> None:
    if asked:
        _screen.out(f"flows {flows.__version__}")
        raise typer.Exit


@app.callback()
def flows_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Flows of typed, checked jobs: plan them, run them, look after them."""


app.command("plan", epilog=_plan.EXAMPLES)(_plan.plan)
app.command("draw", epilog=_draw.EXAMPLES)(_draw.draw)
app.command("run", epilog=_run.EXAMPLES)(_run.run)
app.command("worker", epilog=_worker.EXAMPLES)(_worker.worker)
_runs.app.command("prune", epilog=_prune.EXAMPLES)(_prune.prune)
app.add_typer(_runs.app, name="runs")
app.add_typer(_queues.app, name="queues")
app.add_typer(_dead.app, name="dead")
app.command("doctor", epilog=_doctor.EXAMPLES)(_doctor.doctor)


def run() -> int:
    """Run the command of this process; returns the exit code."""
    _screen.prepare()
    try:
        app(prog_name="flows")
    except SystemExit as ended:
        return _flushed(ended.code)
    return 0


def _flushed(code: object) -> int:
    """The exit code, once what was written has gone out: at exit Python would complain of a reader that has left."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _screen.silence()
        return BROKEN_PIPE
    return code if isinstance(code, int) else 0 if code is None else 1
