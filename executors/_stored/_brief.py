"""Briefs: what a worker must know of one granted job, made of its row and how its children ended.

Nothing of the run has to be in the worker's memory but its header. What costs something is worked out when it is first
asked for, in the hand that runs the job: most jobs are never asked for more than their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, cast

from executors._stored._header import Header
from executors._stored._limits import LIMITS, sized
from executors._stored._rows import IDS, arguments_of, children_of, more_of
from executors._stored._shape import Input, Place
from executors._stored._values import failed_of, read, read_all, write
from flows._binding import Arguments, Binding, Deferred, Held, Lookup, Ready
from flows._bodies import stamped, stamped_conditions
from flows._handlers import Handler, handler_of
from flows._opts import Settings
from flows._state import COMPLETED
from flows.errors import DataError, Failed

_REMOVED: Final = Settings(on_failure="remove")
_KEPT: Final = Settings()
_NOTHING: Final[Mapping[Any, Any]] = {}


class Sink(Protocol):
    """Where what a handler says of itself goes, while it runs; one for each grant. May be called from any thread."""

    def report(self, job: int, progress: bytes) -> None:
        """How far it is, as JSON."""
        ...

    def record(self, job: int, line: str) -> None:
        """A line for the job's log."""
        ...

    def placed(self, job: int, worker: str) -> None:
        """Who runs it, where that is more than the worker which claimed it."""
        ...


class Brief:
    """A `flows._verbs.RunBrief` of one job. Made by `brief`.

    Attributes:
        header: The run's.
        job: The granted row.
        kind: What it has in common with others.
        handler: Its handler; None where there is none in this process (see `unknown`), or where it is a list.
        unknown: Whether no task of that name is known here: the job should go back to its queue, for another worker.
        settings: The options that count.
        inputs: How the children ended.
        place: Where it stands in lists, the outermost first; empty for a job of the flow itself.
        reason: Why the run was cancelled, once it was.
        state: Of which `cancelling` is set by the worker when it hears that the run was cancelled.
    """

    __slots__ = (
        *("gated", "handler", "handlers", "header", "inputs", "job", "kind", "place", "reason", "row"),
        *("_since", "_sink", "settings", "state", "unknown"),
        *("binding", "conditions", "items", "plan", "space", "values"),  # when first asked for
        "__weakref__",
    )  # fmt: skip

    binding: Binding
    """With children as rows of the run."""
    conditions: Mapping[int, tuple[Any, ...]]
    items: Sequence[Held]
    """The items that it stands in, the outermost first."""
    plan: _Plan
    space: Sequence[Any]
    """For a stamped job: what stands at each place of its body's index space."""
    values: Mapping[int, Any]
    """Results of the children that count."""

    def __init__(
        self,
        header: Header,
        job: int,
        row: list[Any],
        inputs: Sequence[Input],
        place: Sequence[Place],
        since: float | None,
        gated: bool,
        sink: Sink | None,
    ) -> None:
        self.header = header
        self.job = job
        self.row = row
        self.inputs = inputs
        self.place = place
        self.gated = gated
        self.reason = ""
        self.state: Any = _State(job, inputs, gated)
        self._since = since
        self._sink = sink
        self.kind = kind = header.kinds[row[1]]
        task = kind.task
        self.settings = kind.settings_for(task)
        if task is None:
            self.handler: Handler | None = None
            self.unknown = not kind.is_control
            self.handlers: Mapping[int, Handler] = _NOTHING
        else:
            self.handler = handler_of(task)
            self.unknown = False
            self.handlers = {job: self.handler}

    @property
    def id(self) -> str:
        """The run's id."""
        return self.header.id

    @property
    def key(self) -> str | None:
        """The run's key."""
        return self.header.key

    @property
    def since(self) -> Mapping[int, float]:
        """When the first attempt began, where this is another."""
        return _NOTHING if self._since is None else {self.job: self._since}

    @property
    def bindings(self) -> Mapping[int, Binding]:
        """Of the job alone; what has to be looked up in results is, when the call is made."""
        return {self.job: self.binding if self.kind.is_control else _Call(self)}

    def failed(self, child: int) -> Failed:
        """Why a child did not complete."""
        for end in self.inputs:
            if end.child == child:
                return failed_of(self.plan.ids[child], end, self.reason)
        return failed_of(self.plan.ids[child], Input(child, 0, None))

    def report(self, job: int, progress: object) -> None:
        """Publish how far the handler is.

        Raises:
            DataError: *progress* has no JSON form, or is too large.
        """
        if self._sink is not None:
            self._sink.report(job, write(progress, f"job {self.row[0]!r}: its progress"))

    def record(self, job: int, line: str) -> None:
        """Add a line to the job's log."""
        if self._sink is not None:
            self._sink.record(job, line)

    def placed(self, job: int, worker: str) -> None:
        """Say who runs the job."""
        if self._sink is not None:
            self._sink.placed(job, worker)

    def links(self) -> list[int]:
        """Of a list: what the links of its body stand for; see `Items.links`."""
        places: list[int] = self.header.bodies[more_of(self.row)["l"]].links
        if not self.place:
            return places
        size, links = len(self.header.bodies[self.place[-1].body].rows), self.place[-1].links
        level, base = len(self.place) - 1, self.place[-1].base
        return [
            base + place if place < size else -1 - level if place == size else links[place - size - 1]
            for place in places
        ]

    def __getattr__(self, name: str) -> Any:
        make = _MADE.get(name)
        if make is None:
            raise AttributeError(name)
        made = make(self)
        setattr(self, name, made)
        return made

    def __repr__(self) -> str:
        return f"<brief of job {self.job} of run {self.id}>"


