"""Following a run as one who only looks: nothing is worked off for it, whatever the executor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from flows._watch import LOOK_SECONDS

if TYPE_CHECKING:
    from flows._events import Event
    from flows.executor import RunRecord

PAUSE_SECONDS: Final = 0.1
"""How long one lets things happen before one reads them: a run of many short jobs would be read at each of them."""


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
            ended = record.ended
            found, position = record.events(position)
            yield from found
            if not ended and not found:
                if over.is_set():
                    return
                changed.wait(LOOK_SECONDS)
            if not ended:
                over.wait(PAUSE_SECONDS)
    finally:
        unwatch()
