"""What a handler may change of the process that it runs in, put back for the call after it."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import Final

_TIMERS: Final = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)


class Surroundings:
    """The working folder, signal handlers and timers of this process as they are now. For its main thread.

    The environment is not among them: libraries write into it when they are first used, and rely on it afterwards.
    """

    __slots__ = ("_folder", "_signals", "_timers")

    def __init__(self) -> None:
        self._folder = _folder()
        self._signals = {number: signal.getsignal(number) for number in signal.valid_signals()}
        self._timers = {timer for timer in _TIMERS if signal.getitimer(timer)[0]}

    def restore(self) -> None:
        """Undo what has changed. A folder that is gone and handlers that are not Python's stay as they are."""
        for timer in _TIMERS:  # first: an alarm must not meet the handlers of the next call
            if timer not in self._timers:
                signal.setitimer(timer, 0)
        for number, handler in self._signals.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
        if self._folder is not None and _folder() != self._folder:
            with contextlib.suppress(OSError):
                os.chdir(self._folder)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None
