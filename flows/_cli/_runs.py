"""``flows runs``: what runs and has run, and what can be done about it."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from flows._cli import _screen
from flows._cli._options import (
    Cursor,
    ExecutorUrl,
    Json,
    Key,
    Limit,
    RunId,
    examples,
    found,
    operating,
)
from flows._cli._screen import Column
from flows._cli._wrong import WrongCommandError
from flows._state import CONTROL_QUEUE
from flows._typeset import count, line, spell

if TYPE_CHECKING:
    from flows._run import Run
    from flows.operating import RunState, RunSummary

STATES: Final = ("running", "completed", "failed", "cancelled")

ROWS: Final = 200
"""Jobs that are listed where not all were asked for."""

LOGGED: Final = 20
"""Lines of a job's log that are shown; --json has all."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See runs, and cancel, retry or remove them.",
    epilog=examples(
        "flows runs ls -e redis://localhost --state failed",
        "flows runs show 5f0c -e redis://localhost",
        "flows runs retry --key order:123 -e sqlite:///shop.db",
    ),
)

StateOption = Annotated[
    str | None,
    typer.Option(
        "--state", "-s", metavar="STATE", help=f"Only those that are {', '.join(STATES)}.", show_default=False
    ),
]
FlowName = Annotated[
    str | None, typer.Option("--flow", metavar="NAME", help="Only those of this flow.", show_default=False)
]

_HEADS: Final = (
    Column("run"),
    Column("flow", least=8),
    Column("state", state=True),
    Column("jobs", right=True),
    Column("age", right=True),
    Column("took", right=True),
    Column("key", least=8),
    Column("error", least=10),
)


@app.command(
    "ls",
    epilog=examples(
        "flows runs ls -e sqlite:///shop.db",
        "flows runs ls --state failed --flow order_flow --limit 100",
        "flows runs ls --all --json | jq -r 'select(.state == \"failed\").id'",
    ),
)
def list_runs(
    executor: ExecutorUrl = None,
    state: StateOption = None,
    flow: FlowName = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")] = False,
    as_json: Json = False,
) -> None:
    """List runs, newest first.

    With --json one run a line: id, key, flow, state, submitted_at, ended_at, jobs, open, error.
    """
    from flows._cli._documents import summary_document

    operator = operating(executor, "runs")
    wanted = state_named(state)
    found_any = False
    while True:
        page = operator.runs(state=wanted, flow=flow, limit=limit, cursor=cursor)
        if as_json:
            for summary in page.runs:
                _screen.document(summary_document(summary))
        elif page.runs:
            show_summaries(page.runs)
        found_any, cursor = found_any or bool(page.runs), page.cursor
        if cursor is None or not everything:
            break
    if not found_any and not as_json:
        _screen.say("no runs")
    if cursor is not None:
        _screen.say(f"there are more: --cursor '{cursor}', or --all", "dim")


@app.command(
    "show",
    epilog=examples("flows runs show 5f0c -e redis://localhost", "flows runs show --key order:123 --job charge"),
)
def show(
    run: RunId = None,
    executor: ExecutorUrl = None,
    key: Key = None,
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="This job only, with attempts, logs and error.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help=f"List all jobs, and not only {ROWS}.")] = False,
    timeline: Annotated[bool, typer.Option("--timeline", help="Show where the time went.")] = False,
    as_json: Json = False,
) -> None:
    """Show a run: how far it is, its jobs, and why it ended so.

    With --json one document: what `flows run --json` writes, and in "rows" every job with its attempts and logs.
    """
    from flows._cli._documents import row_document, run_document

    handle = found(run, key, executor)
    table = handle.table()
    if as_json:
        rows = [row for row in table.rows if job is None or row.job == job]
        views = [(row, handle.jobs[row.job]) for row in rows]
        documents = [row_document(row, view.attempts, view.logs) for row, view in views]
        _screen.document(run_document(handle) | {"rows": documents})
    elif job is not None:
        _show_job(handle, job)
    else:
        _screen.out(handle.explain())
        _screen.out()
        _show_rows(table.rows if everything else table.rows[:ROWS])
        if len(table) > ROWS and not everything:
            _screen.say(f"there are {count(len(table) - ROWS, 'more job')}: --all", "dim")
        if timeline:
            columns = min(_screen.columns(sys.stdout), 120)
            _screen.out()
            _screen.out(handle.timeline().text(width=columns))


