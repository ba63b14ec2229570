"""Briefs: what a worker must know of one granted job, made of its row and how its children ended.

Nothing of the run has to be in the worker's memory but its header. What costs something is worked out when it is first
asked for, in the hand that runs the job: most jobs are never asked for more than their arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

from executors._stored._header import Header, Kind
from executors._stored._limits import LIMITS, sized
from executors._stored._one_job import OnePlan, OneState
from executors._stored._rows import arguments_of, more_of, row_from
from executors._stored._shape import Input, Place
from executors._stored._values import failed_of, read, read_all, write
from flows import _registry
from flows._binding import Arguments, Binding, Deferred, Held, Lookup, Ready
from flows._bodies import stamped, stamped_conditions
from flows._handlers import Handler
from flows._receiving import returned
from flows._signature import Parameters
from flows._state import COMPLETED
from flows.errors import DataError, DefinitionError, Failed

if TYPE_CHECKING:
    from flows._opts import Settings
    from flows._verbs import ByJob

_NOTHING: Final[Mapping[Any, Any]] = {}
_NO_ARGUMENTS: Final = Arguments((), {}, by_name=True)
"""Of a literal job without data."""


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
        simple: Whether its handler is a sync one that runs in a thread, without a time limit or a key of its own.
        inputs: How the children ended.
        place: Where it stands in lists, the outermost first; empty for a job of the flow itself.
        reason: Why the run was cancelled, once it was.
        cancelling: Whether the run was cancelled, as far as the worker has heard; set by it, here or on `state`.
    """

    __slots__ = (
        *("cancelling", "gated", "handler", "handlers", "header", "inputs", "job", "kind", "place"),
        *("_since", "_sink", "reason", "row", "settings", "simple", "unknown"),
        *("binding", "conditions", "ends", "items", "plan", "space", "values"),  # when first asked for
        *("deadline_at", "rated", "tracing"),
        "__weakref__",
    )  # fmt: skip

    binding: Binding
    """With children as rows of the run."""
    conditions: Mapping[int, tuple[Any, ...]]
    ends: Mapping[int, Input]
    """How each child has ended."""
    items: Sequence[Held]
    """The items that it stands in, the outermost first."""
    plan: Any
    """A `OnePlan`."""
    deadline_at: float | None
    rated: bool
    tracing: Any
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
        found: Found | None = None,
    ) -> None:
        self.header = header
        self.job = job
        self.row = row
        self.inputs = inputs
        self.place = place
        self.gated = gated
        self.cancelling = self.rated = False
        self.deadline_at = self.tracing = None
        self.reason = ""
        self._since = since
        self._sink = sink
        if found is None:
            found = look_up(header.kinds[row[1]])
        self.kind, self.handler, self.settings, self.handlers, self.unknown, self.simple = found

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
    def state(self) -> Any:
        """What is asked of the run's columns on behalf of the job."""
        return OneState(self)

    @property
    def bindings(self) -> Mapping[int, Binding]:
        """Of the job alone; what has to be looked up in results is, when the call is made."""
        return {self.job: self.binding if self.kind.is_control else _Call(self)}

    def failed(self, child: int) -> Failed:
        """Why a child did not complete."""
        end = self.ends.get(child)
        if end is None:
            return failed_of(self.plan.ids[child], Input(child, 0, None))
        return failed_of(self.plan.ids[child], end, self.reason)

    def tell(self, sink: Sink) -> None:
        """Have what the handler says of itself go there."""
        self._sink = sink

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
        row = row_from(row)
    return Brief(header, job, row, inputs, place, since, gated, sink)


class Found(NamedTuple):
    """What is found here for the jobs of a kind, at this moment; see `Brief`."""

    kind: Kind
    handler: Handler | None
    settings: Settings
    handlers: ByJob[Handler]
    unknown: bool
    simple: bool = False


def look_up(kind: Kind) -> Found:
    """What there is for the jobs of a kind; the same again as long as the task is what it was."""
    handler = kind.handler()
    if handler is None:
        return Found(kind, None, kind.settings_for(None), _Nobody(kind), not kind.is_control)
    settings, former = kind.settings_for(handler.task), kind.found
    if former is None or former.handler is not handler or former.settings is not settings:
        former = kind.found = Found(kind, handler, settings, Everybody(handler), False, _is_simple(handler, settings))
    return former


