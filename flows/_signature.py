"""What a handler's parameters ask for: injected ones, data validated by type hints, arguments by name made a call."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from flows._binding import Pick, Picks
from flows._children import INJECTED, Children
from flows._context import Context
from flows._names import shown
from flows.errors import DataError, DefinitionError

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from flows._receiving import Receivers
    from flows._task import Task

CHILDREN: Final = "children"
CONTEXT: Final = "context"

_INJECTED_TYPES: Final[dict[Any, str]] = {Children: CHILDREN, Context: CONTEXT}
_BY_NAME: Final[dict[str, Any]] = {"Children": Children, "Context": Context}

_ANY = inspect.Parameter.empty


class Parameters:
    """The parameters of one handler.

    Attributes:
        injected: Parameter name -> `CHILDREN` or `CONTEXT`, for those that the library fills in.
        evaluated: Whether all annotations could be evaluated; a name defined later may still make one mean more.
    """

    __slots__ = ("_adapters", "_hints", "_receivers", "evaluated", "injected", "signature", "task")

    def __init__(self, task: Task[..., Any]) -> None:
        self.task = task
        self.signature = task.signature
        self._hints: dict[str, Any] = {}
        self._adapters: dict[str, TypeAdapter[Any] | None] = {}
        self._receivers: Receivers | None = None
        self.injected: dict[str, str] = {}
        self.evaluated = True
        for name, parameter in self.signature.parameters.items():
            hint = evaluated(parameter.annotation, task.fn)
            self.evaluated = self.evaluated and not (hint is _ANY and isinstance(parameter.annotation, str))
            wanted = _injection(hint)
            if wanted is not None:
                if parameter.kind is parameter.POSITIONAL_ONLY:
                    raise DefinitionError(
                        f"task {task.name!r}: parameter {name!r} is filled in by name; move it behind the slash"
                    )
                self.injected[name] = wanted
            elif parameter.default is INJECTED:
                raise DefinitionError(
                    f"task {task.name!r}: parameter {name!r} defaults to INJECTED but is annotated {shown(hint)}; "
                    "annotate it flows.Children or flows.Context"
                )
            elif parameter.kind is not parameter.VAR_KEYWORD:
                self._hints[name] = hint

    def validated(self, data: Mapping[str, Any], spot: str, *, stored: bool = False) -> dict[str, Any]:
        """*data* as the keyword arguments of the handler, each value made what its type hint says.

        Values that hold references are left for run time.

        Args:
            data: By parameter.
            spot: Whose it is, for messages.
            stored: Whether it comes from storage, with results in their places.

        Raises:
            DataError: Keys that are no parameters, parameters that are missing, values that do not fit; all in one
                error.
        """
        problems: list[DefinitionError] = []
        taken: dict[str, Any] = {}
        open_ended = False
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                open_ended = True
            elif name in data and name not in self.injected:
                try:
                    value = data[name]
                    taken[name] = (
                        self.receivers.one(name, value, f"{spot}: data.{name}")
                        if stored
                        else self._value(name, parameter, value, spot)
                    )
                except DataError as error:
                    problems.append(error)
            elif self._required(parameter):
                problems.append(DataError(f"{spot}: data lacks {name!r}, which {self._call()} needs"))
        for key in data:
            if key not in taken and (key not in self._hints or key in self.injected):
                if open_ended and key not in self.injected:
                    taken[key] = data[key]
                else:
                    problems.append(DataError(f"{spot}: data has {key!r}, which is no parameter of {self._call()}"))
        if problems:
            raise DefinitionError.of(problems)
        return taken

    def spread(self, named: Mapping[str, Any], spot: str) -> tuple[list[Any], dict[str, Any]]:
        """Arguments by parameter name as a call: positional-only ones and ``*args`` in their places.

        Raises:
            DataError: A parameter without default has no argument.
        """
        args: list[Any] = []
        kwargs = dict(named)
        positional = True
        parameters = self.signature.parameters
        by_place = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)
        spilling = any(parameter.kind in by_place and kwargs.get(name) for name, parameter in parameters.items())
        for name, parameter in parameters.items():
            if self._required(parameter) and name not in kwargs:
                raise DataError(f"{spot}: there is no value for parameter {name!r} of {self._call()}")
            if parameter.kind is parameter.VAR_POSITIONAL:
                args.extend(kwargs.pop(name, ()))
                positional = False
            elif positional and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                if name in kwargs:
                    args.append(kwargs.pop(name))
                elif spilling and parameter.default is not parameter.empty:
                    args.append(parameter.default)  # what follows must not slip into its place
                else:
                    positional = False
        return args, kwargs

    @property
    def receivers(self) -> Receivers:
        """What makes arguments that come from storage what the hints say."""
        if self._receivers is None:
            from flows._receiving import Receivers  # runs in memory have no use for it

            self._receivers = Receivers(self.signature, self._hints)
        return self._receivers

    def _required(self, parameter: inspect.Parameter) -> bool:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return False
        return parameter.default is parameter.empty and parameter.name not in self.injected

    def _value(self, name: str, parameter: inspect.Parameter, value: Any, spot: str) -> Any:
        if _holds_pick(value):
            return value
        hint = self._hints[name]
        if parameter.kind is parameter.VAR_POSITIONAL:
            hint = list[hint] if hint is not _ANY else list  # type: ignore[valid-type]
        adapter = self._adapter(name, hint)
        if adapter is None:
            return value
        from pydantic import ValidationError

        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            lines = [problem(f"{spot}: data.{name}", detail) for detail in error.errors(include_url=False)]
            raise DefinitionError.of([DataError(line) for line in lines]) from error

    def _adapter(self, name: str, hint: Any) -> TypeAdapter[Any] | None:
        if hint is _ANY or hint is Any:
            return None
        if name not in self._adapters:
            self._adapters[name] = type_adapter(hint)
        return self._adapters[name]

    def _call(self) -> str:
        return f"task {self.task.name}{self.signature}"


def type_adapter(hint: Any) -> TypeAdapter[Any] | None:
    """A pydantic adapter for *hint*; None for what pydantic has no idea of, which is then taken as it is."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(hint)
    except PydanticUserError:
        if not isinstance(hint, type) and typing.get_origin(hint) is None:
            return None  # an object that is no type: nothing can be said of values
        try:
            return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:
            return None


def problem(spot: str, detail: Any) -> str:
    """One of pydantic's complaints, with the path to the spot."""
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in detail["loc"])
    return f"{spot}{path}: {detail['msg']} (got {shown(detail['input'])})"


def _holds_pick(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if type(item) is Pick or type(item) is Picks:
            return True
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False


def evaluated(annotation: Any, fn: Any) -> Any:
    """An annotation as an object; one that cannot be evaluated (imported for type checkers only) means anything."""
    if not isinstance(annotation, str):
        return annotation
    plain = inspect.unwrap(fn)
    plain = getattr(plain, "__func__", getattr(plain, "func", plain))
    names = getattr(plain, "__globals__", None) or vars(sys.modules.get(plain.__module__, inspect))
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__={"x": annotation}), names, include_extras=True
        )["x"]
    except Exception:  # evaluating a user's annotation may fail in any way
        return _BY_NAME.get(annotation.rsplit(".", 1)[-1], _ANY)


def _injection(hint: Any) -> str | None:
    try:
        return _INJECTED_TYPES.get(hint)
    except TypeError:  # an unhashable annotation is none of ours
        return None
