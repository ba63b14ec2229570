"""Shapes: what is the same in all plans of flows of one structure, worked out once and shared.

A program mostly runs the same few flows again and again, with other data. Of such a flow only its jobs and what their
arguments hold are new; names, queues, options, edges and all that follows from them stand in the columns of a plan made
before. That saves two thirds of the time to plan a small flow.

Two flows are of one shape when their jobs come from the same tasks, unchanged since (`Place`s compare by identity),
depend on each other by the same kinds of edges at the same places, and have the same given ids. Kept are columns
without data, tasks or jobs, of small flows only, and of a limited number of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar

from flows._job import Job
from flows._opts import Opts
from flows._placing import Place, own_places
from flows._plan import Plan

K = TypeVar("K")
V = TypeVar("V")

SHAPE_JOBS: Final = 64
"""Flows up to this size are remembered; what larger ones would save is little beside what their jobs take."""

SHAPES: Final = 256
"""Shapes kept at most: then the oldest gives way to the newest."""


class Key(NamedTuple):
    """What tells a flow without conditions and lists from those of other shapes. Lists are in run order.

    Attributes:
        roots: Where the roots stand.
        rows: The place of each job.
        needs: Where the jobs stand that each job needs.
        ids: The given ones.
        kinds: For jobs that have other edges than plain ones by value: where they stand, and the kinds of all theirs.
    """

    roots: tuple[int, ...]
    rows: tuple[Place, ...]
    needs: tuple[tuple[int, ...], ...]
    ids: tuple[str | None, ...]
    kinds: tuple[tuple[int, tuple[int, ...]], ...]


Step = tuple[int, Place, Opts | None, str | None, tuple[int, ...], list[int] | None]
"""What `flows._retracing` asks of one job: where it stands, its place, options and id, where the jobs stand that it
needs, and the kinds of its edges. A plain tuple, which is taken apart in no time.
"""


class Shape:
    """A shape that is remembered.

    Attributes:
        pattern: The columns that its plans share.
        roots: Where the roots stand.
        needs: Where the jobs stand that each job needs, in order.
        firsts: The jobs in the order of first visits.
        steps: The jobs, each before those that it needs.
    """

    __slots__ = ("firsts", "needs", "pattern", "roots", "steps")

    def __init__(self, key: Key, pattern: Plan[Any], firsts: Iterable[int]) -> None:
        self.pattern = pattern
        self.roots = key.roots
        self.needs = key.needs
        self.firsts = tuple(firsts)
        kinds = {position: list(those) for position, those in key.kinds}
        steps: list[Step] = [
            (position, row, row.opts, key.ids[position], key.needs[position], kinds.get(position))
            for position, row in enumerate(key.rows)
        ]
        self.steps = tuple(reversed(steps))


_shapes: dict[Hashable, Shape] = {}
_latest: dict[Place, Shape] = {}
"""For the place of a first root, the shape that the latest flow with such a root was of."""


def shape_of(
    jobs: Sequence[Job[Any]],
    places: Sequence[tuple[int, ...]],
    kinds: Mapping[Job[Any], list[int] | None],
    roots: tuple[int, ...],
) -> Key | None:
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
    return Key(roots, tuple(rows), tuple(places), tuple([job.id for job in jobs]), odd)  # type: ignore[arg-type]


def known(key: Key | None) -> Plan[Any] | None:
    """The columns of a plan of that shape, if one is remembered; it is the latest now."""
    shape = None if key is None else _shapes.get(key)
    if key is None or shape is None:
        return None
    _keep(_latest, key.rows[key.roots[0]], shape)
    return shape.pattern


def latest(row: Place | None) -> Shape | None:
    """The shape of the latest flow that had a first root of that place."""
    return None if row is None else _latest.get(row)


def remember(key: Key, plan: Plan[Any], firsts: Iterable[int]) -> None:
    """Keep the columns of *plan* for others of its shape.

    Args:
        firsts: The jobs in the order of first visits.
    """
    shape = Shape(key, plan.pattern(), firsts)
    _keep(_shapes, key, shape)
    _keep(_latest, key.rows[key.roots[0]], shape)


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    # Without a lock, as the steps are atomic and a shape that is lost or kept a little longer does no harm; a lock
    # could be held by another thread at the moment of a fork.
    if len(kept) >= SHAPES and key not in kept:
        try:
            del kept[next(iter(kept))]
        except (KeyError, RuntimeError, StopIteration):
            pass  # another thread makes room
    kept[key] = value
