"""Logging for commands that run on: lines for people, or JSON lines for a collector, on standard error."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

_LINE: Final = "%(asctime)s %(levelname)-7s %(message)s"


class JsonLines(logging.Formatter):
    """A record as one line of JSON: ``time``, ``level``, ``logger``, ``message``, and the ``flows_...`` fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields |= {name.removeprefix("flows_"): value for name, value in vars(record).items() if name[:6] == "flows_"}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, default=str)


def configure(level: str, *, as_json: bool) -> None:
    """Log to standard error, unless the program's own modules set up logging as they are imported."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter(_LINE))
    logging.basicConfig(level=level.upper(), handlers=[handler])
