"""The options of a job node: whose they are, BullMQ's or ours, and what `flows.Opts` they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flows._backoff import Backoff
from flows._bullmq import BULLMQ_ONLY, POLICIES, Keep, read_keep
from flows._document import Problems
from flows._json_text import Trail, spot_of
from flows._names import nearest, shown
from flows._opts import Options, Opts
from flows.errors import DefinitionError

_CODE: Final = ("retry_on", "give_up_on", "retry")
_OPTIONS: Final = tuple(name for name in Options.__annotations__ if name not in _CODE)
_KNOWN: Final = f"known are {', '.join(_OPTIONS)}"
_OURS_ONLY: Final = frozenset(Options.__annotations__) - {"attempts", "backoff", "delay", "priority", "lifo"}


def is_bullmq(
    source: Mapping[str, Any], options: Mapping[str, Any], trail: Trail, problems: Problems, *, around: bool
) -> bool:
    """Whether a job node is BullMQ's: by the key of its queue, its options, or the node *around* it."""
    marks = [key for key in ("queueName", "prefix") if source.get(key) is not None]
    own = source.get("queue") is not None
    if marks and own:
        problems.refuse((trail, marks[0]), "is BullMQ's and stands beside queue, which is ours; leave out one of them")
    if source.get("prefix") is not None and not isinstance(source["prefix"], str):
        problems.refuse((trail, "prefix"), f"{shown(source['prefix'])} is not text")
    if marks or own:
        return bool(marks)
    backoff = options.get("backoff")
    keys = backoff if isinstance(backoff, Mapping) else ()
    if not BULLMQ_ONLY.isdisjoint(options) or "type" in keys:
        return True
    return around and _OURS_ONLY.isdisjoint(options) and "kind" not in keys


def read_own(options: Mapping[str, Any], trail: Trail, problems: Problems) -> Opts | None:
    """The options of a node of ours; *trail* leads to the node."""
    spot: Trail = (trail, "opts")
    given: dict[str, Any] = {}
    for name, value in options.items():
        if name in _CODE:
            problems.refuse((spot, name), "is code, which no document can hold; give it to the task")
        elif name not in _OPTIONS:
            problems.refuse((spot, name), _unknown(name))
        elif name != "backoff":
            given[name] = value
        elif (backoff := _backoff(value, (spot, name), problems)) is not None:
            given[name] = backoff
    return opts_of(given, trail, problems)


def opts_of(given: dict[str, Any], trail: Trail, problems: Problems) -> Opts | None:
    """The `flows.Opts` of what was *given*; None if nothing was, or something wrong."""
    if not given:
        return None
    try:
        return Opts(**given)
    except DefinitionError as error:
        path = spot_of((trail, "opts"))
        for text in error.problems:
            problems.add(DefinitionError(f"{path}.{text.removeprefix('option ')}"))
        return None


def read_retention(given: Mapping[str, Any], trail: Trail, problems: Problems) -> dict[str, Keep]:
    """The ``retention`` of a flow node; *trail* leads to it."""
    problems.check_keys(given, ("keep_completed", "keep_failed"), trail)
    retention: dict[str, Keep] = {}
    for name, value in given.items():
        try:
            retention[name] = read_keep(value)
        except DefinitionError as error:
            problems.refuse((trail, name), str(error))
    return retention


def _backoff(value: object, trail: Trail, problems: Problems) -> Backoff | None:
    if not isinstance(value, Mapping):
        problems.refuse(
            trail, f"{shown(value)} leaves its unit open; write {{'kind': 'fixed', 'delay': 5}}, in seconds"
        )
    elif "type" in value:
        problems.refuse(trail, "type is BullMQ's; write kind, and seconds, or name the queue by queueName")
    else:
        try:
            return Backoff.from_dict(value)
        except DefinitionError as error:
            problems.refuse(trail, str(error).removeprefix("backoff "))
    return None


def _unknown(name: object) -> str:
    if name in BULLMQ_ONLY:
        ours = POLICIES.get(str(name))
        remedy = f"write on_failure={ours!r}" if ours else "leave it out"
        return f"is an option of BullMQ's on a node of ours; {remedy}, or name the queue by queueName"
    near = nearest(str(name), _OPTIONS)
    return f"there is no option of that name; {f'did you mean {near[0]}?' if near else _KNOWN}"
