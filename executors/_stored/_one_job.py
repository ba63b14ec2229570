"""What is asked of a run's plan and columns on behalf of one job: told from its row, and how its children ended."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from executors._stored._rows import IDS, children_of, more_of
from executors._stored._shape import Place
from flows._opts import Settings
from flows._state import COMPLETED

if TYPE_CHECKING:
    from executors._stored._brief import Brief

_REMOVED: Final = Settings(on_failure="remove")
_KEPT: Final = Settings()
_NOTHING: Final[Mapping[Any, Any]] = {}


class OneState:
    """What is asked of a run's columns on behalf of one job."""

    __slots__ = ("_brief", "_ordinal")
    item_of: ClassVar[Mapping[int, int]] = _NOTHING
    lists: ClassVar[Mapping[int, int]] = _NOTHING

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        self._ordinal: dict[int, int] | None = None  # asked for child by child

    @property
    def cancelling(self) -> bool:
        return self._brief.cancelling

    @cancelling.setter
    def cancelling(self, cancelling: bool) -> None:
        self._brief.cancelling = cancelling

    @property
    def gated(self) -> Collection[int]:
        return (self._brief.job,) if self._brief.gated else ()

    @property
    def state(self) -> dict[int, int]:
        return {end.child: end.state for end in self._brief.inputs}

    @property
    def cut(self) -> dict[int, int]:
        early = any(end.state < COMPLETED for end in self._brief.inputs)
        return {self._brief.job: 1} if early else {}

    @property
    def ordinal(self) -> dict[int, int]:
        if self._ordinal is None:
            self._ordinal = {end.child: int(end.state >= COMPLETED) for end in self._brief.inputs}
        return self._ordinal


class _Options(dict[int, Settings]):
    """The job's options; of its children no more than how their failures count, worked out when first asked for."""

    __slots__ = ("_row", "_rows")

    def __init__(self, job: int, settings: Settings, row: Sequence[Any], rows: Sequence[Any]) -> None:
        self[job] = settings
        self._row = row
        self._rows = rows

    def __missing__(self, child: int) -> Settings:
        rows, removed = self._rows, more_of(self._row).get("r", ())
        for place in children_of(self._row):
            there = rows[place] if rows else place
            if type(there) is int:  # else it is an item
                self.setdefault(there, _REMOVED if place in removed else _KEPT)
        if child not in self:
            raise KeyError(child)
        return self[child]


class OnePlan:
    """What is asked of a run's plan on behalf of one job: columns that have this one and its children.

    Most jobs are only asked for their options; the others are worked out when one of them is.
    """

    __slots__ = (
        *("_about", "name", "settings"),
        *("gone", "ids", "inputs", "lists", "names", "optional", "queues_of", "tasks"),  # when first asked for
    )
    gone: Collection[int]
    ids: dict[int, str]
    inputs: Mapping[int, Sequence[int]]
    lists: Mapping[int, Any]
    names: Mapping[int, str]
    optional: Mapping[int, Collection[int]]
    queues_of: Mapping[int, str]
    tasks: Mapping[int, Any]

    def __init__(self, brief: Brief) -> None:
        self.name = brief.header.name
        # Not the brief, which has this plan: both would stay until a collection.
        self._about = brief.job, brief.row, brief.kind
        self.settings = _Options(brief.job, brief.settings, brief.row, brief.space if brief.place else ())
        if brief.place:
            self._work_out(brief)

    def __getattr__(self, name: str) -> Any:
        if name not in OnePlan.__annotations__:
            raise AttributeError(name)
        self._work_out(None)
        return getattr(self, name)

    def _work_out(self, brief: Brief | None) -> None:
        """All that there is; *brief* of a stamped job."""
        job, row, kind = self._about
        more, rows = more_of(row), () if brief is None else brief.space
        children = children_of(row)
        names = row[3].split(IDS) if children else []
        optional = more.get("o", ())
        self.ids = {job: row[0] + ("" if brief is None else _label(brief.place))}
        for child, name in zip(children, names, strict=True):
            there = rows[child] if rows else child
            if type(there) is int:
                self.ids[there] = name + ("" if brief is None else _label_of(brief, child))
        inputs = children[: more.get("n", len(children))]
        self.inputs = {job: _rows(rows, inputs)} if inputs else {job: ()}
        self.optional = {job: frozenset(_rows(rows, optional))} if optional else _NOTHING
        self.names = {job: kind.name}
        self.queues_of = {job: kind.queue}
        self.tasks = {job: kind.task}
        self.lists = _NOTHING
        self.gone = ()


def _rows(space: Sequence[Any], places: Sequence[int]) -> tuple[int, ...]:
    """The rows of the run at these places; items are none."""
    if not space:
        return tuple(places)
    return tuple([space[place] for place in places if type(space[place]) is int])


def _label(places: Sequence[Place]) -> str:
    return "".join([f"[{place.position}]" for place in places])


def _label_of(brief: Brief, place: int) -> str:
    """What the id of the job at a place of the index space ends with: that of the body which it is of."""
    chain = brief.place
    for level in range(len(chain) - 1, -1, -1):
        body = brief.header.bodies[chain[level].body]
        size = len(body.rows)
        if place < size:
            return _label(chain[: level + 1])
        place = body.links[place - size - 1]
    return ""
