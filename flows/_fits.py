"""Whether plain data is already what a type hint says: told without pydantic, for hints of nothing but builtins."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Union

Check = Callable[[Any], bool]

_ATOMS = frozenset((int, str, float, bool, type(None)))
_ANYTHING = (Any, object)


def check_of(hint: Any) -> Check | None:
    """A function that says whether a value may be passed on as it is; None where only pydantic can tell.

    It says no more often than pydantic would: an ``int`` for a ``float`` is pydantic's to convert.
    """
    kinds = _kinds(hint)
    if kinds is not None:
        return _one_of(kinds)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Union or origin is types.UnionType:
        checks = [check_of(arg) for arg in args]
        if None in checks:
            return None
        return lambda value: any(check(value) for check in checks if check is not None)
    if origin in (list, Sequence, dict, Mapping):
        if origin in (dict, Mapping) and args[0] is not str:
            return None
        outer = list if origin in (list, Sequence) else dict
        return _container(outer, args[-1])
    return None


def _kinds(hint: Any) -> frozenset[type[Any]] | None:
    """The exact types of which a value must be one, where that is all there is to say."""
    if hint is None:
        hint = type(None)
    if isinstance(hint, type) and (hint in _ATOMS or hint in (dict, list)):
        return frozenset((hint,))
    return None


def _one_of(kinds: frozenset[type[Any]]) -> Check:
    (kind,) = kinds
    return lambda value: type(value) is kind


def _container(outer: type[Any], inner: Any) -> Check | None:
    if any(inner is one for one in _ANYTHING):
        return lambda value: type(value) is outer
    kinds = _kinds(inner)
    if kinds is not None:

        def alike(value: Any) -> bool:
            return type(value) is outer and kinds.issuperset(map(type, value if outer is list else value.values()))

        return alike
    check = check_of(inner)
    if check is None:
        return None
    return lambda value: type(value) is outer and all(map(check, value if outer is list else value.values()))
