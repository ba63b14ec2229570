"""Following a run as one who only looks: nothing is worked off for it, whatever the executor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flows._events import Event
    from flows.executor import RunRecord

LOOK_SECONDS: Final = 2.0
"""How often one looks where nothing is heard: who wrote the change may live elsewhere."""


def events(record: RunRecord, over: Callable[[], bool] = lambda: False) -> Iterator[Event]:
    """What has happened and happens in a run, in order, until it has ended.

    Args:
        over: Whether nobody waits for the rest of a run that goes on; asked at least every few seconds.
    """
    changed = threading.Event()
    unwatch = record.watch(changed.set)
    try:
        position, ended = 0, False
        while not ended:
            changed.clear()
            ended = record.ended
            found, position = record.events(position)
            yield from found
            if not ended and not found:
                if over():
                    return
                changed.wait(LOOK_SECONDS)
    finally:
        unwatch()


def await_end(record: RunRecord) -> None:
    """Return when a run has ended."""
    changed = threading.Event()
    unwatch = record.watch(changed.set)
    try:
        while not record.ended:
            changed.wait(LOOK_SECONDS)
            changed.clear()
    finally:
        unwatch()
