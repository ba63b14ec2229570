"""A job of a run in a form that this version does not know: as much of a brief as is asked of a job that goes back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

from flows._opts import Settings
from flows.errors import UnsupportedError


class _Each:
    """The same for every job."""

    __slots__ = ("_what",)

    def __init__(self, what: Any) -> None:
        self._what = what

    def __getitem__(self, job: int) -> Any:
        return self._what


class _Nobodys:
    """The handlers of such jobs."""

    __slots__ = ("_why",)

    def __init__(self, why: str) -> None:
        self._why = why

    def __getitem__(self, job: int) -> Any:
        raise UnsupportedError(self._why)


_PLAN: Final = SimpleNamespace(
    ids=_Each("of another version"), names=_Each("?"), queues_of=_Each("?"), settings=_Each(Settings())
)


class Unread:
    """A `flows._verbs.RunBrief` by which nothing can be done.

    Args:
        run_id: The run's.
        why: What stands in the way; raised by `handlers` as `UnsupportedError`.
    """

    __slots__ = ("deadline_at", "handlers", "id", "state")
    key = tracing = None
    rated = False
    plan = _PLAN

    def __init__(self, run_id: str, why: str) -> None:
        self.id = run_id
        self.deadline_at: float | None = None
        self.handlers = _Nobodys(why)
        self.state = SimpleNamespace(cancelling=False)
