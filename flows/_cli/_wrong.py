"""What is wrong with a command line itself."""

from __future__ import annotations

from flows.errors import FlowsError


class WrongCommandError(FlowsError):
    """The command cannot be carried out as it was given; nothing was done.

    Attributes:
        detail: What stands below the message: the end of a traceback.
    """

    detail: str | None = None