def _is_simple(handler: Handler, settings: Settings) -> bool:
    limited = settings.timeout is not None or settings.idempotency_key is not None
    return not (handler.is_async or limited or settings.run_in == "process")


class Everybody:
    """The handlers of jobs of one kind."""

    __slots__ = ("_handler",)

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def __getitem__(self, job: int) -> Handler:
        return self._handler


class _Nobody(dict[int, Handler]):
    """The handlers of a job whose task is not known here.

    Raises:
        UnknownTaskError: Whenever one is asked for.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind

    def __missing__(self, job: int) -> Handler:
        raise _registry.unknown(self._kind.name, self._kind.queue, self._kind.name)


class _Call(Deferred):
    """The call that a brief describes. Its arguments are worked out when somebody asks for them."""

    __slots__ = ("_brief", "plain")

    def __init__(self, brief: Brief) -> None:
        self._brief = brief
        written = brief.row[2] if len(brief.row) > 2 else ()
        self.plain = brief.kind.typed and (type(written) is not dict or ("k" not in written and "n" not in written))
        """Whether there are positional arguments only."""

    @property
    def args(self) -> Sequence[Any]:  # type: ignore[override]
        """The positional arguments, where there are no others."""
        brief = self._brief
        handler = brief.handler
        assert handler is not None
        return self.worked_out(handler)[0]

    def worked_out(self, handler: Handler) -> tuple[Sequence[Any], dict[str, Any]]:
        """The arguments: results looked up, and all of it made what the type hints say."""
        brief = self._brief
        try:
            return self._worked_out(brief, handler.parameters)
        except (LookupError, DefinitionError) as error:
            spot = f"job {brief.plan.ids[brief.job]!r}"
            texts = error.problems if isinstance(error, DefinitionError) else (str(error),)
            problems = [DataError(text if text.startswith(spot) else f"{spot}: {text}") for text in texts]
            raise DefinitionError.of(problems) from error

    def _worked_out(self, brief: Brief, parameters: Parameters) -> tuple[Sequence[Any], dict[str, Any]]:
        row, receivers = brief.row, parameters.receivers
        args: Any
        kwargs: dict[str, Any]
        by_name = not brief.kind.typed
        if brief.place or len(row) > 3:
            binding = brief.binding
            if type(binding) is tuple and not by_name:
                values = brief.values
                return receivers.placed([values[child] for child in binding]), {}
            arguments = _NO_ARGUMENTS if type(binding) is tuple else cast("Arguments", binding)
            if type(arguments) is Ready:
                return receivers.placed([*arguments.args]), {}
            values = brief.values if brief.inputs else _NOTHING
            args, kwargs = Lookup(values, values.__contains__, brief.failed).bind(arguments)
            by_name = by_name or arguments.by_name
        else:  # it takes no results
            written: Any = (row[2] if len(row) > 2 else 0) or _NOTHING
            args, kwargs = written.get("a") or [], written.get("k") or {}
            by_name = by_name or "n" in written
        if not by_name:
            return receivers.placed(args), receivers.named(kwargs) if kwargs else kwargs
        spot = f"job {brief.plan.ids[brief.job]!r}"
        named = receivers.named(kwargs) if brief.kind.typed else parameters.validated(kwargs, spot, stored=True)
        return parameters.spread(named, spot)


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
    values = dict(zip([end.child for end in ends], read_all(payloads), strict=True))
    for place, kind in more_of(brief.row).get("p", ()):  # what a part of it is may be for its type to say
        child, task = brief.space[place] if brief.place else place, brief.header.kinds[kind].task
        if task is not None and child in values:
            values[child] = returned(task, values[child])
    return values


_MADE: Final[Mapping[str, Callable[[Brief], Any]]] = {
    "binding": _binding,
    "conditions": _conditions,
    "ends": lambda brief: {end.child: end for end in brief.inputs},
    "items": _items,
    "plan": OnePlan,
    "space": _space,
    "values": _values,
}
