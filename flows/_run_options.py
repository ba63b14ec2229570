"""Run options: what may be asked of one run besides the flow, checked and turned into `RunOptions`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict

from flows._duration import Duration, seconds
from flows._names import check_name, nearest, shown
from flows._option_checks import KEY_LIMIT, check_limit
from flows._telemetry import carry, current_trace_id, may_be_traced
from flows.errors import DefinitionError
from flows.executor import RunOptions


class RunKeywords(TypedDict, total=False):
    """What `execute` and `submit` accept about the run.

    Attributes:
        timeout: The run's deadline, counted from the submit: when it passes, the run is cancelled.
        fail_fast: Whether to cancel the rest as soon as the root is certain to fail.
        keep, keep_failed: How long the run is kept after it has ended well, or otherwise.
        keep_count: How many ended runs of the flow's name are kept at most.
        key_ttl: How long after the run's end its key stays taken.
    """

    timeout: Duration | None
    fail_fast: bool
    keep: Duration
    keep_failed: Duration
    keep_count: int | None
    key_ttl: Duration


_IDS: Final = 64
"""Ids made at once: to ask the system for random bytes takes as long as to run a job."""

_fresh: Final[list[str]] = []
"""Ids that nobody has been given yet."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fresh.clear)  # else two processes would give the same ones


def new_run_id() -> str:
    """32 random hex digits, unique in the world. Safe to call from any thread."""
    while True:
        try:
            return _fresh.pop()
        except IndexError:
            digits = os.urandom(16 * _IDS).hex()
            _fresh.extend([digits[at : at + 32] for at in range(0, len(digits), 32)])


def run_options(key: str | None, given: RunKeywords, retention: Mapping[str, Mapping[str, float]]) -> RunOptions:
    """The options of a new run.

    Args:
        key: Names the run.
        given: What the caller asked for.
        retention: What the flow's document asks for where the caller did not; see `Flow.retention`.

    Raises:
        DefinitionError: Some are unknown or wrong; the error lists all of them.
    """
    run_id = new_run_id()
    traced = may_be_traced()
    trace_id, carrier = (current_trace_id() or run_id, carry()) if traced else (run_id, {})
    if not given and not retention and key is None:
        return RunOptions(run_id, None, trace_id, carrier=carrier)
    asked: Mapping[str, Any] = given
    checks: dict[str, Callable[[], object]] = {
        "timeout": lambda: None if asked["timeout"] is None else seconds(asked["timeout"], "timeout", above_zero=True),
        "fail_fast": lambda: _flag(asked["fail_fast"], "fail_fast"),
        "keep": lambda: seconds(asked["keep"], "keep"),
        "keep_failed": lambda: seconds(asked["keep_failed"], "keep_failed"),
        "keep_count": lambda: check_limit(asked["keep_count"], "keep_count"),
        "key_ttl": lambda: seconds(asked["key_ttl"], "key_ttl"),
    }
    checked: dict[str, Any] = _of_document(retention)
    problems: list[DefinitionError] = []
    for name in asked:
        check = checks.get(name)
        try:
            if check is None:
                near = nearest(name, checks)
                remedy = f"did you mean {near[0]}?" if near else f"known are executor, key, {', '.join(checks)}"
                raise DefinitionError(f"run option {shown(name)}: there is none of that name; {remedy}")
            checked[name] = check()
        except DefinitionError as error:
            problems.append(error)
    try:
        key = None if key is None else check_name(key, "key", KEY_LIMIT)
    except DefinitionError as error:
        problems.append(error)
    if problems:
        raise DefinitionError.of(problems)
    return RunOptions(run_id, key, trace_id, carrier=carrier, **checked)


def _flag(value: object, what: str) -> bool:
    if type(value) is not bool:
        raise DefinitionError(f"{what} must be True or False, not {shown(value)}")
    return value


def _of_document(retention: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """What a document says under ``keep_completed`` and ``keep_failed``, in our words."""
    options: dict[str, Any] = {}
    for name, option in (("keep_completed", "keep"), ("keep_failed", "keep_failed")):
        said = retention.get(name)
        if said and "age" in said:
            options[option] = said["age"]
        if said and "count" in said:
            options["keep_count"] = max(int(said["count"]), options.get("keep_count", 0))
    return options
