"""Who waits for whom: handlers that wait for other runs, and waits that would never end.

A run cannot end before its handlers return. Where a handler waits for a run that (by its own handlers, and theirs)
waits for the handler's run, none of them ever ends; whoever would close such a circle is told so instead. Known are
the waits of this process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

from flows._context import current_grant
from flows.errors import RunError

DEPTH_LIMIT: Final = 100
"""How deep runs may stand inside handlers of other runs: deeper is a recursion without end."""

_waits: dict[str, list[str]] = {}
"""Run id -> the runs that its handlers wait for at this moment."""

_depths: dict[str, int] = {}
"""How deep a run stands that a handler waits for."""


def inside() -> bool:
    """Whether the caller is a handler."""
    return current_grant.get(None) is not None


@contextlib.contextmanager
def waiting(run_id: str) -> Iterator[None]:
    """For as long as the caller waits for that run, without a limit in time.

    Raises:
        RunError: The wait would never end, or handlers wait for each other without end.
    """
    grant = current_grant.get(None)
    if grant is None:
        yield
        return
    own, job = grant.run.id, grant.run.plan.ids[grant.job]
    depth = _depths.get(own, 0) + 1
    if depth > DEPTH_LIMIT:
        raise RunError(
            f"job {job!r} waits for a run inside a run inside … {depth} deep; does it run its own flow again and again?"
        )
    waits = _waits.setdefault(own, [])
    waits.append(run_id)  # first, so that of two who close a circle together at least one sees it
    former = _depths.get(run_id)
    _depths[run_id] = depth
    try:
        if own in reached(run_id):
            raise RunError(
                f"job {job!r} would wait for ever: run {run_id} cannot end before run {own}, which the job belongs to"
            )
        yield
    finally:
        waits.remove(run_id)
        if not waits:
            _waits.pop(own, None)
        if former is None:
            _depths.pop(run_id, None)


def reached(run_id: str) -> set[str]:
    """That run, the runs that its handlers wait for, and so on."""
    found: set[str] = set()
    ahead = [run_id]
    while ahead:
        one = ahead.pop()
        if one not in found:
            found.add(one)
            ahead += tuple(_waits.get(one, ()))
    return found
