"""``flows run``: a flow, to its end or handed over."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows._cli import _screen
from flows._cli._options import ExecutorUrl, Json, examples
from flows._cli._plan import Args, Target
from flows._cli._wrong import WrongCommandError

if TYPE_CHECKING:
    from flows._plan import Plan
    from flows._run import Run
    from flows.executor import Executor

EXAMPLES: Final = examples(
    "flows run app:order_flow",
    "flows run app.py:order_flow --arg order_id=123 --timeout 5m",
    "flows run app:order_flow -e sqlite:///shop.db --key order:123",
    "flows run app:order_flow -e redis://localhost --detach",
    "flows run app:order_flow --json | jq .value",
)

_GRACE_SECONDS: Final = 30.0
"""How long running handlers may take to end once the command was interrupted."""


def run(
    target: Target,
    arg: Args = None,
    executor: ExecutorUrl = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="Names the run: the same key again is the same run.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(
            "--timeout", metavar="TIME", help="Cancel the run after that long: 30s, 5m, 1h30m.", show_default=False
        ),
    ] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Hand the run over, write its id, and do not wait.")
    ] = False,
    as_json: Json = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show tracebacks in full.")] = False,
) -> None:
    """Run a flow, show how it goes on, and write its value.

    Without --executor it runs in this process. The value goes to standard output, everything else to standard
    error. The exit code is 0 if the flow completed, 1 if it failed or was cancelled, 2 if it is wrong and was not
    run. Ctrl-C cancels the run; one in a file stays open, and the same command with its --key goes on with it.
    """
    import flows
    from flows._cli._arguments import pairs
    from flows._cli._documents import run_document
    from flows._cli._ending import ending, exit_code, is_memory
    from flows._cli._target import plan_of

    if detach and is_memory(executor):
        raise WrongCommandError("--detach needs an executor that keeps the run, as in --executor sqlite:///shop.db")
    planned = plan_of(target, pairs(arg or ()))
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():  # handlers may print
        if detach:
            handle = flows.submit(planned, executor=executor, key=key, timeout=timeout)
        else:
            handle = _attended(planned, executor, key, timeout)
    if detach:
        _screen.document(run_document(handle)) if as_json else _screen.out(handle.id)
        return
    if as_json:
        _screen.document(run_document(handle))
    elif exit_code(handle) == 0:
        _show_value(handle)
    ending(handle, executor, whole=traceback)
    raise typer.Exit(exit_code(handle))


def _attended(plan: Plan[Any], executor: str | None, key: str | None, timeout: str | None) -> Run[Any]:
    """Hand a run over, wait for it, and show it meanwhile; an interrupt cancels it, unless it is others' or in a file.

    Raises:
        KeyboardInterrupt: After the run has ended, or at a second interrupt.
    """
    from flows._api import _prepared
    from flows._cli._follow import answered
    from flows._cli._live import shown
    from flows._run import Run

    chosen, _, asked = _prepared(plan, executor, key, {"timeout": timeout})
    seen_to = False
    try:
        handle: Run[Any] = Run(chosen, chosen.submit(plan, asked, background=True), plan)
        with shown(handle._record, joined=handle.id != asked.run_id):
            try:
                if chosen.embedded:
                    handle.wait()
                else:  # its workers go on; the view says that it is away
                    answered(handle.wait, threading.Event(), aloud=False)
            except KeyboardInterrupt:
                seen_to = True
                if _cancelled(chosen, asked.run_id):
                    with contextlib.suppress(TimeoutError):
                        handle.wait(_GRACE_SECONDS)
                raise
    except KeyboardInterrupt:
        if not seen_to:  # it came before anybody waited
            _cancelled(chosen, asked.run_id)
        raise
    return handle


def _cancelled(chosen: Executor, run_id: str) -> bool:
    """Cancel the run of that id, if this command has begun it, it goes on and it ends here; says whether it did."""
    record = chosen.find(run_id=run_id)
    if record is None or record.ended:
        return False
    if getattr(chosen, "resumes", False):  # as `flows.execute` leaves it
        _screen.say(f"the run {run_id} stays open, to be gone on with; `flows runs cancel` ends it")
        return False
    _screen.say("cancelling the run; again to leave at once")
    chosen.cancel(record, "interrupted on the command line")
    return True


def _show_value(handle: Run[Any]) -> None:
    import json

    from flows._codec import jsonable
    from flows.errors import DataError, NoValueError

    try:
        value = handle.value
    except NoValueError as error:  # the root was skipped
        _screen.say(error)
        return
    if value is None:
        return
    try:
        text = value if isinstance(value, str) else json.dumps(jsonable(value, "value"), ensure_ascii=False, indent=2)
    except DataError:
        text = repr(value)
    _screen.value(text)
