"""Payloads: data and results on their way through a store that writes everything down.

A result becomes canonical JSON when its handler has returned, and each reader gets a fresh copy, validated against
the annotation of what receives it: what relies on tuples, on the identity of objects or on a change that another
handler would see is found out.
"""

from __future__ import annotations

import inspect
import json
import typing
import weakref
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from flows._codec import canonical, jsonable
from flows._handlers import _UNFINISHED, BadResultError
from flows._signature import Parameters, evaluated, type_adapter
from flows.errors import DataError, Failed

if TYPE_CHECKING:
    from flows._task import Task

_ANY: Final = inspect.Parameter.empty
_PLAIN: Final = frozenset((int, str, float, bool))


class Written(bytes):
    """A value as canonical JSON."""

    __slots__ = ()


class Payloads(list[Any]):
    """A run's results: kept as they are written, read as fresh copies."""

    def __getitem__(self, job: Any) -> Any:
        return read(super().__getitem__(job))


def read(value: Any) -> Any:
    """A fresh copy of a kept value; `Failed` records in it are passed on as they are."""
    kind = type(value)
    if kind is Written:
        return json.loads(value)
    if kind is list or kind is tuple:
        return [read(item) for item in value]
    if kind is dict:
        return {key: read(item) for key, item in value.items()}
    return value


def written(value: Any, spot: str) -> Any:
    """A handler's result as a store keeps it.

    Raises:
        BadResultError: It has no JSON form.
    """
    if type(value) in _UNFINISHED:
        return value  # which is refused for what it is
    try:
        return Written(canonical(jsonable(value, f"{spot}: the result")))
    except DataError as error:
        raise BadResultError(f"{error}. What the handler did stands, so it is not tried again.") from error


class Receiver:
    """What the parameters of a handler make of arguments that come from a store."""

    __slots__ = ("_hints", "_names", "_parameters", "_rest")

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._hints = parameters._hints
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        listed = parameters.signature.parameters.values()
        self._names = [one.name for one in listed if one.kind in by_place]
        self._rest = next((one.name for one in listed if one.kind is one.VAR_POSITIONAL), "")

    def receive(self, args: Sequence[Any], kwargs: Mapping[str, Any], spot: str) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of a call, each written down, read back and validated.

        Raises:
            DataError: One has no JSON form, or does not fit its annotation.
        """
        names, known = self._names, len(self._names)
        injected = self._parameters.injected
        return (
            [self._value(names[at] if at < known else self._rest, value, spot) for at, value in enumerate(args)],
            {name: value if name in injected else self._value(name, value, spot) for name, value in kwargs.items()},
        )

    def _value(self, name: str, value: Any, spot: str) -> Any:
        hint = self._hints.get(name, _ANY)
        if type(value) is hint and hint in _PLAIN:
            return value
        if isinstance(value, Failed):
            return value
        where = f"{spot}: argument {name!r}"
        place = f"*{name}" if name == self._rest else name  # as data, all that it takes is one list
        adapter = self._parameters._adapter(place, hint)
        if _holds_failed(value):
            plain = _with_failed(value, where)
            return plain if adapter is None else _checked(lambda: adapter.validate_python(plain), where)
        text = canonical(jsonable(value, where))
        return json.loads(text) if adapter is None else _checked(lambda: adapter.validate_json(text), where)


def _checked(validate: Any, spot: str) -> Any:
    from pydantic import ValidationError

    try:
        return validate()
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        path = "".join(f"[{step!r}]" for step in problem["loc"])
        raise DataError(f"{spot}{path}: {problem['msg']} (read back from JSON)") from error


def _holds_failed(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, Failed):
            return True
        if isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return False


def _with_failed(value: Any, spot: str) -> Any:
    if isinstance(value, Failed):
        return value
    if isinstance(value, dict):
        return {key: _with_failed(item, spot) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_failed(item, spot) for item in value]
    return json.loads(canonical(jsonable(value, spot)))


_returned: weakref.WeakKeyDictionary[Task[..., Any], Any] = weakref.WeakKeyDictionary()


def as_returned(task: Task[..., Any], value: Any) -> Any:
    """A result as the caller sees it: validated against the return annotation of the task, where that can be done."""
    if task not in _returned:
        hint = evaluated(task.signature.return_annotation, task.fn)
        plain = hint is _ANY or hint is Any or hint is None or typing.get_origin(hint) is typing.Never
        _returned[task] = None if plain else type_adapter(hint)
    adapter = _returned[task]
    if adapter is None or _holds_failed(value):
        return value
    return _checked(lambda: adapter.validate_json(canonical(value)), f"the result of task {task.name!r}")
