"""Receiving what comes from storage: JSON is made what the type hints of a handler say, at no cost where it is already.

A value of plain builtins is looked at and passed on. Only for other hints is pydantic loaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flows._fits import Check, check_of
from flows._signature import evaluated, problem, type_adapter
from flows.errors import DataError, DefinitionError, Failed

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from flows._task import Task

Receive = Callable[[Any, str], Any]
"""Takes a value and what it is; returns it as the hint says, or raises `DataError`."""


class Receivers:
    """What to do with each argument of one handler.

    Args:
        signature: The handler's.
        hints: Evaluated, by parameter; those that the library fills in are not among them.
    """

    __slots__ = ("_named", "_placed", "_spill", "_strict")

    def __init__(self, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._named: dict[str, Receive | None] = {name: receiver(hint) for name, hint in hints.items()}
        self._placed: list[tuple[str, Receive | None]] = []
        """Of each positional parameter, up to the last that has anything to check."""
        self._spill: tuple[str, Receive] | None = None
        self._strict = {name for name, receive in self._named.items() if receive is not None}
        for name, parameter in signature.parameters.items():
            receive = self._named.get(name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                self._spill = None if receive is None else (name, receive)
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                self._placed.append((name, receive))
        if not self._spill:
            while self._placed and self._placed[-1][1] is None:
                self._placed.pop()

    def placed(self, values: list[Any], spot: str) -> list[Any]:
        """Positional arguments; *values* itself, with what had to be made in the places.

        Raises:
            DataError: Some do not fit; all in one error.
        """
        problems: list[DefinitionError] = []
        if self._placed:
            for place, ((name, receive), value) in enumerate(zip(self._placed, values, strict=False)):
                if receive is not None:
                    try:
                        values[place] = receive(value, name)
                    except DataError as error:
                        problems.append(error)
        if self._spill is not None:
            name, receive = self._spill
            for place in range(len(self._placed), len(values)):
                try:
                    values[place] = receive(values[place], f"{name}[{place - len(self._placed)}]")
                except DataError as error:
                    problems.append(error)
        if problems:
            raise _at(spot, problems)
        return values

    def named(self, values: dict[str, Any], spot: str) -> dict[str, Any]:
        """Arguments by parameter name; *values* itself, with what had to be made in the places. ``*args`` is a list.

        Raises:
            DataError: Some do not fit; all in one error.
        """
        problems: list[DefinitionError] = []
        for name in values.keys() & self._strict:
            try:
                values[name] = self.one(name, values[name], spot)
            except DefinitionError as error:
                problems.append(error)
        if problems:
            raise DefinitionError.of(problems)
        return values

    def one(self, name: str, value: Any, spot: str) -> Any:
        """The argument for the parameter *name*.

        Raises:
            DataError: It does not fit.
        """
        receive = self._named.get(name)
        if receive is None:
            return value
        try:
            if self._spill is not None and self._spill[0] == name:
                return [receive(item, f"{name}[{place}]") for place, item in enumerate(value)]
            return receive(value, name)
        except DataError as error:
            raise _at(spot, [error]) from error


def receiver(hint: Any) -> Receive | None:
    """What makes a stored value what *hint* says; None where any value will do."""
    if hint is inspect.Parameter.empty or hint is Any or hint is object:
        return None
    check = check_of(hint)
    return _Receiver(hint, check)


def returned(task: Task[..., Any], value: Any) -> Any:
    """A stored result, made what the task's return annotation says; as it is where it does not fit: it is not lost."""
    receive = _returns.get(task)
    if receive is None:
        hint = evaluated(task.signature.return_annotation, task.fn)
        receive = _returns[task] = receiver(hint) or _as_it_is
    try:
        return receive(value, "")
    except DefinitionError:
        return value


def _as_it_is(value: Any, what: str) -> Any:
    return value


_returns: WeakKeyDictionary[Task[..., Any], Receive] = WeakKeyDictionary()


class _Receiver:
    """For one hint; its adapter is made when a value comes that is not plainly right."""

    __slots__ = ("_adapter", "_check", "_hint", "_made")

    def __init__(self, hint: Any, check: Check | None) -> None:
        self._hint = hint
        self._check = check
        self._made = False
        self._adapter: TypeAdapter[Any] | None = None

    def __call__(self, value: Any, what: str) -> Any:
        if self._check is not None and self._check(value):
            return value
        if type(value) is Failed:  # in the place of an optional result, whatever the parameter says
            return value
        if not self._made:
            self._adapter, self._made = type_adapter(self._hint), True
        if self._adapter is None:
            return value
        from pydantic import ValidationError

        try:
            return _validated(self._adapter, value)
        except ValidationError as error:
            try:  # strict models take more from JSON than from objects: text for a date
                return self._adapter.validate_json(json.dumps(value, allow_nan=False))
            except (ValidationError, ValueError, TypeError):
                pass
            if isinstance(value, list) and any(type(item) is Failed for item in value):
                return value  # the same of the items of a list
            lines = [problem(what, detail) for detail in error.errors(include_url=False)]
            raise DefinitionError.of([DataError(line) for line in lines]) from error


def _validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    """*value* validated; models were written by the names of their fields, whatever their aliases."""
    try:
        return adapter.validate_python(value, by_alias=True, by_name=True)
    except TypeError:  # before pydantic 2.11
        return adapter.validate_python(value)


def _at(spot: str, problems: Sequence[DefinitionError]) -> DefinitionError:
    texts = [text for error in problems for text in error.problems]
    return DefinitionError.of([DataError(f"{spot}: {text}") for text in texts])
