"""Waits before a retry: the figures, the jitter, the bounds, and the plain form."""

import copy
import json
import pickle
from datetime import timedelta
from typing import Any

import pytest
import tenacity
from hypothesis import given
from hypothesis import strategies as st

from flows._backoff import Backoff, call_state
from flows._duration import LIMIT_SECONDS
from flows.errors import DefinitionError

durations = st.floats(0, 1000) | st.integers(0, 1000)
shares = st.floats(0, 1)
backoffs = st.one_of(
    st.builds(Backoff.fixed, durations, shares),
    st.builds(
        lambda base, factor, more, jitter: Backoff.exponential(
            base, factor, None if more is None else base + more, jitter
        ),
        durations,
        st.floats(1, 1_000_000),
        st.none() | durations,
        shares,
    ),
    st.builds(Backoff.steps, st.lists(durations, min_size=1, max_size=5)),
)


UNTYPED: Any = Backoff

# Of "order:123/charge", exponential from 1 s to 60 s: what was promised of a stored job may never change.
JITTERED = [
    0.07751992430438293,
    0.6087390889424393,
    2.3253254876780742,
    2.765242243293028,
    10.401063815764205,
    11.806676411343695,
]
UNKEYED = 0.189402776913267
ODD_KEY = 9.27690057635884


def by_attempt(attempt: int, error: BaseException) -> float:
    return attempt * 2.0


async def by_coroutine(attempt: int, error: BaseException) -> float:
    return 1.0


class AsyncCall:
    async def __call__(self, attempt: int, error: BaseException) -> float:
        return 1.0


@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (Backoff.fixed("5s"), [5, 5, 5, 5]),
        (Backoff.fixed(0), [0, 0, 0, 0]),
        (Backoff.exponential("1s"), [1, 2, 4, 8]),
        (Backoff.exponential("1s", cap="5s"), [1, 2, 4, 5]),
        (Backoff.exponential(0.5, 3), [0.5, 1.5, 4.5, 13.5]),
        (Backoff.exponential(0.5, factor=1), [0.5, 0.5, 0.5, 0.5]),
        (Backoff.exponential(0), [0, 0, 0, 0]),
        (Backoff.exponential(2, cap=2), [2, 2, 2, 2]),
        (Backoff.exponential(0, cap=0), [0, 0, 0, 0]),
        (Backoff.steps([1, 5, "30s"]), [1, 5, 30, 30]),
        (Backoff.steps((timedelta(minutes=1),)), [60, 60, 60, 60]),
        (Backoff.custom(by_attempt), [2, 4, 6, 8]),
    ],
    ids=repr,
)
def test_waits_after_each_attempt(backoff: Backoff, waits: list[float]) -> None:
    error = ValueError("x")
    assert [backoff.delay(attempt, key="k", error=error) for attempt in (1, 2, 3, 4)] == waits
    wait = backoff.to_tenacity()
    assert isinstance(wait, tenacity.wait.wait_base)
    assert [wait(call_state(attempt, error)) for attempt in (1, 2, 3, 4)] == waits


def test_jitter_takes_off_these_very_shares() -> None:
    full = Backoff.exponential(1, cap=60, jitter=1)
    assert [full.delay(attempt, key="order:123/charge") for attempt in range(1, 7)] == JITTERED
    assert Backoff.fixed(1, jitter=1.0).delay(1) == UNKEYED
    assert Backoff.fixed(10, 0.5).delay(2, key="größe\ud800") == ODD_KEY


def test_half_a_jitter_takes_off_half_of_that() -> None:
    full, half = (Backoff.fixed(8, jitter).delay(3, key="k") for jitter in (1.0, 0.5))
    assert half == pytest.approx((8 + full) / 2, abs=1e-12)


@given(backoffs, st.integers(1, 100_000), st.text(max_size=20))
def test_waits_are_finite_repeatable_and_in_bounds(backoff: Backoff, attempt: int, key: str) -> None:
    delay = backoff.delay(attempt, key=key)
    assert type(delay) is float
    plain = backoff.to_tenacity()(call_state(attempt, None))
    assert plain * (1 - backoff.jitter) * 0.999999 <= delay <= plain <= LIMIT_SECONDS
    if backoff.cap is not None:
        assert delay <= backoff.cap
    assert backoff.delay(attempt, key=key) == delay


def test_jitter_spreads_keys_and_attempts_evenly() -> None:
    backoff = Backoff.fixed(1, jitter=1)
    by_key = sorted(backoff.delay(1, key=str(n)) for n in range(1000))
    by_attempt = sorted(backoff.delay(n, key="k") for n in range(1, 1001))
    for delays in (by_key, by_attempt):
        assert all(abs(delay - n / 1000) < 0.06 for n, delay in enumerate(delays))


def test_attempt_5000_of_factor_10_neither_overflows_nor_passes_the_cap() -> None:
    assert Backoff.exponential(0.5, factor=10, cap=60).delay(5000) == 60.0
    assert Backoff.exponential(0.5, factor=10).delay(5000) == float(LIMIT_SECONDS)
    assert Backoff.exponential(0.5, factor=1_000_000).delay(10**9) == float(LIMIT_SECONDS)
    assert Backoff.exponential(0, factor=10).delay(5000) == 0.0


def test_a_custom_function_sees_the_attempt_and_its_error() -> None:
    seen: list[tuple[int, BaseException]] = []
    error = ValueError("x")

    def record(attempt: int, error: BaseException) -> str:
        seen.append((attempt, error))
        return "1m"

    assert Backoff.custom(record).delay(3, error=error) == 60.0
    assert seen == [(3, error)]


