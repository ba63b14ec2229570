"""Showing how a run goes on while something else waits for it: redrawn on a terminal, line by line elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Final

from flows._cli import _screen
from flows._cli._follow import answered, events
from flows._cli._view import ENDS, View
from flows._typeset import count, line, spell
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from flows._events import Event
    from flows.executor import RunRecord

FRAME_SECONDS: Final = 0.1
RESTS: Final = 30
"""A frame is followed by a rest of so many times what it took to draw: watching costs a run a thirtieth at most."""

FEW_JOBS: Final = 50
"""Runs of up to so many jobs tell of each job that ends; others of each tenth."""

_JOIN_SECONDS: Final = 5.0


@contextmanager
def shown(record: RunRecord, *, joined: bool = False) -> Iterator[None]:
    """For as long as the run is waited for, show it on standard error.

    Args:
        joined: Whether the run was there before: then what had happened in it is not told as if it happened now.
    """
    stop = threading.Event()
    if joined:
        _screen.say(_before(record))
    thread = threading.Thread(target=_shown, args=(record, stop, joined), name="flows-view", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(_JOIN_SECONDS)  # one that is stuck in reading a run must not keep the command


def _shown(record: RunRecord, stop: threading.Event, joined: bool) -> None:
    try:
        (_redraw if can_redraw() else _tell)(record, stop, joined)
    except UnavailableError:
        pass  # when nobody waits any more: whoever did has been told


def can_redraw() -> bool:
    """Whether standard error is a terminal on which lines can be drawn anew."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def _before(record: RunRecord) -> str:
    """What there is to know of a run that others have submitted."""
    at = record.submitted_at
    ago = spell((record.now() - at).total_seconds())
    state = "has ended: nothing is done again" if record.ended else "goes on"
    run = f"{line(record.plan.name)}: run {record.id} has this key"
    return f"{run}, was submitted {at.astimezone():%Y-%m-%d %H:%M:%S}, {ago} ago, and {state}"


def _redraw(record: RunRecord, stop: threading.Event, joined: bool) -> None:
    from rich.console import Group
    from rich.live import Live

    console, view = _screen.console(sys.stderr), View(record)
    stream = sys.stderr

    def frame() -> RenderableType:
        lines = answered(lambda: view.lines(console.width - 1, console.height - 1), stop)
        for text in lines:
            text.plain = _screen.fitting(text.plain, stream)
        return Group(*lines)

    # What handlers print stands above the picture, unless it goes elsewhere.
    with Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty()) as live:
        rest = FRAME_SECONDS  # what is over at once is drawn once
        while not stop.wait(rest):
            began = time.perf_counter()
            live.update(frame(), refresh=True)
            rest = max(FRAME_SECONDS, RESTS * (time.perf_counter() - began))
        live.update(frame(), refresh=True)


def _tell(record: RunRecord, stop: threading.Event, joined: bool) -> None:
    ended, told, position = 0, 0, 0
    if joined:
        if record.ended:
            return
        past, position = answered(lambda: record.events(0), stop)
        ended = sum(event.kind in ENDS for event in past)
        _screen.say(f"{ended:,} of {count(len(record.plan), 'job')} had ended before")
    else:
        _screen.say(f"{line(record.plan.name)}: run {record.id}, {count(len(record.plan), 'job')}")
    for event in events(record, stop, position):
        ended += event.kind in ENDS
        jobs = len(record.plan) - len(record.plan.gone)
        if event.kind in ("failed", "retrying", "lost") or (jobs <= FEW_JOBS and event.kind in ENDS):
            _screen.say(_sentence(event))
        elif jobs > FEW_JOBS and ended * 10 // jobs > told:
            told = ended * 10 // jobs
            _screen.say(f"{_clock(event)} {ended:,} of {jobs:,} jobs")


def _sentence(event: Event) -> str:
    attempt = f" (attempt {event.attempt})" if event.attempt is not None and event.attempt > 1 else ""
    detail = "" if event.detail is None else f": {line(_short(event))}"
    return f"{_clock(event)} {line(event.job)} {event.kind}{attempt}{detail}"


def _clock(event: Event) -> str:
    """When it happened, by the clock on the wall; with the day where that is another one."""
    at = event.at.astimezone()
    return f"{at:%H:%M:%S}" if at.date() == datetime.now().astimezone().date() else f"{at:%Y-%m-%d %H:%M:%S}"


def _short(event: Event) -> str:
    """What the event has to say, without the name of the job, which stands before it."""
    kind, message = getattr(event.detail, "type", None), getattr(event.detail, "message", None)
    if kind is None or message is None:
        return str(event.detail)
    return f"{kind}: {message.removeprefix(f'{event.job}: ')}".removesuffix(": ")
