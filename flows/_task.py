"""Task: a handler with a name, a queue and options. Calling it places a job in a flow; it never runs the function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Protocol, TypeVar, overload

from flows import _registry
from flows._children import INJECTED
from flows._job import Job, call_job
from flows._names import check_name, check_queue, shown
from flows._opts import Options, Opts, Queue
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from typing import Unpack

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_QUEUE = "default"


class Task(Generic[P, R]):
    """A handler with a name, a queue and options; made by `task`.

    Attributes:
        fn: The plain function, for unit tests.
        name: How workers find the handler.
        queue: The name of the queue whose workers run it.
    """

    __slots__ = (
        *("fn", "home", "id", "job_opts", "name", "opts", "target"),
        *("_arity", "_handler", "_place", "_signature", "__weakref__"),
    )

    def __init__(self, fn: Callable[P, Any], name: str, queue: str | Queue, opts: Opts) -> None:
        self.fn = fn
        self.name = name
        self.home: str | Queue = queue
        self.opts = opts
        self.target: str | Queue | None = None
        self.job_opts: Opts | None = None
        self.id: str | None = None
        self._signature = _signature_of(fn, name)
        self._arity = _plain_arity(self._signature)
        self._handler: Any = None  # what was worked out for its first run, kept by those who did
        self._place: Any = None

    @property
    def queue(self) -> str:
        """The name of the queue that its jobs go to."""
        target = self.target or self.home
        return target.name if isinstance(target, Queue) else target

    @property
    def signature(self) -> inspect.Signature:
        """The function's parameters, annotations unevaluated."""
        return self._signature

    @property
    def is_async(self) -> bool:
        """Whether the handler is a coroutine function and runs on the event loop."""
        return _is_async(self.fn)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        if kwargs or len(args) != self._arity:
            try:
                given = self._signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise DefinitionError(
                    f"task {self.name!r}: {error}; it takes {self.name}{self._signature}{self._missing_default()}"
                ) from None
            for name in given:
                if self._signature.parameters[name].default is INJECTED:
                    raise DefinitionError(
                        f"task {self.name!r}: parameter {name!r} is filled in at run time; leave it out"
                    )
        return call_job(self, args, kwargs)

    def _missing_default(self) -> str:
        """A hint for those who annotated a parameter for the library to fill in, and left out its default."""
        for name, parameter in self._signature.parameters.items():
            hint = str(parameter.annotation).rstrip("'>")
            if parameter.default is parameter.empty and hint.endswith(("Children", "Context")):
                return f"; give {name!r} the default flows.INJECTED"
        return ""

    def using(
        self, *, queue: str | Queue | None = None, id: str | None = None, **options: Unpack[Options]
    ) -> Task[P, R]:
        """The same task with other options for the jobs made from it. `queue` moves the job, not the handler.

        Raises:
            DefinitionError: An option, the queue or the id is not what it should be.
        """
        other: Task[P, R] = object.__new__(Task)
        for slot in ("fn", "name", "home", "opts", "_signature", "_arity"):
            setattr(other, slot, getattr(self, slot))
        other._handler = other._place = None
        changed = Opts(**options)
        other.job_opts = changed if self.job_opts is None else self.job_opts.updated(changed)
        other.target = self.target if queue is None else queue if isinstance(queue, Queue) else check_queue(queue)
        other.id = self.id if id is None else check_name(id, "job id")
        return other

    def __repr__(self) -> str:
        return f"<task {self.name!r} on queue {self.queue!r}>"


class TaskDecorator(Protocol):
    """What `task` with arguments returns: takes the function, gives the `Task`."""

    @overload
    def __call__(self, fn: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    fn: Callable[P, Coroutine[Any, Any, R]],
    /,
    *,
    name: str | None = None,
    queue: str | Queue = DEFAULT_QUEUE,
    **options: Unpack[Options],
) -> Task[P, R]: ...
@overload
def task(
    fn: Callable[P, R], /, *, name: str | None = None, queue: str | Queue = DEFAULT_QUEUE, **options: Unpack[Options]
) -> Task[P, R]: ...
@overload
def task(
    *, name: str | None = None, queue: str | Queue = DEFAULT_QUEUE, **options: Unpack[Options]
) -> TaskDecorator: ...
def task(
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    queue: str | Queue = DEFAULT_QUEUE,
    **options: Unpack[Options],
) -> Any:
    """Turn a sync or async function into a `Task` and register it under its name and queue.

    Sync handlers run in threads (the caller's may be among them), async ones on the worker's event loop.

    Args:
        fn: The handler; with ``@task(...)`` it is the function decorated.
        name: How workers find the handler; the function's own name when left out. A lambda must be given one.
        queue: A queue's name, or a `Queue` with limits and default options.
        **options: The fields of `Opts`.

    Raises:
        DefinitionError: The function cannot be a handler, or an option is wrong.
        DuplicateTaskError: Another file has registered this name on this queue.
    """
    if fn is None:
        return functools.partial(task, name=name, queue=queue, **options)
    chosen = check_name(_name_of(fn) if name is None else name, "task name")
    made: Task[..., Any] = Task(fn, chosen, queue if isinstance(queue, Queue) else check_queue(queue), Opts(**options))
    _registry.register(made)
    return made


def _name_of(fn: object) -> str:
    _refuse_non_handlers(fn)
    name = getattr(fn, "__name__", None)
    if name == "<lambda>":
        raise DefinitionError(
            "a lambda has no name that workers could find it by; give it one: flows.task(fn, name='double')"
        )
    if not isinstance(name, str):
        raise DefinitionError(
            f"{shown(fn)} has no name that workers could find it by; give it one: flows.task(fn, name=...)"
        )
    return name


def _refuse_non_handlers(fn: object) -> None:
    if inspect.iscoroutine(fn):
        fn.close()
        wrong = "a coroutine: leave out the call, the task takes the function itself"
    elif inspect.isclass(fn):
        wrong = "a class; wrap the call in a function"
    elif isinstance(fn, Task):
        wrong = "a task already; task.using(...) gives it other options"
    elif inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        wrong = "a generator function; return a list instead"
    elif not callable(fn):
        wrong = "not callable"
    else:
        return
    raise DefinitionError(f"{shown(fn)} cannot be a task: it is {wrong}")


def _signature_of(fn: Callable[..., Any], name: str) -> inspect.Signature:
    _refuse_non_handlers(fn)
    try:
        return inspect.signature(fn)
    except (ValueError, TypeError) as error:
        raise DefinitionError(
            f"task {name!r}: the parameters of {shown(fn)} cannot be read ({error}); wrap it in a function"
        ) from error


def _plain_arity(signature: inspect.Signature) -> int:
    """How many positional arguments make a call that surely fits; -1 when each call must be bound."""
    for parameter in signature.parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty:
                continue
            return -1
        if parameter.default is not parameter.empty:
            return -1
    return sum(p.kind is not p.KEYWORD_ONLY for p in signature.parameters.values())


def _is_async(fn: Callable[..., Any]) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__)


def call_arguments(task: Task[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a checked call by parameter name, `*args` as a list and `**kwargs` merged in."""
    bound = task.signature.bind(*args, **kwargs)
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = task.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            named[name] = list(value)
        elif kind is inspect.Parameter.VAR_KEYWORD:
            # A keyword may have the name of a positional-only parameter: two arguments, not one.
            named.update(value if named.keys().isdisjoint(value) else {f"**{name}": value})
        else:
            named[name] = value
    return named
