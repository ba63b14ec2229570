"""BullMQ's job options: each is mapped to ours, taken without effect, or refused by name; none falls away.

The options are those of BullMQ's ``FlowJob`` up to version 6. Its times are milliseconds, but for the ages in
``removeOnComplete`` and ``removeOnFail``, which are seconds there too. Text with a unit (``"1s"``) means what
it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from flows._backoff import Backoff
from flows._duration import LIMIT_DAYS, LIMIT_SECONDS, seconds
from flows._names import nearest, shown
from flows.errors import DefinitionError

POLICIES: Final = {
    "failParentOnFailure": "fail",
    "ignoreDependencyOnFailure": "ignore",
    "continueParentOnFailure": "continue",
    "removeDependencyOnFailure": "remove",
}

NO_EFFECT: Final = {
    "keepLogs": "a job's log has a bound of its own",
    "stackTraceLimit": "tracebacks are cut by bytes, not by lines",
    "telemetry": "a run takes the trace context of whoever submits it, and hands it on to all its jobs",
    "timestamp": "a run notes itself when it was submitted, and a delay counts from when the job is ready",
}
"""Options that ask for nothing a flow's outcome depends on -> why nothing is lost."""

_SCHEDULE = "a document declares one run, not a schedule; submit it from a scheduler"
_ONCE = "give the run a key= when it is submitted, or the job an idempotency_key"
_STORED = "is the short form under which BullMQ stores an option; write"

REFUSED: Final = {
    "repeat": _SCHEDULE,
    "repeatJobKey": _SCHEDULE,
    "prevMillis": _SCHEDULE,
    "parent": "a job cannot join a flow that exists; list it under the children of its parent",
    "deduplication": _ONCE,
    "debounce": _ONCE,
    "rateLimiterKey": "limits are those of a queue: flows.Queue(name, rate=...)",
    "group": "limits are those of a queue: flows.Queue(name, concurrency=..., rate=...)",
    "onChildFailure": f"no release of BullMQ has it; write one of {', '.join(POLICIES)}",
    "fpof": f"{_STORED} failParentOnFailure",
    "idof": f"{_STORED} ignoreDependencyOnFailure",
    "cpof": f"{_STORED} continueParentOnFailure",
    "rdof": f"{_STORED} removeDependencyOnFailure",
    "kl": f"{_STORED} keepLogs",
    "tm": f"{_STORED} telemetry",
    "omc": f"{_STORED} telemetry",
    "de": f"{_STORED} deduplication",
    "deid": f"{_STORED} deduplication",
}
"""Options that we lack -> what to do instead."""

KEEP: Final = {"removeOnComplete": "keep_completed", "removeOnFail": "keep_failed"}

_OURS: Final = ("on_failure", "timeout", "idempotency_key", "run_in")
"""Options of ours that BullMQ has no name for; they may stand beside its own."""

_BACKOFF_KEYS: Final = ("type", "delay", "jitter")
_KEEP_KEYS: Final = ("age", "count", "limit")

Keep = dict[str, float]
Refuse = Callable[[str, object], None]


class BullOptions(NamedTuple):
    """The options of a BullMQ job, read.

    Attributes:
        given: Those that `flows.Opts` takes, in its units.
        job_id: The ``jobId``, unchecked.
        keep: ``keep_completed`` and ``keep_failed`` as far as given: which finished runs to keep.
        size_limit: How many bytes the data may have as JSON; None for no limit.
    """

    given: dict[str, Any]
    job_id: object
    keep: dict[str, Keep]
    size_limit: int | None


def read_options(options: Mapping[str, object], refuse: Refuse) -> BullOptions:
    """*options* of a BullMQ job in our terms; what is wrong goes to ``refuse(option, message)``."""
    given: dict[str, Any] = {}
    keep: dict[str, Keep] = {}
    size_limit: int | None = None
    for name, value in options.items():
        if value is None or name in NO_EFFECT or name in POLICIES or name == "jobId":
            continue  # null is JavaScript's "not given"
        try:
            if name in KEEP:
                keep[KEEP[name]] = _keep(value)
            elif name == "sizeLimit":
                size_limit = _count(value, 0)
            elif name in _CONVERTERS:
                given[name] = _CONVERTERS[name](value)
            elif name in _OURS:
                given[name] = value
            else:
                refuse(name, _unknown(name))
        except DefinitionError as error:
            refuse(name, error)
    policy = _policy(options, refuse)
    if policy is not None:
        given["on_failure"] = policy
    return BullOptions(given, options.get("jobId"), keep, size_limit)


def read_keep(value: object) -> Keep:
    """Which ended runs to keep, in our own form: at most ``age`` (a duration) and ``count``; ``{}`` for all.

    Raises:
        DefinitionError: *value* is anything else.
    """
    if not isinstance(value, Mapping):
        raise DefinitionError(f"{shown(value)} is no mapping; give {{'age': '7d', 'count': 1000}}, or {{}} to keep all")
    keep: Keep = {}
    for name, item in value.items():
        if name == "age":
            keep["age"] = seconds(item, "age") if isinstance(item, str) else _number(item, "age")
        elif name == "count":
            keep["count"] = _count(item, 0)
        else:
            raise DefinitionError(f"{shown(name)} is no part of it; known are age and count")
    return keep


