"""The checks of options, one by one and together: what is wrong with a value, and what to write instead."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Literal, get_args

from flows._backoff import Backoff
from flows._duration import seconds
from flows._names import check_name, nearest, shown
from flows.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Policy = Literal["fail", "ignore", "continue", "remove", "skip"]
RunIn = Literal["thread", "process"]

MAX_ATTEMPTS = 1_000
MAX_PRIORITY = 2_097_151
KEY_LIMIT = 255
REPLACED_BY_RETRY = ("attempts", "backoff", "retry_on", "give_up_on")


def checked(options: Mapping[str, object]) -> dict[str, object]:
    """*options* in their final form: durations as float seconds, exception classes as a tuple.

    Raises:
        DefinitionError: Some are unknown or wrong; the error lists all of them.
    """
    given: dict[str, object] = {}
    problems: list[DefinitionError] = []
    for name, value in options.items():
        try:
            given[name] = _check(name, value)
        except DefinitionError as error:
            problems.append(error)
    rivals = [name for name in options if name in REPLACED_BY_RETRY]
    if rivals and "retry" in options:
        problems.append(
            DefinitionError(
                f"option retry: is given beside {', '.join(rivals)}, which its stop, wait and retry"
                " stand for; leave out the one or the other"
            )
        )
    if problems:
        raise DefinitionError.of(problems)
    return given


def _check(name: str, value: object) -> object:
    what = f"option {name}"
    check = _CHECKS.get(name)
    if check is None:
        near = nearest(name, [*_CHECKS, *_OTHER_NAMES])
        known = f"known are {', '.join(_CHECKS)}"
        remedy = f"did you mean {_OTHER_NAMES.get(near[0], near[0])}?" if near else known
        raise DefinitionError(f"option {shown(name)}: there is none of that name; {remedy}")
    if value is None:
        raise DefinitionError(f"{what} None: is no value; leave the option out to have the default")
    return check(value, what)


def _count(value: object, what: str, low: int, high: int | None) -> int:
    wanted = f"give a whole number from {low} {'up' if high is None else f'to {high:,}'}"
    if not isinstance(value, int) or isinstance(value, bool):
        raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; {wanted}")
    count = int.__int__(value)  # a plain int, also of an enum's member
    if count < low or (high is not None and count > high):
        raise DefinitionError(f"{what} {shown(value)}: is out of range; {wanted}")
    return count


def check_limit(value: object, what: str) -> int | None:
    """*value* if it is a whole number from 1 up, or None for no limit."""
    return None if value is None else _count(value, what, 1, None)


def _backoff(value: object, what: str) -> object:
    if isinstance(value, Backoff) or _is_from_tenacity(value, "tenacity.wait", "wait_base"):
        return value
    if isinstance(value, (int, float)) or (isinstance(value, str) and value[:1].isdigit()):
        remedy = f"a fixed wait is Backoff.fixed({shown(value)})"
    elif callable(value):
        remedy = "a function of (attempt, error) goes into Backoff.custom(...)"
    else:
        remedy = "give Backoff.fixed, .exponential, .steps or .custom, or a tenacity wait"
    raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; {remedy}")


def _retry(value: object, what: str) -> object:
    if _is_from_tenacity(value, "tenacity", "BaseRetrying"):
        return value
    raise DefinitionError(
        f"{what} {shown(value)}: is of type {type(value).__name__}; give tenacity.Retrying(...) or"
        " tenacity.AsyncRetrying(...); a number of tries goes into attempts"
    )


def _is_from_tenacity(value: object, module: str, name: str) -> bool:
    # Who holds such an object has imported tenacity; no reason to import it for those who do not.
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)


def _error_types(value: object, what: str) -> tuple[type[Exception], ...]:
    kinds = value if isinstance(value, tuple) else (value,)
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Exception):
            continue
        if isinstance(kind, type) and issubclass(kind, BaseException):
            fault = "stands outside Exception: it ends the worker or the attempt and is never retried"
        elif isinstance(kind, BaseException):
            fault = f"is an exception, not its class; give {type(kind).__name__}"
        else:
            fault = "is no exception class"
        raise DefinitionError(f"{what} {shown(kind)}: {fault}; give a subclass of Exception, or a tuple of them")
    return kinds


def _switch(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; give True or False")
    return value


def _choice(value: object, what: str, choices: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in choices:
        return str.__str__(value)
    near = nearest(value, choices) if isinstance(value, str) else []
    hint = f"did you mean {near[0]!r}? " if near else ""
    wanted = f"give one of {', '.join(map(repr, choices))}"
    raise DefinitionError(f"{what} {shown(value)}: is none of the choices; {hint}{wanted}")


def check_rate(value: object, what: str) -> tuple[int, float]:
    """A rate such as ``"100/min"`` as (jobs, seconds)."""
    wanted = "give jobs per time: '10/s', '100/min', '10/30s'"
    if not isinstance(value, str):
        raise DefinitionError(f"{what} {shown(value)}: is of type {type(value).__name__}; {wanted}")
    parts = _RATE.fullmatch(value)
    try:
        if parts is not None and int(parts[1]) > 0:
            return int(parts[1]), seconds((parts[2] or "1") + parts[3], what, above_zero=True)
    except DefinitionError:
        pass
    raise DefinitionError(f"{what} {shown(value)}: cannot be read as a rate; {wanted}")


_RATE = re.compile(r"([0-9]{1,9}) ?/ ?([0-9.]*) ?([a-z]+)")

_CHECKS: Mapping[str, Callable[[object, str], object]] = {
    "attempts": lambda value, what: _count(value, what, 1, MAX_ATTEMPTS),
    "backoff": _backoff,
    "retry_on": _error_types,
    "give_up_on": _error_types,
    "retry": _retry,
    "timeout": lambda value, what: seconds(value, what, above_zero=True),
    "delay": seconds,
    "priority": lambda value, what: _count(value, what, 0, MAX_PRIORITY),
    "lifo": _switch,
    "on_failure": lambda value, what: _choice(value, what, get_args(Policy)),
    "idempotency_key": lambda value, what: check_name(value, what, KEY_LIMIT),
    "run_in": lambda value, what: _choice(value, what, get_args(RunIn)),
}

# What other libraries call them.
_OTHER_NAMES = {"retries": "attempts", "max_retries": "attempts", "tries": "attempts", "countdown": "delay"}
