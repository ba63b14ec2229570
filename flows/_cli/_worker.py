"""``flows worker``: work off what others submit, until told to stop."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any, Final, Literal

import typer

from flows._cli._options import ExecutorUrl, examples, stored
from flows._cli._wrong import WrongCommandError

EXAMPLES: Final = examples(
    "flows worker app.tasks --executor redis://localhost",
    "flows worker app.tasks app.mail -e redis://localhost -q payments,email -c 50",
    "flows worker app.py -e sqlite:///shop.db --reload     while developing",
)

Level = Literal["debug", "info", "warning", "error"]
Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queues",
        "-q",
        metavar="A,B",
        help="The queues to serve. Without it, those of the modules' tasks.",
        show_default=False,
    ),
]
Name = Annotated[
    str | None,
    typer.Option(
        "--name",
        metavar="NAME",
        help="What runs and logs call this worker; no two alike. Without it, host and process.",
        show_default=False,
    ),
]


def worker(
    modules: Annotated[
        list[str],
        typer.Argument(metavar="MODULE", help="Modules or files whose tasks are served.", show_default=False),
    ],
    executor: ExecutorUrl = None,
    queues: Queues = None,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, metavar="N", help="Handlers at once.", show_default=False),
    ] = None,
    grace: Annotated[
        str,
        typer.Option("--grace", metavar="TIME", help="How long handlers may go on when told to stop."),
    ] = "30s",
    name: Name = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start anew when a source file below this folder changes; for development.")
    ] = False,
    log_level: Annotated[Level, typer.Option("--log-level", help="What to log, to standard error.")] = "info",
    log_json: Annotated[bool, typer.Option("--log-json", help="Log JSON lines.")] = False,
) -> None:
    """Serve queues: run the jobs of flows that were submitted elsewhere.

    The first SIGTERM or Ctrl-C lets running handlers end within the grace and gives the rest back; a second one quits
    at once. The exit code is 3 if the worker wants to be started anew by whoever supervises it.
    """
    from flows import Worker
    from flows._cli._logging import configure
    from flows._cli._target import module_of

    url = stored(executor)
    if url.partition(":")[0] == "memory":
        raise WrongCommandError("memory:// keeps runs in the process that submits them; a worker of its own sees none")
    seconds = _seconds(grace)
    names = [name.strip() for text in queues or () for name in text.split(",") if name.strip()]
    if queues and not names:
        raise WrongCommandError("--queues names no queue; leave it out to serve those of the modules' tasks")
    if reload:
        options = {"--queues": ",".join(names), "--concurrency": concurrency, "--grace": grace, "--name": name}
        raise typer.Exit(_reloading(url, modules, options | {"--log-level": log_level}, seconds, log_json=log_json))
    configure(log_level, as_json=log_json)
    given: dict[str, Any] = {} if concurrency is None else {"concurrency": concurrency}
    with _ended_by_sigterm():
        for module in modules:
            module_of(module)
        Worker(executor=url, queues=names or None, grace=seconds, name=name, **given).run()


class _ToldToEnd(KeyboardInterrupt):
    """SIGTERM came before there was a worker to drain."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End well at SIGTERM while modules are imported, which may take long; a worker that runs sees to it itself."""

    def catch(number: int, frame: FrameType | None) -> None:
        raise _ToldToEnd

    before = signal.signal(signal.SIGTERM, catch)
    try:
        yield
    except _ToldToEnd:
        logging.getLogger("flows").info("told to end before the worker began")
    finally:
        signal.signal(signal.SIGTERM, before)


def _reloading(url: str, modules: list[str], options: dict[str, Any], grace: float, *, log_json: bool) -> int:
    from flows._cli._reload import Reloader, worker_command

    command = worker_command(modules, options, log_json=log_json)
    # Not among the options: everybody may read command lines, and a URL may hold a password.
    return Reloader(command, grace=grace, variables={"FLOWS_EXECUTOR": url}).run()


def _seconds(grace: str) -> float:
    from flows._duration import seconds

    return seconds(grace, "--grace")