@pytest.mark.parametrize("answer", [-1, float("nan"), float("inf"), "soon", "5", None, True, [1]])
def test_a_custom_function_that_gives_no_duration_is_told_so(answer: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^Backoff\.custom "):
        Backoff.custom(lambda attempt, error: answer).delay(1, error=ValueError())


def test_a_custom_wait_of_ages_counts_as_366_days() -> None:
    assert Backoff.custom(lambda attempt, error: 10**12).delay(1, error=ValueError()) == LIMIT_SECONDS


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: UNTYPED.fixed(-1), "Backoff.fixed delay -1: is negative"),
        (lambda: UNTYPED.fixed("5"), "Backoff.fixed delay '5': lacks the unit"),
        (lambda: UNTYPED.fixed(None), "Backoff.fixed delay None"),
        (
            lambda: UNTYPED.fixed(1, jitter=1.1),
            "Backoff.fixed jitter 1.1: is out of range; give a number from 0",
        ),
        (lambda: UNTYPED.fixed(1, jitter=-0.1), "is out of range"),
        (lambda: UNTYPED.fixed(1, jitter=float("nan")), "is out of range"),
        (lambda: UNTYPED.fixed(1, jitter=True), "is of type bool"),
        (lambda: UNTYPED.exponential(-1), "Backoff.exponential base -1: is negative"),
        (lambda: UNTYPED.exponential(1, factor=0.9), "Backoff.exponential factor 0.9: is out of range"),
        (lambda: UNTYPED.exponential(1, factor=float("inf")), "is out of range"),
        (lambda: UNTYPED.exponential(1, factor=float("nan")), "is out of range"),
        (lambda: UNTYPED.exponential(1, factor="2"), "is of type str"),
        (lambda: UNTYPED.exponential("5s", cap="1s"), "cap '1s': is below the base '5s'"),
        (lambda: UNTYPED.exponential(1, cap=float("inf")), "Backoff.exponential cap inf: is not finite"),
        (lambda: UNTYPED.exponential(1, jitter=2), "Backoff.exponential jitter 2: is out of range"),
        (lambda: UNTYPED.steps([]), "is empty; give the waits: Backoff.steps([1, 5, 30])"),
        (lambda: UNTYPED.steps("1s"), "Backoff.steps '1s': is no list"),
        (lambda: UNTYPED.steps(5), "Backoff.steps 5: is no list"),
        (lambda: UNTYPED.steps([1, -1]), "Backoff.steps delay 2 -1: is negative"),
        (lambda: UNTYPED.custom(5), "Backoff.custom 5: cannot be called"),
        (lambda: UNTYPED.custom(by_coroutine), "is a coroutine function; give a plain function"),
        (lambda: UNTYPED.custom(AsyncCall()), "is a coroutine function; give a plain function"),
        (lambda: UNTYPED("fixed", 5), "use Backoff.fixed, .exponential, .steps or .custom"),
    ],
    ids=range(23),
)
def test_a_wrong_backoff_is_refused_when_made(make: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        make()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("backoff", "data"),
    [
        (Backoff.fixed("5s"), {"kind": "fixed", "delay": 5.0, "jitter": 0.0}),
        (
            Backoff.exponential("1s", cap="1m", jitter=0.5),
            {"kind": "exponential", "base": 1.0, "factor": 2.0, "cap": 60.0, "jitter": 0.5},
        ),
        (Backoff.exponential(1), {"kind": "exponential", "base": 1.0, "factor": 2.0, "jitter": 0.0}),
        (Backoff.steps([1, "5s"]), {"kind": "steps", "delays": [1.0, 5.0]}),
    ],
    ids=repr,
)
def test_the_plain_form(backoff: Backoff, data: dict[str, Any]) -> None:
    assert backoff.to_dict() == data
    assert Backoff.from_dict(data) == backoff


@given(backoffs)
def test_a_backoff_comes_back_from_json_repr_pickle_and_copy(backoff: Backoff) -> None:
    for again in (
        Backoff.from_dict(json.loads(json.dumps(backoff.to_dict()))),
        eval(repr(backoff), {"Backoff": Backoff}),
        pickle.loads(pickle.dumps(backoff)),
        copy.deepcopy(backoff),
    ):
        assert again == backoff
        assert hash(again) == hash(backoff)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (5, "is no mapping"),
        ({}, "backoff kind None: is unknown; give one of fixed, exponential, steps"),
        ({"kind": "custom"}, "is unknown"),
        ({"kind": ["fixed"]}, "is unknown"),
        ({"kind": "fixed"}, "lacks 'delay'; fixed takes delay, jitter"),
        ({"kind": "fixed", "delay": 1, "cap": 2}, "has the unknown field 'cap'"),
        ({"kind": "fixed", "delay": -1}, "is negative"),
        ({"kind": "steps", "delays": []}, "is empty"),
    ],
    ids=str,
)
def test_other_data_describes_no_backoff(data: Any, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        Backoff.from_dict(data)
    assert said in str(caught.value)


def test_a_custom_backoff_has_no_plain_form() -> None:
    with pytest.raises(DefinitionError, match=r"Backoff\.custom\(by_attempt\) is code"):
        Backoff.custom(by_attempt).to_dict()


def test_backoffs_are_values() -> None:
    assert Backoff.fixed("1s") == Backoff.fixed(1.0) != Backoff.steps([1])
    assert len({Backoff.fixed(1), Backoff.fixed(1), Backoff.fixed(1, 0.1), Backoff.custom(by_attempt)}) == 3
    with pytest.raises(AttributeError):
        Backoff.fixed(1).jitter = 0.5  # type: ignore[misc]
