"""`each` and `when`: jobs whose number, or whose running at all, is known only at run time.

`each` calls the function that it is given once, while the flow is built, with a stand-in for the item. The small graph
that the function returns is the *body*; when the list is known, the body is stamped out once per item.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

from flows._job import Job, made_here
from flows._names import shown
from flows._option_checks import check_limit
from flows._opts import Opts
from flows._reference import OptionalReference, Reference
from flows._state import CONTROL_QUEUE
from flows._task import Task
from flows.errors import DataError, DefinitionError

T = TypeVar("T")
R = TypeVar("R")


class Item(Job[Any]):
    """What stands for the item while a body is built."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__("item", data={"": None})
        self.task = _stand_in("item")


class Spread:
    """What is known of an `each` before its list is.

    Attributes:
        root: The job of the body whose result goes into the list.
        made: The jobs that the function made; all others are shared by all items.
        item: What stands for the item.
        limit: How many items are open at once; None for all.
    """

    __slots__ = ("item", "limit", "made", "root")

    def __init__(self, root: Job[Any], made: tuple[Job[Any], ...], item: Item, limit: int | None) -> None:
        self.root = root
        self.made = made
        self.item = item
        self.limit = limit


def each(fn: Callable[[T], Job[R]], items: Iterable[T], limit: int | None = None) -> Job[list[R]]:
    """Fan out over a list: one run of what *fn* declares per item, also where the list is known only at run time.

    *fn* is called once, now, with a stand-in for the item, and returns the job of an item: a task will do, or
    ``lambda sku: reserve(sku, order=order.out)``, or another `each`. What it makes is stamped out per item (ids
    ``reserve[3]``, inside another `each` ``reserve[3][0]``); jobs from outside are shared, and have ended before the
    first item is taken up. The returned job waits for its items; its result is the list of their results in input
    order, ``[]`` for ``[]``.

    An item's failure policy acts on the list: ``fail`` fails it, ``ignore`` puts a `Failed` in the place, ``remove``
    leaves it out, ``skip`` skips it; ``continue`` is refused.

    Args:
        fn: Declares the job of one item.
        items: A list, or a reference to one.
        limit: How many items are open at once; None for all.

    Raises:
        DefinitionError: *fn* made no job, *items* is no list, or *limit* is no number from 1 up.
    """
    if not callable(fn) or inspect.iscoroutinefunction(fn) or inspect.isclass(fn):
        raise DefinitionError(f"each() takes a task or a function of one argument that returns a job, not {shown(fn)}")
    outer = made_here.set([])
    try:
        item = Item()
        root: object = fn(cast("T", item.out))
        made = tuple(made_here.get() or ())[1:]  # the first is the item
    finally:
        made_here.reset(outer)
    if not isinstance(root, Job):
        raise DefinitionError(f"each(): {shown(fn)} returned {shown(root)}; it must return the job of one item")
    if root not in made:
        raise DefinitionError(
            f"each(): {shown(fn)} returned {root!r}, which was made outside of it; it must make the job of one item"
        )
    job: Job[Any] = Job(root.name, data={"items": _listed(items)}, id=root.id)
    job.task = _stand_in(root.name)
    job.spread = Spread(root, made, item, check_limit(limit, "each(): limit"))
    return job


def when(condition: object, job: Job[R]) -> Job[R]:
    """Run *job* only if *condition* holds; otherwise it is skipped, for all that depend on it. Changes and returns it.

    Judged by its Python truth once all that the job depends on has ended. Several conditions must all hold.

    Args:
        condition: A bool, or a reference to a result or a part of one.
        job: The job.

    Raises:
        DefinitionError: *condition* is neither, or *job* is no job.
    """
    if not isinstance(job, Job):
        raise DefinitionError(f"when() takes a condition and a job, not {shown(job)}")
    if isinstance(condition, OptionalReference):
        raise DefinitionError(f"when(): {condition!r} may have no value to judge; let a small task decide")
    if not isinstance(condition, bool | Reference | Job):
        raise DefinitionError(f"when(): the condition is a bool or a reference such as job.out, not {shown(condition)}")
    job.conditions = (*job.conditions, condition)
    job.odd = True
    return job


def listed(value: object, spot: str) -> list[Any]:
    """The items of a list that has become known.

    Raises:
        DataError: It is no list.
    """
    if isinstance(value, list | tuple | range):
        return list(value)
    hint = "; its order is not stable" if isinstance(value, set | frozenset) else ""
    raise DataError(f"{spot}: each() takes a list, not {shown(value)} of type {type(value).__name__}{hint}")


def _listed(items: object) -> object:
    if isinstance(items, Reference | OptionalReference | Job):
        return items
    if isinstance(items, Sequence) and not isinstance(items, str | bytes | bytearray):
        return list(items)
    raise DefinitionError(f"each() takes a list or a reference to one, not {shown(items)}; did you mean list(...)?")


def _never(items: list[Any]) -> list[Any]:
    raise AssertionError("control jobs are not run as handlers")


def _stand_in(name: str) -> Task[..., Any]:
    """Stands where a job has its task; a list has none, it is worked off by `flows._control`."""
    return Task(_never, name, CONTROL_QUEUE, Opts())
