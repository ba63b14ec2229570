"""Shapes: what is the same in all plans of flows of one structure, worked out once and shared.

A program mostly runs the same few flows again and again, with other data. Of such a flow only the walk over its jobs
and what their arguments hold is new; names, queues, options, edges and all that follows from them stand in the columns
of a plan made before. That halves the time to plan a small flow.

Two flows are of one shape when their jobs come from the same tasks, unchanged since (`Place`s compare by identity),
depend on each other by the same kinds of edges at the same places, and have the same given ids. Kept are columns
without data, tasks or jobs, of small flows only, and of a limited number of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final

from flows._job import Job
from flows._placing import own_places
from flows._plan import Plan

SHAPE_JOBS: Final = 64
"""Flows up to this size are remembered; what larger ones would save is little beside what their jobs take."""

SHAPES: Final = 256
"""Shapes kept at most: then the oldest gives way to the newest."""

_id_of = attrgetter("id")

_shapes: dict[Hashable, Plan[Any]] = {}


def shape_of(
    jobs: Sequence[Job[Any]],
    places: Sequence[tuple[int, ...]],
    kinds: Mapping[Job[Any], list[int] | None],
    roots: tuple[int, ...],
) -> Hashable | None:
    """What tells a flow without conditions and lists from those of other shapes; None where that is not known.

    It is not for the first flow of a task, so that what is planned only once leaves nothing behind.

    Args:
        jobs: In run order.
        places: Where the jobs stand that a job needs, in order.
        kinds: For jobs that have other edges than plain ones by value, in the order of first visits: those of all
            their edges.
        roots: Where the roots stand.
    """
    rows = own_places(jobs)
    if None in rows:
        return None
    odd = tuple([(jobs.index(job), tuple(those)) for job, those in kinds.items() if those]) if kinds else ()
    return roots, *rows, *places, *map(_id_of, jobs), odd


def known(shape: Hashable | None) -> Plan[Any] | None:
    """The columns of a plan of that shape, if one is remembered."""
    return None if shape is None else _shapes.get(shape)


def remember(shape: Hashable, plan: Plan[Any]) -> None:
    """Keep the columns of *plan* for others of its shape."""
    # Without a lock, as the steps are atomic and a shape that is lost or kept a little longer does no harm; a lock
    # could be held by another thread at the moment of a fork.
    if len(_shapes) >= SHAPES:
        try:
            del _shapes[next(iter(_shapes))]
        except (KeyError, RuntimeError, StopIteration):
            pass  # another thread makes room
    _shapes[shape] = plan.pattern()
