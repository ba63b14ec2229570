"""``--arg name=value``: text made what the flow's function says that it takes."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from flows._cli._wrong import WrongCommandError
from flows._names import nearest

_ANY = inspect.Parameter.empty
_KEYWORD = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def pairs(texts: Sequence[str]) -> dict[str, str]:
    """``["name=value", ...]`` by name.

    Raises:
        WrongCommandError: One has no ``=``, or a name stands twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise WrongCommandError(f"--arg {text}: write it as name=value")
        if name in found:
            raise WrongCommandError(f"--arg {name} is given twice")
        found[name] = value
    return found


def arguments_of(fn: Any, given: Mapping[str, str], target: str) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for a call of *fn*.

    Text is taken as it stands where the parameter is a text, else read by its annotation (numbers, dates, paths, ...),
    else as JSON (lists, models). Without an annotation it is JSON, or text where it is none.

    Raises:
        WrongCommandError: An argument is unknown, missing or does not fit; all problems in one error.
    """
    signature = inspect.signature(fn).replace(return_annotation=inspect.Signature.empty)
    hints = _hints(fn)
    open_ended = any(one.kind is one.VAR_KEYWORD for one in signature.parameters.values())
    problems: list[str] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if name not in given:
            if parameter.default is _ANY:
                problems.append(f"{name} is missing: --arg {name}=...")
            continue
        try:
            value = _value(given[name], hints.get(name, _ANY))
        except ValueError as error:
            problems.append(f"--arg {name}={given[name]}: {error}")
            continue
        if parameter.kind in _KEYWORD:
            kwargs[name] = value
        else:
            args.append(value)
    for name in given:
        if name not in signature.parameters or signature.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            if open_ended:
                kwargs[name] = _value(given[name], _ANY)
            else:
                near = nearest(name, signature.parameters)
                takes = ", ".join(signature.parameters) or "no arguments"
                problems.append(f"--arg {name}: " + (f"did you mean {near[0]}?" if near else f"it takes {takes}"))
    if problems:
        raise WrongCommandError(
            "\n- ".join([f"{target}{signature}:", *problems])
            if len(problems) > 1
            else f"{target}{signature}: {problems[0]}"
        )
    return args, kwargs


def _hints(fn: Any) -> dict[str, Any]:
    plain = inspect.unwrap(getattr(fn, "fn", fn))
    try:
        return typing.get_type_hints(plain, include_extras=True)
    except Exception:  # names that only a type checker knows
        return {}


def _value(text: str, hint: Any) -> Any:
    """Raises ValueError where *text* is nothing of the kind that *hint* asks for."""
    if hint is str:
        return text
    if hint is _ANY or hint is Any:
        try:
            return json.loads(text)
        except ValueError:
            return text
    from pydantic import TypeAdapter, ValidationError

    try:
        adapter = TypeAdapter(hint)
    except Exception:  # not a type that pydantic knows: the function will see to it
        return _value(text, _ANY)
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        try:
            return adapter.validate_json(text)
        except ValidationError as other:
            first = (other if _is_json(text) else error).errors(include_url=False)[0]
            spot = ".".join(map(str, first["loc"]))
            raise ValueError(f"{spot + ': ' if spot else ''}{first['msg']}") from None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False