def brief(
    header: Header,
    job: int,
    row: bytes | list[Any] | None,
    inputs: Sequence[Input] = (),
    *,
    place: Sequence[Place] = (),
    since: float | None = None,
    gated: bool = False,
    sink: Sink | None = None,
) -> Brief:
    """What a worker must know of a granted job.

    Args:
        header: The run's.
        job: Its row in the run.
        row: As stored, or as `rows_from` has read it; None for a stamped job, whose row is the body's.
        inputs: How its children ended: those of `Shape.inputs`, in that order; of a stamped job without those that
            are items.
        place: Where a stamped job stands: for each list around it, the outermost first.
        since: When its first attempt began, by the worker's clock, where this is another.
        gated: Whether its condition has still to be judged.
        sink: Where progress and logs go.

    Raises:
        ValueError: The row has been damaged.
    """
    if row is None:
        row = header.bodies[place[-1].body].rows[job - place[-1].base]
    elif isinstance(row, bytes):
        row = cast("list[Any]", read(row))
    return Brief(header, job, row, inputs, place, since, gated, sink)


class _Call(Deferred):
    """The call that a brief describes."""

    __slots__ = ("_brief",)
    plain = False

    def __init__(self, brief: Brief) -> None:
        self._brief = brief

    def worked_out(self, handler: Handler) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments: results looked up, and all of it made what the type hints say."""
        brief = self._brief
        binding, parameters = brief.binding, handler.parameters
        spot = f"job {brief.plan.ids[brief.job]!r}" if brief.place else f"job {brief.row[0]!r}"
        if type(binding) is tuple:
            values = brief.values
            return parameters.receivers.placed([values[child] for child in binding], spot), {}
        arguments = cast("Arguments", binding)
        if type(arguments) is Ready:
            return parameters.receivers.placed(list(arguments.args), spot), {}
        values = brief.values if brief.inputs else _NOTHING
        try:
            args, kwargs = Lookup(values, values.__contains__, brief.failed).bind(arguments)
        except LookupError as error:
            raise DataError(f"{spot}: {error}") from error
        if not arguments.by_name:
            receivers = parameters.receivers
            args = receivers.placed(cast("list[Any]", args), spot)
            return args, receivers.named(kwargs, spot) if kwargs else kwargs
        if brief.kind.typed:
            named = parameters.receivers.named(kwargs, spot)
        else:
            named = parameters.validated(kwargs, spot, stored=True)
        return parameters.spread(named, spot)


class _State:
    """What is asked of a run's columns on behalf of one job."""

    __slots__ = ("_inputs", "_job", "cancelling", "gated")
    item_of: ClassVar[Mapping[int, int]] = _NOTHING
    lists: ClassVar[Mapping[int, int]] = _NOTHING

    def __init__(self, job: int, inputs: Sequence[Input], gated: bool) -> None:
        self.cancelling = False
        self.gated: Collection[int] = (job,) if gated else ()
        self._inputs = inputs
        self._job = job

    @property
    def state(self) -> dict[int, int]:
        return {end.child: end.state for end in self._inputs}

    @property
    def cut(self) -> dict[int, int]:
        early = any(end.state < COMPLETED for end in self._inputs)
        return {self._job: 1} if early else {}

    @property
    def ordinal(self) -> dict[int, int]:
        return {end.child: int(end.state >= COMPLETED) for end in self._inputs}


