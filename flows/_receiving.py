"""Receiving what comes from storage: JSON is made what the type hints of a handler say, at no cost where it is already.

A value of plain builtins is looked at and passed on. Only for other hints is pydantic loaded.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
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

    __slots__ = ("_kinds", "_named", "_places", "_spill", "_strict")

    def __init__(self, signature: inspect.Signature, hints: Mapping[str, Any]) -> None:
        self._named: dict[str, Receive | None] = {name: receiver(hint) for name, hint in hints.items()}
        self._strict = {name for name, receive in self._named.items() if receive is not None}
        self._places: list[tuple[int, Any, str, Receive]] = []
        """Of each positional parameter that has anything to check: its place, and the type that needs no look."""
        self._spill: tuple[int, str, Receive] | None = None
        place = 0
        for name, parameter in signature.parameters.items():
            receive = self._named.get(name)
            if parameter.kind is parameter.VAR_POSITIONAL and receive is not None:
                self._spill = place, name, receive
            elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
                if receive is not None:
                    sure = hints[name] if hints[name] in (int, str, float, bool, dict, list) else None
                    self._places.append((place, sure, name, receive))
                place += 1
        sures = [sure for _, sure, _, _ in self._places if sure is not None]
        self._kinds: list[Any] = sures if len(sures) == place and self._spill is None else []
        """The types of all positional parameters, where each needs no look if the type is the one."""

    def placed(self, values: list[Any]) -> list[Any]:
        """Positional arguments; *values* itself, with what had to be made in the places.

        Raises:
            DataError: Some do not fit; all in one error, which does not say whose they are.
        """
        if [*map(type, values)] == self._kinds:
            return values
        problems: list[DefinitionError] = []
        given = len(values)
        for place, sure, name, receive in self._places:
            if place < given and type(values[place]) is not sure:
                try:
                    values[place] = receive(values[place], name)
                except DataError as error:
                    problems.append(error)
        if self._spill is not None:
            first, name, receive = self._spill
            for place in range(first, given):
                try:
                    values[place] = receive(values[place], f"{name}[{place - first}]")
                except DataError as error:
                    problems.append(error)
        if problems:
            raise DefinitionError.of(problems)
        return values

    def named(self, values: dict[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name; *values* itself, with what had to be made in the places. ``*args`` is a list.

        Raises:
            DataError: Some do not fit; all in one error, which does not say whose they are.
        """
        problems: list[DefinitionError] = []
        for name in values.keys() & self._strict:
            try:
                values[name] = self.one(name, values[name], name)
            except DefinitionError as error:
                problems.append(error)
        if problems:
            raise DefinitionError.of(problems)
        return values

    def one(self, name: str, value: Any, what: str) -> Any:
        """The argument for the parameter *name*.

        Raises:
            DataError: It does not fit; the message begins with *what*.
        """
        receive = self._named.get(name)
        if receive is None:
            return value
        if self._spill is not None and self._spill[1] == name:
            return [receive(item, f"{what}[{place}]") for place, item in enumerate(value)]
        return receive(value, what)


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
            return _by_name(self._adapter.validate_python, value)
        except ValidationError as error:
            try:  # strict models take more from JSON than from objects: text for a date
                return _by_name(self._adapter.validate_json, json.dumps(value, allow_nan=False))
            except (ValidationError, ValueError, TypeError):
                pass
            if isinstance(value, list) and any(type(item) is Failed for item in value):
                return value  # the same of the items of a list
            lines = [problem(what, detail) for detail in error.errors(include_url=False)]
            raise DefinitionError.of([DataError(line) for line in lines]) from error


def _by_name(validate: Callable[..., Any], value: Any) -> Any:
    """*value* validated; models were written by the names of their fields, whatever their aliases."""
    try:
        return validate(value, by_alias=True, by_name=True)
    except TypeError:  # before pydantic 2.11
        return validate(value)
