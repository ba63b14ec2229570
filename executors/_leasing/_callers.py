"""Who calls: whether an event loop runs in the calling thread, and whether it is the one that handlers run on."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Final

_numbers: Final = itertools.count(1)
"""Tell the crews of this process apart."""

_process: int
"""Asked for once a process, and not once a run."""


def next_name() -> str:
    """A name for who works a run off, unique on this machine."""
    return f"{_process}-{next(_numbers)}"


def _note_process() -> None:
    global _process
    _process = os.getpid()


_note_process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_process)


def loop_runs_here() -> bool:
    """Whether an event loop runs in this thread: a sync handler beside it could not start one of its own."""
    running = getattr(sys.modules.get("asyncio"), "_get_running_loop", None)  # absent while another thread loads it
    return running is not None and running() is not None


def loop_line() -> ModuleType | None:
    """The module of the handlers' event loop, if anybody has needed it yet: it takes long to load."""
    line = sys.modules.get("executors._leasing._loop")
    return line if hasattr(line, "loop_thread") else None  # another thread may be loading it just now


@contextlib.contextmanager
def blocking(run_id: str) -> Iterator[None]:
    """For as long as an async handler holds up the handlers' event loop to wait for a run."""
    line = loop_line()
    if line is None or not line.loop_thread.runs_here():
        yield
        return
    line.loop_thread.blocked_on = run_id
    try:
        yield
    finally:
        line.loop_thread.blocked_on = None
