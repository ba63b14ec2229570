"""``flows queues``: how it stands with each, and holding one up for a while."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows._cli import _screen
from flows._cli._options import ExecutorUrl, Json, examples, operating
from flows._cli._screen import Column
from flows._cli._wrong import WrongCommandError
from flows._typeset import count, spell

if TYPE_CHECKING:
    from flows.operating import Operator, QueueSummary

LOOK_SECONDS: Final = 0.5
"""How often the drain of a queue looks whether its jobs have ended."""

EXAMPLES: Final = examples(
    "flows queues -e redis://localhost",
    "flows queues pause payments -e redis://localhost",
    "flows queues --json | jq 'select(.waiting > 1000)'",
)

app = typer.Typer(
    rich_markup_mode=None,
    invoke_without_command=True,
    help="See queues, and pause, resume or drain them.",
    epilog=EXAMPLES,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue.", show_default=False)]

_HEADS: Final = (
    Column("queue", least=10),
    Column("waiting", right=True),
    Column("delayed", right=True),
    Column("active", right=True),
    Column("dead", right=True),
    Column("workers", right=True),
    Column("oldest", right=True),
    Column("limits", least=8),
    Column("", state=True),
)


@app.callback()
def queues(ctx: typer.Context, executor: ExecutorUrl = None, as_json: Json = False) -> None:
    """See queues, and pause, resume or drain them.

    Without a command, as `flows queues ls`. With --json one queue a line: queue, waiting, delayed, active, dead,
    paused, concurrency, rate, workers, oldest_waiting_at.
    """
    if ctx.invoked_subcommand is None:
        _list(executor, as_json=as_json)
    elif executor is not None or as_json:
        raise WrongCommandError(f"options stand behind the command: flows queues {ctx.invoked_subcommand} ... -e URL")


@app.command("ls", epilog=EXAMPLES)
def list_queues(executor: ExecutorUrl = None, as_json: Json = False) -> None:
    """List the queues with their jobs by state, limits and workers."""
    _list(executor, as_json=as_json)


@app.command("pause", epilog=examples("flows queues pause payments -e redis://localhost"))
def pause(name: Name, executor: ExecutorUrl = None) -> None:
    """Hand out no job of a queue until it is resumed. What runs goes on."""
    operator, queue = operating(executor, "pause_queue", "queues"), _checked(name)
    known = any(one.name == queue for one in operator.queues())
    operator.pause_queue(queue)
    unheard = "" if known else "no job, limit or worker of such a queue has been seen so far; "
    _screen.say(f"{unheard}queue {name} is paused; `flows queues resume {name}` lets it go on")


@app.command("resume", epilog=examples("flows queues resume payments -e redis://localhost"))
def resume(name: Name, executor: ExecutorUrl = None) -> None:
    """Hand out the jobs of a queue again."""
    operating(executor, "resume_queue").resume_queue(_checked(name))
    _screen.say(f"queue {name} goes on")


@app.command(
    "drain",
    epilog=examples(
        "flows queues drain payments -e redis://localhost --timeout 5m",
        "flows queues drain payments && deploy && flows queues resume payments",
    ),
)
def drain(
    name: Name,
    executor: ExecutorUrl = None,
    timeout: Annotated[
        str | None,
        typer.Option("--timeout", metavar="TIME", help="Wait no longer than that.", show_default=False),
    ] = None,
) -> None:
    """Pause a queue and wait until none of its jobs runs. Nothing is lost: what waits, waits for `resume`.

    The exit code is 1 if some still run when the timeout is over; the queue stays paused.
    """
    from flows._duration import seconds

    operator = operating(executor, "pause_queue", "queues")
    deadline = None if timeout is None else time.monotonic() + seconds(timeout, "--timeout")
    operator.pause_queue(_checked(name))
    never, told = threading.Event(), -1
    while True:
        active = _active(operator, name)
        if not active:
            _screen.say(f"queue {name} is drained and paused; `flows queues resume {name}` lets it go on")
            return
        if active != told:
            told = active
            _screen.say(f"queue {name} is paused; {count(active, 'job')} still running")
        if deadline is not None and time.monotonic() >= deadline:
            _screen.say(f"the time is over; queue {name} stays paused", "bold red")
            raise typer.Exit(1)
        never.wait(LOOK_SECONDS)


def _active(operator: Operator, name: str) -> int:
    return next((queue.active for queue in operator.queues() if queue.name == name), 0)


def _checked(name: str) -> str:
    from flows._names import check_queue

    return check_queue(name)


def _list(executor: str | None, *, as_json: bool) -> None:
    from flows._cli._documents import queue_document

    found = operating(executor, "queues").queues()
    if as_json:
        for queue in found:
            _screen.document(queue_document(queue))
    elif found:
        _screen.table(_HEADS, [_cells(queue) for queue in found])
    else:
        _screen.say("no queues")


def _cells(queue: QueueSummary) -> tuple[object, ...]:
    from datetime import UTC, datetime

    oldest, known = "", "" if queue.workers is None else queue.workers
    if queue.oldest_waiting_at is not None:
        oldest = spell((datetime.now(UTC) - queue.oldest_waiting_at).total_seconds())
    dead = "" if queue.dead is None else f"{queue.dead:,}"
    counts = (f"{queue.waiting:,}", f"{queue.delayed:,}", f"{queue.active:,}", dead)
    return queue.name, *counts, known, oldest, _limits(queue), "paused" if queue.paused else ""


def _limits(queue: QueueSummary) -> str:
    limits = [] if queue.concurrency is None else [f"{queue.concurrency} at once"]
    if queue.rate is not None:
        starts, seconds = queue.rate
        limits.append(f"{starts}/s" if seconds == 1 else f"{starts} in {spell(seconds)}")
    return ", ".join(limits)
