"""Flow: the declared DAG, from its root (or roots) down."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from flows._drawable import Drawable, seen_plan
from flows._job import Job, made_here
from flows._names import check_name, shown
from flows._reference import Reference
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from flows._draw._picture import Picture
    from flows._draw._status import Status
    from flows._plan import Plan

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


class Flow(Drawable, Generic[R_co]):
    """A declared DAG of jobs: its roots and everything below them.

    Two flows are equal when they declare the same jobs, edges, data and options; one that cannot be written down
    equals only itself. Made by a function under `flow`, by
    `Flow.of` or by `Flow.parse`.

    Attributes:
        name: Shown in traces, listings and pictures.
        roots: The returned jobs; the run's value is that of the only one, or a tuple where the function returned a
            tuple.
        retention: How long a document asks for its ended runs to be kept: under ``keep_completed`` and
            ``keep_failed``, at most ``age`` seconds and ``count`` runs; ``{}`` there means all. Empty if nothing was
            said.
    """

    __slots__ = ("made", "name", "retention", "roots", "several")

    def __init__(
        self,
        name: str,
        roots: tuple[Job[Any], ...],
        *,
        several: bool,
        made: tuple[Job[Any], ...] = (),
        retention: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        if not roots or not all(isinstance(root, Job) for root in roots):
            raise DefinitionError(f"flow {name!r} is about {shown(roots)}; its roots are jobs, at least one")
        self.name = name
        self.roots = roots
        self.several = several
        self.made = made
        self.retention: Mapping[str, Mapping[str, float]] = retention or {}

    @classmethod
    def of(cls, source: Flow[R_co] | Job[R_co] | Callable[[], Flow[R_co]]) -> Flow[R_co]:
        """The flow that *source* stands for: a flow, a job as its root, or a `@flow` function that needs no arguments.

        Raises:
            DefinitionError: *source* is none of these.
        """
        if isinstance(source, Flow):
            return source
        if isinstance(source, Job):
            return cls(source.name, (source,), several=False)
        if isinstance(source, FlowFunction):
            _check_needs_nothing(source.fn, f"flow {source.name!r}")
            return cast("Flow[R_co]", source())
        if isinstance(source, Reference):
            raise DefinitionError(f"{source!r} is a result, no flow: pass the job itself, without .out")
        if callable(source) and not inspect.isclass(source):
            _check_needs_nothing(source, shown(source))
            made: object = source()
            if isinstance(made, Flow | Job):
                return cls.of(made)
            if inspect.iscoroutine(made):
                made.close()
        raise DefinitionError(
            f"{shown(source)} is no flow: pass what a @flows.flow function returns, the function itself if it needs no "
            "arguments, or a job; a dict or JSON becomes a flow by flows.Flow.parse()"
        )

    @classmethod
    def parse(cls, source: str | bytes | Mapping[str, Any]) -> Flow[Any]:
        """Read a flow from JSON (text or parsed): our own form, or a BullMQ FlowJob as it is.

        Raises:
            DefinitionError: What is wrong, with the path to the spot; up to 20 problems at once.
        """
        from flows._literal import parse

        return parse(source)

    def to_dict(self) -> dict[str, Any]:
        """The flow as JSON-ready data; ``Flow.parse(flow.to_dict()) == flow``.

        Raises:
            DefinitionError: An option is code (`retry_on`, a custom backoff, a tenacity object) and cannot be written
                down.
            DataError: Data that JSON has no form for, with the path to it.
        """
        from flows._literal import to_dict

        return to_dict(self)

    def plan(self) -> Plan[R_co]:
        """A snapshot of the flow, ordered and checked; see `flows.plan`."""
        from flows._planner import plan

        return plan(self)

    def _seen(self, *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
        return seen_plan(self.plan(), critical_path=critical_path, unfold=unfold)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Flow):
            return NotImplemented
        if self is other:
            return True
        try:
            return self.to_dict() == other.to_dict()
        except DefinitionError:
            return False

    def __hash__(self) -> int:
        return hash((self.name, len(self.roots)))

    def __repr__(self) -> str:
        return f"<flow {self.name!r}>"


class FlowFunction(Drawable, Generic[P, R_co]):
    """A function that declares a flow; calling it builds the flow and runs nothing.

    One that needs no arguments can be drawn as its flow can.
    """

    def __init__(self, fn: Callable[P, Any], name: str) -> None:
        self.fn = fn
        self.name = name
        functools.update_wrapper(self, fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Flow[R_co]:
        outer = made_here.set([])
        try:
            returned = self.fn(*args, **kwargs)
            made = tuple(made_here.get() or ())
        finally:
            made_here.reset(outer)
        return self._flow(returned, made)

    def _flow(self, returned: object, made: tuple[Job[Any], ...]) -> Flow[R_co]:
        several = isinstance(returned, tuple)
        roots = returned if isinstance(returned, tuple) else (returned,)
        if not roots or not all(isinstance(root, Job) for root in roots):
            if inspect.iscoroutine(returned):
                returned.close()
            raise DefinitionError(
                f"flow {self.name!r} returned {shown(returned)}; a @flow function is a plain function that returns "
                "the job it is about, or a tuple of jobs"
            )
        return Flow(self.name, roots, several=several, made=made)

    def _seen(self, *, critical_path: bool, unfold: bool) -> tuple[Picture, list[Status], str]:
        return Flow.of(cast("Callable[[], Flow[Any]]", self))._seen(critical_path=critical_path, unfold=unfold)

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        """The picture of its flow; where there is none without arguments, its name and what it takes."""
        try:
            return {**super()._repr_mimebundle_(include, exclude), "text/plain": repr(self)}
        except DefinitionError:
            return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<flow function {self.name!r}>"


class FlowDecorator(Protocol):
    """What `flow` with arguments returns: takes the function, gives the declaration of a flow."""

    @overload
    def __call__(self, fn: Callable[P, Job[R]], /) -> FlowFunction[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, tuple[Job[A]]], /) -> FlowFunction[P, tuple[A]]: ...
    @overload
    def __call__(self, fn: Callable[P, tuple[Job[A], Job[B]]], /) -> FlowFunction[P, tuple[A, B]]: ...
    @overload
    def __call__(self, fn: Callable[P, tuple[Job[A], Job[B], Job[C]]], /) -> FlowFunction[P, tuple[A, B, C]]: ...
    @overload
    def __call__(
        self, fn: Callable[P, tuple[Job[A], Job[B], Job[C], Job[D]]], /
    ) -> FlowFunction[P, tuple[A, B, C, D]]: ...
    @overload
    def __call__(self, fn: Callable[P, tuple[Job[R], ...]], /) -> FlowFunction[P, tuple[R, ...]]: ...


@overload
def flow(fn: Callable[P, Job[R]], /, *, name: str | None = None) -> FlowFunction[P, R]: ...
@overload
def flow(fn: Callable[P, tuple[Job[A]]], /, *, name: str | None = None) -> FlowFunction[P, tuple[A]]: ...
@overload
def flow(fn: Callable[P, tuple[Job[A], Job[B]]], /, *, name: str | None = None) -> FlowFunction[P, tuple[A, B]]: ...
@overload
def flow(
    fn: Callable[P, tuple[Job[A], Job[B], Job[C]]], /, *, name: str | None = None
) -> FlowFunction[P, tuple[A, B, C]]: ...
@overload
def flow(
    fn: Callable[P, tuple[Job[A], Job[B], Job[C], Job[D]]], /, *, name: str | None = None
) -> FlowFunction[P, tuple[A, B, C, D]]: ...
@overload
def flow(fn: Callable[P, tuple[Job[R], ...]], /, *, name: str | None = None) -> FlowFunction[P, tuple[R, ...]]: ...
@overload
def flow(*, name: str | None = None) -> FlowDecorator: ...
def flow(fn: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Turn a function that calls tasks and returns a job (or a tuple of jobs) into a declaration of a flow.

    A job made in the function that nothing returned depends on would never run: planning the flow names it in a
    `DefinitionError`.

    Args:
        fn: The function; with ``@flow(...)`` it is the one decorated.
        name: The flow's name in traces and listings; the function's own when left out.
    """
    if fn is None:
        return functools.partial(_flow_function, name=name)
    return _flow_function(fn, name=name)


def _flow_function(fn: Callable[..., Any], *, name: str | None) -> FlowFunction[..., Any]:
    if not callable(fn) or inspect.isclass(fn) or inspect.iscoroutinefunction(fn) or inspect.isgeneratorfunction(fn):
        raise DefinitionError(f"@flow takes a plain function that returns a job, not {shown(fn)}")
    return FlowFunction(fn, check_name(getattr(fn, "__name__", "flow") if name is None else name, "flow name"))


def _check_needs_nothing(fn: Callable[..., Any], what: str) -> None:
    try:
        inspect.signature(fn).bind()
    except TypeError as error:
        name = getattr(fn, "__name__", "it")
        raise DefinitionError(
            f"{what}: {error}; call {name}(...) with its arguments and pass what that returns"
        ) from None
    except ValueError:
        pass  # a callable that does not tell its parameters: calling it will
