"""What becomes of a failed attempt: evaluated in the worker, on the live exception."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from flows._backoff import Backoff, call_state, waited
from flows._names import shown
from flows.errors import GiveUp, RetryAfter, Skip

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import BaseRetrying, RetryCallState

    from flows._opts import Settings

FALLBACK_SECONDS = 300.0


@dataclass(slots=True)  # not frozen: it is made with each retry, and would take three times as long
class Verdict:
    """What becomes of a job whose attempt failed.

    Attributes:
        kind: ``"retry"``, ``"fail"`` (for good) or ``"skip"``.
        after: Seconds until the next attempt; 0.0 unless it is a retry.
        counted: Whether the attempt counts against `attempts`.
        note: What was wrong with a rule of the user's, for the log; empty if nothing was.
    """

    kind: Literal["retry", "fail", "skip"]
    after: float = 0.0
    counted: bool = True
    note: str = ""


class _RuleError(Exception):
    """A rule of the user's raised, or gave no answer."""


def judge(settings: Settings, error: Exception, *, attempt: int, elapsed: float, key: str) -> Verdict:
    """What becomes of a job whose attempt number *attempt*, counted from 1, failed; a rule may raise.

    A rule for the wait (`Backoff.custom`, a tenacity wait) that raises or gives no duration counts as 300 s.
    One that has to say whether to go on (a tenacity retry or stop) and raises ends the job, as in tenacity.

    Args:
        settings: The job's options.
        error: What the attempt raised.
        attempt: Its number.
        elapsed: Seconds from the beginning of the first attempt to now.
        key: The job's idempotency key, from which the jitter follows.
    """
    if isinstance(error, Skip):
        return Verdict("skip")
    if isinstance(error, GiveUp) or attempt >= settings.attempts or not _allowed(settings, error):
        return Verdict("fail")
    retry = settings.retry
    if retry is None:
        return _later(settings.backoff, error, attempt, key, None)
    state = call_state(attempt, error, elapsed, retry)
    try:
        if not _wanted(settings, retry, error, state):
            return Verdict("fail")
        rule = retry.wait if "wait" in settings.retry_parts else settings.backoff
        verdict = _later(rule, error, attempt, key, state)
        state.upcoming_sleep = verdict.after
        stop = "stop" in settings.retry_parts and _answer("stop", retry.stop, state)
    except _RuleError as fault:
        return Verdict("fail", note=f"{fault}; there will be no further attempt")
    return Verdict("fail", note=verdict.note) if stop else verdict


def _allowed(settings: Settings, error: Exception) -> bool:
    """Whether the exception's class leaves room for another attempt; a tenacity retry may still say no."""
    if isinstance(error, RetryAfter):
        return True
    return isinstance(error, settings.retry_on) and not isinstance(error, settings.give_up_on)


def _wanted(settings: Settings, retry: BaseRetrying, error: Exception, state: RetryCallState) -> bool:
    from tenacity import TryAgain

    if not getattr(retry, "enabled", True):  # older tenacity has no such switch
        return False
    if "retry" not in settings.retry_parts or isinstance(error, (RetryAfter, TryAgain)):
        return True
    return _answer("retry", retry.retry, state)


def _later(rule: object, error: Exception, attempt: int, key: str, state: RetryCallState | None) -> Verdict:
    """The retry after the wait that *rule* gives, or the handler asked for."""
    if isinstance(error, RetryAfter):
        return Verdict("retry", error.seconds)
    if rule is None:
        return Verdict("retry")
    try:
        if isinstance(rule, Backoff):
            return Verdict("retry", rule.delay(attempt, key=key, error=error))
        wait: Any = rule
        return Verdict("retry", waited(_now(wait(state or call_state(attempt, error))), "the wait"))
    except Exception as fault:
        fallback = f"waiting {FALLBACK_SECONDS:g} s instead"
        note = f"no wait could be had from {shown(rule)}: {shown(fault, 200)}; {fallback}"
        return Verdict("retry", FALLBACK_SECONDS, note=note)


def _answer(part: str, rule: Callable[[Any], Any], state: RetryCallState) -> bool:
    try:
        return bool(_now(rule(state)))
    except Exception as fault:
        raise _RuleError(f"the {part} rule {shown(rule)} raised {shown(fault, 200)}") from fault


def _now(value: Any) -> Any:
    """*value*; if it is awaitable, as AsyncRetrying allows, what it comes to without waiting for anything."""
    if not inspect.isawaitable(value):
        return value
    steps: Any = value.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    steps.close()
    raise TypeError("the rule waits for something; it has to answer at once")
