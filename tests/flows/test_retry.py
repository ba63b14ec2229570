"""The verdict over a failed attempt: signals, classes, attempts, waits, and tenacity's rules."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from flows._backoff import Backoff
from flows._opts import Opts, Settings, resolve
from flows._retry import Verdict, judge
from flows.errors import GiveUp, JobTimeoutError, RetryAfter, Skip


class WaitByError(tenacity.wait.wait_base):
    """`tenacity.wait_exception`, which the lowest version that we allow has not."""

    def __init__(self, wait: Callable[[BaseException], Any]) -> None:
        self.wait = wait

    def __call__(self, retry_state: tenacity.RetryCallState) -> Any:
        assert retry_state.outcome is not None
        error = retry_state.outcome.exception()
        assert error is not None
        return self.wait(error)


RETRY_AT_ONCE = Verdict("retry", 0.0, True, "")
FAIL = Verdict("fail")


class PspTimeout(ConnectionError):
    pass


def settings_of(**options: Any) -> Settings:
    return resolve(None, None, Opts(**options))


def verdict(settings: Settings, error: Exception, attempt: int = 1, elapsed: float = 0.0, key: str = "k") -> Verdict:
    return judge(settings, error, attempt=attempt, elapsed=elapsed, key=key)


def raising(*_: object) -> Any:
    raise RuntimeError("rule broken")


def controller(kind: Any = tenacity.Retrying, **parts: Any) -> Settings:
    return settings_of(retry=kind(**parts))


def test_without_options_the_first_failure_is_final() -> None:
    assert verdict(Settings(), ValueError()) == FAIL


def test_attempts_are_all_tries_the_first_included() -> None:
    settings = settings_of(attempts=3)
    assert [verdict(settings, ValueError(), attempt).kind for attempt in (1, 2, 3, 4)] == [
        "retry",
        "retry",
        "fail",
        "fail",
    ]


def test_without_a_backoff_a_retry_comes_at_once() -> None:
    assert verdict(settings_of(attempts=2), ValueError()) == RETRY_AT_ONCE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PspTimeout(), "retry"),
        (ConnectionError(), "retry"),
        (BrokenPipeError(), "fail"),
        (ValueError(), "fail"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_classes_decide_and_giving_up_beats_retrying(error: Exception, kind: str) -> None:
    settings = settings_of(attempts=5, retry_on=(ConnectionError,), give_up_on=BrokenPipeError)
    assert verdict(settings, error).kind == kind


def test_a_timeout_is_a_failure_like_any_other() -> None:
    error = JobTimeoutError("a: timeout of 30 s is over", job="a")
    assert verdict(settings_of(attempts=2), error).kind == "retry"
    assert verdict(settings_of(attempts=2, retry_on=TimeoutError), error).kind == "retry"
    assert verdict(settings_of(attempts=2, retry_on=ValueError), error).kind == "fail"


PERMISSIVE = [
    settings_of(attempts=9, backoff=Backoff.fixed(5)),
    settings_of(attempts=9, retry_on=ValueError),
    controller(retry=tenacity.retry_never),
]


@pytest.mark.parametrize("settings", PERMISSIVE, ids=["attempts", "retry_on", "tenacity"])
def test_signals_outrank_the_rules(settings: Settings) -> None:
    assert verdict(settings, GiveUp("declined")) == FAIL
    assert verdict(settings, Skip("nothing to do")) == Verdict("skip")
    assert verdict(settings, RetryAfter("30s")) == Verdict("retry", 30.0)


def test_retry_after_is_not_subject_to_classes_but_counts_as_an_attempt() -> None:
    settings = settings_of(attempts=3, retry_on=(), give_up_on=Exception)
    assert verdict(settings, RetryAfter(7), 2) == Verdict("retry", 7.0, counted=True)
    assert verdict(settings, RetryAfter(7), 3) == FAIL
    assert verdict(Settings(), RetryAfter(7)) == FAIL


def test_skip_holds_on_the_last_attempt_too() -> None:
    assert verdict(Settings(), Skip()).kind == "skip"


def test_the_wait_is_the_backoffs_with_the_jitter_of_the_key() -> None:
    backoff = Backoff.exponential(1, jitter=0.5)
    settings = settings_of(attempts=9, backoff=backoff)
    for attempt in (1, 2, 3):
        assert verdict(settings, ValueError(), attempt, key="order/a") == Verdict(
            "retry", backoff.delay(attempt, key="order/a")
        )


def test_a_custom_backoff_gets_attempt_and_error() -> None:
    seen: list[Any] = []
    error = ValueError()

    def record(*asked: Any) -> float:
        seen.append(asked)
        return 3.0

    settings = settings_of(attempts=9, backoff=Backoff.custom(record))
    assert verdict(settings, error, 2) == Verdict("retry", 3.0)
    assert seen == [(2, error)]


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "soon", None, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda answer: settings_of(attempts=9, backoff=Backoff.custom(lambda attempt, error: answer)),
        lambda answer: settings_of(attempts=9, backoff=WaitByError(lambda error: answer)),
        lambda answer: controller(wait=WaitByError(lambda error: answer)),
    ],
    ids=["custom", "tenacity wait", "tenacity controller"],
)
def test_a_wait_that_is_no_duration_becomes_300_s_and_is_noted(make: Callable[[Any], Settings], answer: Any) -> None:
    judged = verdict(make(answer), ValueError())
    assert (judged.kind, judged.after, judged.counted) == ("retry", 300.0, True)
    assert "waiting 300 s instead" in judged.note


@pytest.mark.parametrize(
    "settings",
    [
        settings_of(attempts=9, backoff=Backoff.custom(raising)),
        settings_of(attempts=9, backoff=tenacity.wait_fixed(1) + WaitByError(raising)),
        controller(wait=raising),
    ],
    ids=["custom", "tenacity wait", "tenacity controller"],
)
def test_a_wait_that_raises_becomes_300_s_and_is_noted(settings: Settings) -> None:
    judged = verdict(settings, ValueError())
    assert (judged.kind, judged.after) == ("retry", 300.0)
    assert "RuntimeError('rule broken')" in judged.note
    assert len(judged.note) < 400


@pytest.mark.parametrize(
    ("wait", "waits"),
    [
        (tenacity.wait_fixed(3), [3, 3, 3]),
        (tenacity.wait_exponential(multiplier=1, max=3), [1, 2, 3]),
        (tenacity.wait_incrementing(1, 2), [1, 3, 5]),
        (tenacity.wait_fixed(1) + tenacity.wait_fixed(2), [3, 3, 3]),
        (tenacity.wait_chain(tenacity.wait_fixed(1), tenacity.wait_fixed(9)), [1, 9, 9]),
        (WaitByError(lambda error: error.args[0]), [4, 4, 4]),
    ],
    ids=["fixed", "exponential", "incrementing", "sum", "chain", "by exception"],
)
@pytest.mark.parametrize("place", ["backoff", "retry"])
def test_tenacity_waits_count_as_they_do_in_tenacity(wait: Any, waits: list[float], place: str) -> None:
    settings = settings_of(attempts=9, backoff=wait) if place == "backoff" else controller(wait=wait)
    assert [verdict(settings, ValueError(4), attempt).after for attempt in (1, 2, 3)] == waits


def test_a_tenacity_wait_of_ages_counts_as_366_days() -> None:
    settings = settings_of(attempts=1000, backoff=tenacity.wait_exponential())
    assert verdict(settings, ValueError(), 999) == Verdict("retry", 366 * 86_400.0)


def test_tenacitys_retry_decides_whether_to_go_on() -> None:
    settings = controller(retry=tenacity.retry_if_exception_type(ConnectionError))
    assert verdict(settings, PspTimeout()).kind == "retry"
    assert verdict(settings, ValueError()).kind == "fail"


def test_try_again_asks_for_a_retry_whatever_the_rule_says() -> None:
    settings = controller(retry=tenacity.retry_never, stop=tenacity.stop_after_attempt(2))
    assert verdict(settings, tenacity.TryAgain()).kind == "retry"
    assert verdict(settings, tenacity.TryAgain(), 2).kind == "fail"


def test_a_controller_switched_off_never_retries() -> None:
    assert verdict(controller(enabled=False), ValueError()) == FAIL


@pytest.mark.parametrize("error", [ValueError(), RetryAfter(1)], ids=["error", "RetryAfter"])
def test_tenacitys_stop_ends_the_job(error: Exception) -> None:
    settings = controller(stop=tenacity.stop_after_attempt(3))
    assert [verdict(settings, error, attempt).kind for attempt in (1, 2, 3)] == ["retry", "retry", "fail"]


def test_stops_by_time_count_the_seconds_since_the_first_attempt_began() -> None:
    settings = controller(stop=tenacity.stop_after_delay(10), wait=tenacity.wait_fixed(4))
    assert verdict(settings, ValueError(), elapsed=9.9).kind == "retry"
    assert verdict(settings, ValueError(), elapsed=10.0).kind == "fail"


def test_stop_before_delay_counts_the_coming_wait() -> None:
    settings = controller(stop=tenacity.stop_before_delay(10), wait=tenacity.wait_fixed(4))
    assert verdict(settings, ValueError(), elapsed=5.9).kind == "retry"
    assert verdict(settings, ValueError(), elapsed=6.0).kind == "fail"
    assert verdict(settings, RetryAfter(1), elapsed=6.0).kind == "retry"


def test_a_controller_that_never_stops_ends_at_1000_tries() -> None:
    settings = controller(retry=tenacity.retry_always)
    assert verdict(settings, ValueError(), 999).kind == "retry"
    assert verdict(settings, ValueError(), 1000).kind == "fail"
    assert verdict(settings, RetryAfter(1), 1000).kind == "fail"


@pytest.mark.parametrize("part", ["retry", "stop"])
def test_a_rule_that_cannot_say_whether_to_go_on_ends_the_job_and_is_noted(part: str) -> None:
    judged = verdict(controller(**{part: raising}), ValueError())
    assert (judged.kind, judged.after) == ("fail", 0.0)
    assert f"the {part} rule" in judged.note
    assert "rule broken" in judged.note


def test_a_controller_is_neither_run_nor_changed_and_never_sleeps() -> None:
    calls: list[str] = []
    retry = tenacity.Retrying(
        sleep=lambda _: calls.append("sleep"),
        before=lambda _: calls.append("before"),
        after=lambda _: calls.append("after"),
        before_sleep=lambda _: calls.append("before_sleep"),
        retry_error_callback=lambda _: calls.append("callback"),
        wait=tenacity.wait_fixed(60),
        stop=tenacity.stop_after_attempt(2),
    )
    settings = settings_of(retry=retry)
    assert [verdict(settings, ValueError(), attempt).kind for attempt in (1, 2)] == ["retry", "fail"]
    assert (calls, retry.statistics) == ([], {})


async def no_value_error(state: Any) -> bool:
    return not isinstance(state.outcome.exception(), ValueError)


async def slow_yes(state: Any) -> bool:
    await asyncio.sleep(0)
    return True


async def two_seconds(state: Any) -> float:
    return 2.0


def test_coroutine_rules_of_an_async_controller_are_asked_too() -> None:
    settings = controller(tenacity.AsyncRetrying, retry=no_value_error, wait=two_seconds)
    assert verdict(settings, ValueError()) == FAIL
    assert verdict(settings, KeyError()) == Verdict("retry", 2.0)


def test_coroutine_rules_that_wait_for_something_are_refused_with_a_note() -> None:
    judged = verdict(controller(tenacity.AsyncRetrying, retry=slow_yes), KeyError())
    assert judged.kind == "fail"
    assert "has to answer at once" in judged.note


def test_coroutine_rules_are_asked_from_within_a_running_loop() -> None:
    settings = controller(tenacity.AsyncRetrying, retry=no_value_error)

    async def handle() -> Verdict:
        return verdict(settings, KeyError())

    assert asyncio.run(handle()).kind == "retry"


LOW = Opts(
    retry=tenacity.Retrying(
        stop=tenacity.stop_after_attempt(2),
        wait=tenacity.wait_fixed(5),
        retry=tenacity.retry_if_exception_type(OSError),
    )
)


@pytest.mark.parametrize(
    ("higher", "error", "attempt", "wanted"),
    [
        (Opts(), OSError(), 1, Verdict("retry", 5.0)),
        (Opts(), OSError(), 2, FAIL),
        (Opts(attempts=4), OSError(), 3, Verdict("retry", 5.0)),
        (Opts(attempts=4), OSError(), 4, FAIL),
        (Opts(attempts=4), ValueError(), 1, FAIL),
        (Opts(backoff=Backoff.fixed(1)), OSError(), 1, Verdict("retry", 1.0)),
        (Opts(retry_on=ValueError), ValueError(), 1, Verdict("retry", 5.0)),
        (Opts(retry_on=ValueError), OSError(), 1, FAIL),
        (Opts(give_up_on=FileNotFoundError), FileNotFoundError(), 1, FAIL),
        (Opts(give_up_on=FileNotFoundError), OSError(), 1, Verdict("retry", 5.0)),
    ],
    ids=range(10),
)
def test_options_above_the_controller_stand_in_place_of_its_parts(
    higher: Opts, error: Exception, attempt: int, wanted: Verdict
) -> None:
    assert verdict(resolve(None, LOW, higher), error, attempt) == wanted


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_tenacity_itself_makes_the_same_tries_with_the_same_waits(attempts: int) -> None:
    slept: list[float] = []
    parts: dict[str, Any] = {
        "stop": tenacity.stop_after_attempt(attempts),
        "wait": tenacity.wait_exponential(multiplier=1) + tenacity.wait_fixed(1),
        "retry": tenacity.retry_if_not_exception_type(KeyError),
    }
    with pytest.raises(tenacity.RetryError):
        tenacity.Retrying(sleep=slept.append, **parts)(raising)
    ours: list[float] = []
    settings = controller(**parts)
    while (judged := verdict(settings, RuntimeError(), len(ours) + 1)).kind == "retry":
        ours.append(judged.after)
    assert ours == slept


@given(
    st.integers(1, 1000),
    st.integers(1, 1200),
    st.sampled_from([None, Backoff.fixed(2), Backoff.exponential(1, 10), tenacity.wait_fixed(1)]),
    st.sampled_from([ValueError(), OSError(), GiveUp(), Skip(), RetryAfter(1)]),
    st.floats(0, 1e9),
)
def test_a_verdict_is_always_legal_and_never_passes_the_attempts(
    attempts: int, attempt: int, backoff: Any, error: Exception, elapsed: float
) -> None:
    settings = replace(settings_of(attempts=attempts), backoff=backoff)
    judged = verdict(settings, error, attempt, elapsed)
    assert judged.note == ""
    assert judged.counted
    if judged.kind == "retry":
        assert attempt < attempts
        assert 0 <= judged.after <= 366 * 86_400
    else:
        assert judged.after == 0.0
        assert judged.kind == ("skip" if isinstance(error, Skip) else "fail")


def test_judging_takes_no_time_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = controller(stop=tenacity.stop_after_delay(10), wait=tenacity.wait_fixed(1))
    first = verdict(settings, ValueError(), elapsed=9.0)
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert verdict(settings, ValueError(), elapsed=9.0) == first
