"""StoreClock: another's clock, known by replies alone."""

from hypothesis import given
from hypothesis import strategies as st

from executors._leasing._store_clock import StoreClock

trips = st.lists(st.tuples(st.floats(0, 2), st.floats(0, 2), st.floats(0, 60)), min_size=1, max_size=20)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), trips)
def test_the_estimate_is_as_good_as_the_quickest_round_trip(
    ahead: float, first: float, trips: list[tuple[float, float, float]]
) -> None:
    clock = StoreClock(lambda: first)
    now, bounds = 1000.0, []
    for there, back, pause in trips:
        clock.heard(now, now + there + back, now + there + ahead)
        now += there + back + pause
        bounds.append(there + back)
        assert abs(clock.of(now) - (now + ahead)) <= min(bounds) + 1e-6
    assert abs(clock.monotonic(clock.of(now)) - now) < 1e-6


def test_a_clock_that_agrees_is_not_moved() -> None:
    clock = StoreClock(lambda: 500.0)
    before = clock.of(0.0)
    clock.heard(10.0, 12.0, clock.of(10.4))
    clock.heard(20.0, 29.0, clock.of(28.9))
    assert clock.of(0.0) == before


def test_an_attempt_is_timed_by_a_clock_that_is_not_moved() -> None:
    clock = StoreClock(lambda: 0.0)
    steady = clock.steady()
    before = steady()
    clock.heard(0.0, 0.01, -1e9)
    assert clock() < before <= steady()


def test_a_clock_that_is_set_is_followed() -> None:
    clock = StoreClock(lambda: 0.0)
    clock.heard(0.0, 0.01, 1_000.0)
    assert 999.99 <= clock.of(0.0) <= 1_000.0
    clock.heard(5.0, 5.01, 500.0)
    assert 494.99 <= clock.of(0.0) <= 495.0
