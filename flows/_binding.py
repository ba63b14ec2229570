"""From results to arguments: what a plan keeps of a job's call, and how an attempt turns it into real arguments.

A plan holds, per job, either a plain tuple of child indexes (every argument is one child's whole result: the common
case, bound by a list comprehension) or an `Arguments` template in which `Pick` marks the places that results go to.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from flows._job import Job
from flows._names import shown
from flows._reference import OptionalReference, Part, Path, Reference, follow
from flows.errors import DataError

DEPTH_LIMIT = 64
"""How deep data may nest; deeper trees are almost always a mistake, and other stores cannot hold them."""


LOOKS = 500_000
"""How many containers are looked at before it is asked whether they are the same ones over and over: what holds one
thing twice, which holds another twice, and so on, is small in memory and without end to whoever goes through it.
"""

_REFERENCES = frozenset((Reference, Part, OptionalReference, Job))


class Pick(NamedTuple):
    """A place in a template that one child's result goes to."""

    child: int
    path: Path
    optional: bool


class Held(NamedTuple):
    """A place in a template that an item of a list, or a part of it, goes to."""

    item: Any
    path: Path


class Picks(NamedTuple):
    """A list or tuple that is nothing but whole results: a `Pick` for each would cost more than the jobs."""

    kind: type[list[Any]] | type[tuple[Any, ...]]
    children: list[int]


class Arguments:
    """The arguments of one call, with a `Pick` wherever a result belongs."""

    __slots__ = ("args", "by_name", "kwargs", "plain")

    def __init__(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, by_name: bool, plain: bool = False) -> None:
        self.args = args
        self.kwargs = kwargs
        self.by_name = by_name
        """Whether `kwargs` are all arguments by parameter name, so that one may fall away and its default stand in."""
        self.plain = plain
        """Whether nothing is to be resolved and no handler could change anything: `args` are passed as they are."""


class Ready(Arguments):
    """The arguments of a call that takes no results: they are passed on as they are."""

    __slots__ = ()


class Deferred(Arguments):
    """The arguments of a call that whoever keeps the run works out by itself, in the hand that runs the job."""

    __slots__ = ()

    @abstractmethod
    def worked_out(self, handler: Any) -> tuple[Sequence[Any], dict[str, Any]]:
        """The positional and keyword arguments, but for those that are injected.

        Raises:
            DataError: There is none for a parameter, or it does not fit.
        """


Binding = tuple[int, ...] | Arguments

ATOMS = frozenset((int, str, float, bool, bytes, type(None)))
"""Kinds of values that hold nothing and never change."""

CONTAINERS = (dict, list, tuple, set, frozenset)
"""Where references are looked for; anywhere else one would reach the handler as it is."""


class _Absent:
    """What a removed dependency leaves in the place of an argument or element."""


_ABSENT = _Absent()


def scan(value: object, found: Callable[[object], None], spot: str) -> None:
    """Call *found* for each reference or job inside the containers of *value*, in order.

    Raises:
        DataError: A container holds itself, nests too deep, or is one that references cannot sit in.
    """
    stack: list[tuple[object, int]] = [(value, 0)]
    looks, met = 0, set[int]()
    while stack:
        item, depth = stack.pop()
        looks += 1
        if looks > LOOKS:
            met.add(id(item))
            if looks > LOOKS + 100 * len(met):
                raise DataError(f"{spot}: data holds the same few lists or dicts over and over, {looks:,} times")
        if isinstance(item, dict):
            if any(is_reference(key) for key in item):
                raise DataError(f"{spot}: a reference cannot be the key of a dict, its value is not known yet")
            inner: Sequence[object] = list(item.values())
        elif isinstance(item, list | tuple):
            inner = item
        elif isinstance(item, set | frozenset):
            for element in item:
                if is_reference(element) or (isinstance(element, tuple | frozenset) and _holds_reference(element)):
                    raise DataError(f"{spot}: a set cannot hold references, its order is not stable; use a list")
            continue
        else:
            if is_reference(item):
                found(item)
            continue
        if depth >= DEPTH_LIMIT:
            raise DataError(f"{spot}: data nests deeper than {DEPTH_LIMIT} levels, or is circular")
        if holds_nothing(inner):
            continue
        depth += 1
        stack.extend(
            (element, depth) for element in reversed(inner) if isinstance(element, CONTAINERS) or is_reference(element)
        )


