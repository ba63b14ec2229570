"""The line of jobs that wait for hands: how it is emptied, and who notices that it does not move."""

from __future__ import annotations

from collections import deque

from executors._leasing._monitor import PAUSE_SECONDS, TICK_SECONDS
from flows._verbs import Grant


class Lookout:
    """Notices that nothing ends while jobs wait: some handler blocks, and more hands are needed.

    Attributes:
        pause: Seconds until the next look.
    """

    __slots__ = ("_mark", "_step", "pause")

    def __init__(self) -> None:
        self._mark: tuple[int, ...] = ()
        self._step = 1
        self.pause = TICK_SECONDS

    def more(self, *mark: int) -> int:
        """How many more hands to call: none while *mark*, which counts what has ended, grows; else 1, 2, 4 ..."""
        if mark != self._mark:
            # All is well, and each look costs the hands a change of threads: look less often.
            self._mark, self._step = mark, 1
            self.pause = min(2 * self.pause, PAUSE_SECONDS)
            return 0
        step, self._step = self._step, 2 * self._step
        self.pause = TICK_SECONDS
        return step


def emptied(line: deque[Grant]) -> list[Grant]:
    """Take all out of a line from which others may take, too."""
    taken: list[Grant] = []
    while line:
        try:
            taken.append(line.popleft())
        except IndexError:
            break
    return taken
