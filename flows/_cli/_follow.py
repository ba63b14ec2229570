"""Following a run as one who only looks: nothing is worked off for it, whatever the executor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from flows._cli import _screen
from flows._watch import LOOK_SECONDS
from flows.errors import UnavailableError

if TYPE_CHECKING:
    from flows._events import Event
    from flows.executor import RunRecord

T = TypeVar("T")

AWAY_SECONDS: Final = 0.5
"""How long to wait before a store that did not answer is asked again."""

PAUSE_SECONDS: Final = 0.1
"""How long one lets things happen before one reads them: a run of many short jobs would be read at each of them."""


def answered(read: Callable[[], T], over: threading.Event, *, aloud: bool = True) -> T:
    """What *read* returns, once the store answers: it may be away for a while.

    Args:
        aloud: Whether to say so; not where somebody else does.

    Raises:
        UnavailableError: It is away, and nobody waits any more.
    """
    said = not aloud
    while True:
        try:
            return read()
        except UnavailableError as error:
            if over.is_set():
                raise
            if not said:
                _screen.say(f"{error.message}; asking again until it answers")
            said = True
            over.wait(AWAY_SECONDS)


def events(record: RunRecord, over: threading.Event | None = None, position: int = 0) -> Iterator[Event]:
    """What has happened and happens in a run, in order, until it has ended.

    Args:
        over: Set when nobody waits for the rest of a run that goes on.
        position: From where on; 0: from its beginning.
    """
    over = over or threading.Event()
    changed = threading.Event()
    unwatch = record.watch(changed.set)
    try:
        ended = False
        while not ended:
            changed.clear()
            ended = answered(lambda: record.ended, over)
            found, position = answered(partial(record.events, position), over)
            yield from found
            if not ended and not found:
                if over.is_set():
                    return
                changed.wait(LOOK_SECONDS)
            if not ended:
                over.wait(PAUSE_SECONDS)
    finally:
        unwatch()