def _policy(options: Mapping[str, object], refuse: Refuse) -> str | None:
    chosen: list[str] = []
    for name in POLICIES:
        value = options.get(name)
        if value is True:
            chosen.append(name)
        elif value is not None and value is not False:
            refuse(name, f"{shown(value)} is neither true nor false")
    own = options.get("on_failure")
    if len(chosen) > 1:
        refuse(chosen[1], f"is set beside {chosen[0]}; a job has one policy towards the jobs that depend on it")
    elif chosen and own is not None:
        refuse(
            chosen[0],
            f"is set beside on_failure={shown(own)}; a job has one policy towards the jobs that depend on it",
        )
    return POLICIES[chosen[0]] if chosen else None


def _attempts(value: object) -> object:
    whole = _whole(value)
    return 1 if whole == 0 and whole is not False else whole  # BullMQ's 0 is one try as well


def _whole(value: object) -> object:
    """JavaScript has one type of number: ``3.0`` is 3. The rest is for the check of the option."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _wait(value: object) -> float | str:
    if isinstance(value, str):
        return value
    milliseconds = _number(value, "time")
    if milliseconds > LIMIT_SECONDS * 1000:
        raise DefinitionError(f"{shown(value)} milliseconds are more than {LIMIT_DAYS} days")
    return milliseconds / 1000


def _backoff(value: object) -> Backoff:
    if not isinstance(value, Mapping):
        return Backoff.fixed(_wait(value))
    unknown = [name for name in value if name not in _BACKOFF_KEYS]
    if unknown:
        raise DefinitionError(f"{shown(unknown[0])} is no part of it; known are {', '.join(_BACKOFF_KEYS)}")
    kind, jitter = value.get("type"), value.get("jitter")
    if kind not in ("fixed", "exponential"):
        raise DefinitionError(
            f"type {shown(kind)} is a strategy that its worker would know; there are 'fixed' and 'exponential' "
            "here, and a task may have a Backoff.custom"
        )
    if value.get("delay") is None:
        raise DefinitionError("lacks the delay, in milliseconds")
    wait = _wait(value["delay"])
    make = Backoff.fixed if kind == "fixed" else Backoff.exponential
    return make(wait, jitter=0.0 if jitter is None else jitter)


def _timeout(value: object) -> object:
    if not isinstance(value, str):
        raise DefinitionError(
            f"{shown(value)} has no unit, and BullMQ's jobs have no timeout; write text, such as '30s'"
        )
    return value


def _keep(value: object) -> Keep:
    if value is True:
        return {"count": 0}
    if value is False:
        return {}
    if not isinstance(value, Mapping):
        return _at_most(value)
    unknown = [name for name in value if name not in _KEEP_KEYS]
    if unknown:
        raise DefinitionError(f"{shown(unknown[0])} is no part of it; known are {', '.join(_KEEP_KEYS)}")
    # `limit` bounds one round of removal; how much a round removes is the store's business here.
    keep = {} if value.get("age") is None else {"age": _number(value["age"], "age")}
    return keep if value.get("count") is None else keep | _at_most(value["count"])


def _at_most(value: object) -> Keep:
    count = _count(value, -1)
    return {} if count < 0 else {"count": count}  # BullMQ's -1 keeps all


def _count(value: object, low: int) -> int:
    whole = _whole(value)
    if not isinstance(whole, int) or isinstance(whole, bool) or whole < low:
        raise DefinitionError(f"{shown(value)} is no whole number from {low} up")
    return whole


def _number(value: object, what: str) -> float:
    if (
        not isinstance(value, int | float)
        or isinstance(value, bool)
        or not 0 <= value < 2**63
        or not math.isfinite(value)
    ):
        raise DefinitionError(f"the {what} {shown(value)} is no number from 0 up")
    return float(value)


def _unknown(name: str) -> str:
    if name in REFUSED:
        reason = REFUSED[name]
        return reason if reason.startswith(_STORED) else f"there is no such option here: {reason}"
    near = nearest(str(name), [*NAMES, *_OURS])
    remedy = f"did you mean {near[0]}?" if near else "leave it out"
    return f"neither BullMQ nor this library has an option of that name; {remedy}"


_CONVERTERS: Final[Mapping[str, Callable[[object], object]]] = {
    "attempts": _attempts,
    "backoff": _backoff,
    "delay": _wait,
    "priority": _whole,
    "lifo": lambda value: value,
    "timeout": _timeout,
}

NAMES: Final = frozenset(
    ("attempts", "backoff", "delay", "priority", "lifo", "jobId", "sizeLimit", *KEEP, *POLICIES, *NO_EFFECT)
)
"""The options of BullMQ's that are taken."""

BULLMQ_ONLY: Final = (NAMES | REFUSED.keys()) - {"attempts", "backoff", "delay", "priority", "lifo"}
"""Options by which a job is known to be BullMQ's."""