def _holds_reference(value: object) -> bool:
    found: list[object] = []
    scan(value, found.append, "")
    return bool(found)


def is_reference(value: object) -> bool:
    """Whether *value* stands for a job's result (a bare job means its ``.out``)."""
    return type(value) in _REFERENCES


def referred(value: Any) -> Job[Any]:
    """The job whose result *value*, a reference, stands for."""
    if type(value) is OptionalReference:
        value = value.reference
    return value._job if isinstance(value, Reference) else cast("Job[Any]", value)


def only_references(value: object) -> bool:
    """Whether *value* is a list or tuple of nothing but whole results: the long lists of fan-ins are."""
    return type(value) in (list, tuple) and set(map(type, cast("list[object]", value))) == {Reference}


def holds_nothing(values: Collection[object]) -> bool:
    """Whether no value is a reference or may hold one: told by the kinds, so that long lists of numbers cost little."""
    return not any(kind in _REFERENCES or issubclass(kind, CONTAINERS) for kind in set(map(type, values)))


def compile_value(value: Any, index: Mapping[Any, int], spot: str) -> Any:
    """*value* with each reference replaced by its `Pick`; lists and dicts are copied, so that later changes stay out.

    Depth was checked by `scan`, so the recursion is bounded.
    """
    kind = type(value)
    if kind is Reference or kind is Part:
        return Pick(index[value._job], value._path, False)
    if kind is OptionalReference:
        return Pick(index[value.reference._job], value.reference._path, True)
    if kind is Job:
        return Pick(index[value], (), False)
    if kind is dict:
        return {key: compile_value(item, index, spot) for key, item in value.items()}
    if kind is list or kind is tuple:
        if only_references(value):
            return Picks(kind, [index[item._job] for item in value])
        if holds_nothing(value):
            return value.copy() if kind is list else value
        parts = [compile_value(item, index, spot) for item in value]
        return parts if kind is list else tuple(parts)
    if kind is set or kind is bytearray:
        return value.copy()
    if isinstance(value, dict | list | tuple):
        found: list[object] = []
        scan(value, found.append, spot)
        if found:
            raise DataError(
                f"{spot}: a reference sits inside {shown(value)}; only plain lists, tuples and dicts can hold one"
            )
    return value


class Lookup:
    """What the places of a template receive in one attempt.

    Args:
        values: Child index -> result.
        completed: Whether a child counts with its result.
        failed: The `Failed` that an optional place receives for a child that does not.
    """

    __slots__ = ("completed", "failed", "values")

    def __init__(self, values: Any, completed: Callable[[int], bool], failed: Callable[[int], Any]) -> None:
        self.values = values
        self.completed = completed
        self.failed = failed

    def pick(self, pick: Pick) -> Any:
        """The result, or the part of it, that *pick* asks for; a `Failed` or nothing where there is none.

        Raises:
            LookupError: The path leads nowhere in the result.
        """
        child = pick.child
        if self.completed(child):
            return follow(self.values[child], pick.path) if pick.path else self.values[child]
        return self.failed(child) if pick.optional else _ABSENT

    def resolve(self, template: Any) -> Any:
        """A compiled value with results in their places; elements that are absent are left out."""
        kind = type(template)
        if kind is Pick:
            return self.pick(template)
        if kind is Held:
            return follow(template.item, template.path)
        if kind is Picks:
            values, completed = self.values, self.completed
            return template.kind([values[child] for child in template.children if completed(child)])
        if kind is list or kind is tuple:
            if holds_nothing(template):
                return template.copy() if kind is list else template
            parts = [part for part in map(self.resolve, template) if part is not _ABSENT]
            return parts if kind is list else tuple(parts)
        if kind is dict:
            resolved = {key: self.resolve(item) for key, item in template.items()}
            return {key: part for key, part in resolved.items() if part is not _ABSENT}
        return template.copy() if kind is set or kind is bytearray else template

    def bind(self, arguments: Arguments) -> tuple[Sequence[Any], dict[str, Any]]:
        """The positional and keyword arguments of one attempt."""
        args = [self.resolve(value) for value in arguments.args]
        kwargs = {name: self.resolve(value) for name, value in arguments.kwargs.items()}
        if arguments.by_name:
            kwargs = {name: value for name, value in kwargs.items() if value is not _ABSENT}
        return args, kwargs
