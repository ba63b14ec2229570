"""What the crew tells the log, in a way that nothing can come back from it."""

from __future__ import annotations

import logging

log = logging.getLogger("flows")


def say(level: int, text: str, *args: object, exc_info: bool = False) -> None:
    """Log a line. A log handler or filter that raises must not take a hand or the event loop with it."""
    try:
        log.log(level, text, *args, exc_info=exc_info, stacklevel=2)
    except Exception:
        pass