class _Plan:
    """What is asked of a run's plan on behalf of one job: columns that have this one and its children."""

    __slots__ = ("gone", "ids", "inputs", "lists", "name", "names", "optional", "queues_of", "settings", "tasks")

    def __init__(self, brief: Brief) -> None:
        job, row, kind = brief.job, brief.row, brief.kind
        more = more_of(row)
        children, rows = children_of(row), brief.space
        names = row[3].split(IDS) if children else []
        self.ids = {job: row[0] + _label(brief.place)}
        optional, removed = more.get("o", ()), more.get("r", ())
        self.settings = {}
        for child, name in zip(children, names, strict=True):
            there = rows[child] if rows else child
            if type(there) is int:
                self.ids[there] = name + _label_of(brief, child)
                self.settings[there] = _REMOVED if child in removed else _KEPT
        self.settings[job] = brief.settings
        inputs = children[: more.get("n", len(children))]
        self.inputs = {job: _rows(rows, inputs)}
        self.optional = {job: frozenset(_rows(rows, optional))} if optional else _NOTHING
        self.name = brief.header.name
        self.names = {job: kind.name}
        self.queues_of = {job: kind.queue}
        self.tasks = {job: kind.task}
        self.lists: Mapping[int, Any] = _NOTHING
        self.gone: Collection[int] = ()


def _binding(brief: Brief) -> Binding:
    binding = arguments_of(brief.row)
    return stamped(binding, brief.space) if brief.place else binding


def _conditions(brief: Brief) -> Mapping[int, tuple[Any, ...]]:
    written = more_of(brief.row).get("w")
    if written is None:
        return _NOTHING
    return {brief.job: stamped_conditions(tuple(written), brief.space) if brief.place else tuple(written)}


def _items(brief: Brief) -> Sequence[Held]:
    return [Held(read(place.item), ()) for place in brief.place]


def _space(brief: Brief) -> Sequence[Any]:
    if not brief.place:
        return ()
    place, items = brief.place[-1], brief.items
    size = len(brief.header.bodies[place.body].rows)
    links = [link if link >= 0 else items[-1 - link] for link in place.links]
    return [*range(place.base, place.base + size), items[-1], *links]


def _values(brief: Brief) -> Mapping[int, Any]:
    """The results of the children that count, read at one go.

    Raises:
        DataError: They are too large, all together.
    """
    ends = [end for end in brief.inputs if end.state == COMPLETED]
    payloads: list[Any] = [end.payload for end in ends]
    size = sum(map(len, payloads))
    if size > LIMITS.inputs:
        raise DataError(
            f"job {brief.plan.ids[brief.job]!r}: the results that it takes are {sized(size)} of JSON together, more "
            f"than the {sized(LIMITS.inputs)} that a job may have; pass on names of files, or fold them in steps"
        )
    return dict(zip([end.child for end in ends], read_all(payloads), strict=True))


_MADE: Final[Mapping[str, Callable[[Brief], Any]]] = {
    "binding": _binding,
    "conditions": _conditions,
    "items": _items,
    "plan": _Plan,
    "space": _space,
    "values": _values,
}


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