@app.command(
    "watch",
    epilog=examples("flows runs watch 5f0c -e redis://localhost", "flows runs watch --key order:123 --json"),
)
def watch(
    run: RunId = None,
    executor: ExecutorUrl = None,
    key: Key = None,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show tracebacks in full.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a run until it has ended, wherever it goes on.

    Ctrl-C only stops the watching. The exit code is 0 if the run completed, else 1. With --json one event a line:
    kind, at, job, attempt, detail.
    """
    from flows._cli._documents import event_document
    from flows._cli._ending import ending, exit_code
    from flows._cli._follow import answered, events
    from flows._cli._live import shown
    from flows._watch import await_end

    handle = found(run, key, executor)
    if as_json:
        for event in events(handle._record):
            _screen.document(event_document(event))
            sys.stdout.flush()
    else:
        with shown(handle._record):
            answered(lambda: await_end(handle._record), threading.Event())
        ending(handle, executor, whole=traceback)
    raise typer.Exit(exit_code(handle))


@app.command(
    "cancel",
    epilog=examples("flows runs cancel 5f0c -e redis://localhost --reason 'wrong prices'"),
)
def cancel(
    run: RunId = None,
    executor: ExecutorUrl = None,
    key: Key = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; shown with the run and its jobs.", show_default=False)
    ] = "cancelled on the command line",
) -> None:
    """Cancel a run. What has not started will not, what runs is told to stop."""
    handle = found(run, key, executor)
    if handle.state != "running":
        _screen.say(f"run {handle.id} has ended already: {handle.state}")
        return
    handle.cancel(reason)
    if handle.state == "running":
        _screen.say(f"run {handle.id} of {line(handle.name)} is being cancelled; handlers that run are told to stop")
    else:
        _screen.say(f"run {handle.id} of {line(handle.name)} is {handle.state}")


@app.command(
    "retry",
    epilog=examples(
        "flows runs retry 5f0c -e redis://localhost",
        "flows runs retry --key order:123 --job charge_payment",
        "flows runs retry 5f0c --rerun load        load and all after it",
    ),
)
def retry(
    run: RunId = None,
    executor: ExecutorUrl = None,
    key: Key = None,
    job: Annotated[
        str | None, typer.Option("--job", metavar="JOB", help="Begin with this one only.", show_default=False)
    ] = None,
    rerun: Annotated[
        str | None,
        typer.Option("--rerun", metavar="JOB", help="Do this job and all that follows it again.", show_default=False),
    ] = None,
) -> None:
    """Do again what failed or was cancelled in an ended run.

    What that had stopped is done, too, and nothing that completed. Run, key and idempotency keys stay the same.
    """
    if job is not None and rerun is not None:
        raise WrongCommandError("--job and --rerun are two different things; give one of them")
    handle = found(run, key, executor)
    for name in (job, rerun):
        if name is not None:
            _known(handle, name)
    if rerun is not None:
        handle.rerun(rerun)
    else:
        handle.retry(job)
    tell_reopened(handle)


def state_named(text: str | None) -> RunState | None:
    """A state of runs by its name.

    Raises:
        WrongCommandError: There is no such state.
    """
    if text is not None and text not in STATES:
        from flows._names import nearest

        near = nearest(text, STATES)
        raise WrongCommandError(
            f"--state {text}: runs are {', '.join(STATES)}" + (f"; did you mean {near[0]}?" if near else "")
        )
    return cast("RunState | None", text)


def show_summaries(runs: Any) -> None:
    """Runs as a table."""
    _screen.table(_HEADS, [_cells(summary) for summary in runs])


def tell_reopened(handle: Run[Any]) -> None:
    """Say what becomes of a run that is to be done again."""
    if handle.state != "running":
        _screen.say(f"run {handle.id}: nothing is left to do, it is {handle.state}")
    elif handle._executor.embedded:
        _screen.say(
            f"run {handle.id} is open again; it goes on as soon as a process works on it: `flows worker`, or its "
            "flow executed under its key"
        )
    else:
        _screen.say(f"run {handle.id} is open again; workers take it up")


def _known(handle: Run[Any], job: str) -> None:
    from flows._names import nearest

    if job not in handle.jobs:
        near = nearest(job, handle.jobs)
        raise WrongCommandError(f"the run has no job {job!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def _show_job(handle: Run[Any], job: str) -> None:
    from flows._cli._ending import trace_lines

    _known(handle, job)
    view = handle.jobs[job]
    _screen.out(handle.explain(view))
    if view.error is not None and view.error.traceback:
        _screen.out()
        for text in trace_lines(view.error.traceback):
            _screen.out(line(text))
    logs = view.logs
    if logs:
        _screen.out()
        _screen.out(f"log, {count(len(logs), 'line')}:" if len(logs) <= LOGGED else f"log, last {LOGGED} lines:")
        for text in logs[-LOGGED:]:
            _screen.out(f"  {line(text)}")


def _show_rows(rows: Any) -> None:
    heads = (
        Column("job", least=12),
        Column("queue", least=6),
        Column("state", state=True),
        Column("tries", right=True),
        Column("took", right=True),
        Column("what", least=10),
    )
    cells = [
        (
            row.job,
            "" if row.queue == CONTROL_QUEUE else row.queue,
            row.state,
            row.attempts or "",
            "" if row.seconds is None else spell(row.seconds),
            row.what,
        )
        for row in rows
    ]
    _screen.table(heads, cells)


def _cells(run: RunSummary) -> tuple[object, ...]:
    from datetime import UTC, datetime

    age = (datetime.now(UTC) - run.submitted_at).total_seconds()
    took = "" if run.ended_at is None else spell((run.ended_at - run.submitted_at).total_seconds())
    error = "" if run.error is None else f"{run.error.type}: {run.error.message}".removesuffix(": ")
    jobs = f"{run.jobs - run.open:,}/{run.jobs:,}"
    return _screen.short(run.id), run.flow, run.state, jobs, spell(age), took, run.key, error
