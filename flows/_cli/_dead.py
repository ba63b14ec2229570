"""``flows dead``: what failed for good, over all runs, and seeing to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows._cli import _screen
from flows._cli._options import (
    Cursor,
    ExecutorUrl,
    Json,
    Limit,
    Yes,
    confirm,
    examples,
    found,
    operating,
)
from flows._cli._runs import FlowName, tell_reopened
from flows._cli._screen import Column
from flows._cli._wrong import WrongCommandError
from flows._typeset import count, line

if TYPE_CHECKING:
    from flows._run import Run
    from flows.operating import DeadJob, Operator

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="See what failed for good, by itself, and retry or drop it.",
    epilog=examples(
        "flows dead list -e redis://localhost",
        "flows dead retry --queue payments --yes      once it works again",
    ),
)

QueueName = Annotated[
    str | None, typer.Option("--queue", "-q", metavar="NAME", help="Only those of this queue.", show_default=False)
]
Run_ = Annotated[str | None, typer.Argument(metavar="RUN", help="The run that they are of.", show_default=False)]
Jobs = Annotated[list[str] | None, typer.Argument(metavar="JOB", help="These jobs only.", show_default=False)]

_HEADS: Final = (
    Column("run"),
    Column("job", least=10),
    Column("queue", least=6),
    Column("tries", right=True),
    Column("failed at"),
    Column("error", least=12),
)

PAGE: Final = 500


@app.command(
    "list",
    epilog=examples(
        "flows dead list -e redis://localhost --queue payments",
        "flows dead list --data --traceback --limit 1",
        "flows dead list --all --json | jq -r .error.type | sort | uniq -c",
    ),
)
def list_dead(
    executor: ExecutorUrl = None,
    queue: QueueName = None,
    flow: FlowName = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")] = False,
    data: Annotated[bool, typer.Option("--data", help="Show the arguments that each had.")] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of each.")] = False,
    as_json: Json = False,
) -> None:
    """List what failed for good, by itself, newest first.

    With --json one a line: run, key, flow, run_ended, job, task, queue, at, attempts, data, error.
    """
    from flows._cli._documents import dead_document

    operator = operating(executor, "dead_letters")
    found_any = False
    while True:
        page = operator.dead_letters(queue=queue, flow=flow, limit=limit, cursor=cursor)
        if as_json:
            for entry in page.letters:
                _screen.document(dead_document(entry))
        elif page.letters:
            _show(page.letters, data=data, traceback=traceback)
        found_any, cursor = found_any or bool(page.letters), page.cursor
        if cursor is None or not everything:
            break
    if not found_any and not as_json:
        _screen.say("no dead letters")
    if cursor is not None:
        _screen.say(f"there are more: --cursor '{cursor}', or --all", "dim")


@app.command(
    "retry",
    epilog=examples(
        "flows dead retry 5f0c charge_payment -e redis://localhost",
        "flows dead retry --queue payments --yes",
    ),
)
def retry(
    run: Run_ = None,
    jobs: Jobs = None,
    executor: ExecutorUrl = None,
    queue: QueueName = None,
    flow: FlowName = None,
    yes: Yes = False,
) -> None:
    """Do dead letters again.

    Those of a run, or those of a queue or a flow over all runs. What they failed, skipped or cancelled is done, too.
    A run with several of them is retried as a whole. Letters of runs that go on have to wait for their end.
    """
    if run is not None:
        _one_way(queue, flow)
        handle = found(run, None, executor)
        letters = [letter.job for letter in handle.dead_letters()]
        if jobs and len(jobs) > 1 and set(jobs) != set(letters):
            raise WrongCommandError("of a run, one job can be retried at a time, or all; name one, or none")
        _retry(handle, jobs or letters)
        return
    chosen = _chosen(operating(executor, "dead_letters"), queue, flow)
    ended = {entry.run: [one.letter.job for one in chosen if one.run == entry.run] for entry in chosen if entry.ended}
    running = sum(not entry.ended for entry in chosen)
    if running:
        _screen.say(f"{count(running, 'letter')} of runs that go on cannot be retried before these have ended")
    if not ended:
        _screen.say("no dead letters to retry")
        return
    confirm(f"Retry {count(sum(map(len, ended.values())), 'job')} of {count(len(ended), 'run')}?", yes=yes)
    for run_id, names in ended.items():
        _retry(found(run_id, None, executor), names)


@app.command(
    "drop",
    epilog=examples(
        "flows dead drop 5f0c -e redis://localhost",
        "flows dead drop --queue email --yes",
    ),
)
def drop(
    run: Run_ = None,
    jobs: Jobs = None,
    executor: ExecutorUrl = None,
    queue: QueueName = None,
    flow: FlowName = None,
    yes: Yes = False,
) -> None:
    """Take dead letters off the list: somebody has seen to them. The runs stay as they are."""
    if run is not None:
        _one_way(queue, flow)
        handle = found(run, None, executor)
        number = operating(executor, "drop_dead_letters").drop_dead_letters(handle.id, jobs or None)
    else:
        operator = operating(executor, "dead_letters", "drop_dead_letters")
        chosen = _chosen(operator, queue, flow)
        if chosen:
            confirm(f"Drop {count(len(chosen), 'dead letter')}?", yes=yes)
        number = sum(operator.drop_dead_letters(entry.run, [entry.letter.job]) for entry in chosen)
    _screen.say(f"{count(number, 'dead letter')} dropped")


def _retry(handle: Run[Any], jobs: list[str]) -> None:
    """Retry dead letters of one run: one by its name, several by a retry of the run, which begins with all that failed.

    A failure that was ignored is retried only by its name.
    """
    if not jobs:
        _screen.say(f"run {handle.id} has no dead letters")
        return
    if len(jobs) > 1:
        handle.retry()
    if len(jobs) == 1 or handle.state != "running":
        handle.retry(jobs[0])
    tell_reopened(handle)


def _one_way(queue: str | None, flow: str | None) -> None:
    if queue is not None or flow is not None:
        raise WrongCommandError("give a run, or --queue and --flow, not both")


def _chosen(operator: Operator, queue: str | None, flow: str | None) -> list[DeadJob]:
    if queue is None and flow is None:
        raise WrongCommandError("which dead letters? Give a run, --queue or --flow")
    return list(_every(operator, queue, flow))


def _every(operator: Operator, queue: str | None, flow: str | None) -> Iterator[DeadJob]:
    cursor = None
    while True:
        page = operator.dead_letters(queue=queue, flow=flow, limit=PAGE, cursor=cursor)
        yield from page.letters
        cursor = page.cursor
        if cursor is None:
            return


def _show(letters: Any, *, data: bool, traceback: bool) -> None:
    from flows._cli._ending import trace_lines

    if not (data or traceback):
        _screen.table(_HEADS, [_cells(entry) for entry in letters])
        return
    for entry in letters:
        letter = entry.letter
        _screen.out(f"{line(letter.job)} on queue {letter.queue}, run {entry.run} of {line(entry.flow)}", "bold")
        _screen.out(f"  {line(letter.error)}")
        if data:
            _screen.out(f"  data: {line(dict(letter.data))}")
        if traceback:
            for text in trace_lines(letter.traceback):
                _screen.out(f"  {line(text)}")
        _screen.out()


def _cells(entry: DeadJob) -> tuple[object, ...]:
    letter = entry.letter
    at = "" if letter.at is None else f"{letter.at.astimezone():%m-%d %H:%M:%S}"
    message = letter.error.message.removeprefix(f"{letter.job}: ")
    error = f"{letter.error.type}: {message}".removesuffix(": ")
    return _screen.short(entry.run), letter.job, letter.queue, len(letter.attempts), at, error
