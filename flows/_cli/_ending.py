"""What is said when a run has ended: that it went well, or what failed, where, and what to do next."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING, Any, Final

from flows._cli import _screen
from flows._cli._live import can_redraw
from flows._typeset import CELL, count, line, spell

if TYPE_CHECKING:
    from flows._dead_letters import DeadLetter
    from flows._run import Run

LETTERS: Final = 10
"""Failures that are named before the rest is only counted; the first one is told with its traceback."""

TRACE_LINES: Final = 12
"""Lines of a traceback that are shown where not all was asked for: the last ones, which name the user's code."""

FAILED: Final = 1


def is_memory(url: str | None) -> bool:
    """Whether the executor keeps its runs in this process."""
    return (url or os.environ.get("FLOWS_EXECUTOR") or "memory://").startswith("memory:")


def exit_code(run: Run[Any]) -> int:
    """0 for a run that completed, 1 for one that did not."""
    return 0 if run.state == "completed" else FAILED


def ending(run: Run[Any], url: str | None, *, whole: bool = False) -> None:
    """Say how a run ended, on standard error.

    Args:
        url: The executor, as it was named on the command line.
        whole: Whether tracebacks are shown in full.
    """
    if run.state == "completed" and can_redraw():
        return  # the last picture says it
    ended_at = run._record.ended_at
    after = "" if ended_at is None else f" after {spell((ended_at - run._record.submitted_at).total_seconds())}"
    _screen.say(f"{line(run.name)} {run.state}{after}", _screen.STYLES.get(run.state, ""))
    if run.state == "cancelled":
        root = next(root for root in run._record.plan.roots if run._record.state_of(root) == "cancelled")
        _screen.say(f"reason: {line(run._record.failed(root).message)}")
    letters = run.dead_letters()
    for letter in letters[: LETTERS if whole else 1]:
        _tell(letter, whole=whole)
    if len(letters) > 1:
        _screen.say()
    for letter in () if whole else letters[1:LETTERS]:
        _screen.say(line(f"{line(letter.job)} failed, too: {_error(letter)}", min(_screen.columns(sys.stderr), CELL)))
    if len(letters) > LETTERS:
        _screen.say(f"… and {count(len(letters) - LETTERS, 'more failed job')}")
    if run.state != "completed":
        _next_steps(run, url)


def _tell(letter: DeadLetter, *, whole: bool) -> None:
    tries = f" after {count(len(letter.attempts), 'attempt')}" if len(letter.attempts) > 1 else ""
    _screen.say()
    _screen.say(f"{line(letter.job)} failed{tries}, on queue {letter.queue}", "bold")
    _screen.say(f"  data: {line(dict(letter.data))}", "dim")
    lines = trace_lines(letter.traceback)
    kept = lines if whole else _end_of(lines)
    if len(kept) < len(lines):
        _screen.say(f"  … {count(len(lines) - len(kept), 'line')} of traceback left out (--traceback shows all)", "dim")
    for text in kept:
        _screen.say(f"  {line(text)}")
    if not lines:
        _screen.say(f"  {line(_error(letter))}")


def _error(letter: DeadLetter) -> str:
    message = letter.error.message.removeprefix(f"{letter.job}: ")
    return f"{letter.error.type}: {message}".removesuffix(": ")


def _end_of(lines: list[str]) -> list[str]:
    """The last lines, from the beginning of a frame on."""
    kept = lines[-TRACE_LINES:]
    frame = next((place for place, text in enumerate(kept) if text.startswith("  File ")), 0)
    return kept[frame:] if len(kept) < len(lines) else kept


def trace_lines(traceback: str) -> list[str]:
    """A traceback's lines without the frames of this library's own modules, where others are left."""
    kept: list[str] = []
    ours = False
    for text in traceback.splitlines():
        if text.startswith("  File "):
            ours = f"{os.sep}flows{os.sep}_handlers.py" in text
        elif not text.startswith("    "):
            ours = False
        if not ours:
            kept.append(text)
    return kept


def _next_steps(run: Run[Any], url: str | None) -> None:
    _screen.say()
    if is_memory(url):
        _screen.say(
            "The run ends with this process. With --executor it would be kept, and `flows runs retry` would take it up "
            "where it stopped."
        )
        return
    where = "" if url is None else f" -e {shlex.quote(_masked(url))}"
    _screen.say(f"flows runs show {run.id}{where}    what happened", "bold")
    _screen.say(f"flows runs retry {run.id}{where}   try again what failed", "bold")


def _masked(url: str) -> str:
    from flows._executors import masked

    return masked(url)
