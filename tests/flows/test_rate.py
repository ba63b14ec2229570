"""Rate: never more starts within a period than it says, and no start held back that it allows."""

import json

from hypothesis import given
from hypothesis import strategies as st

from flows._rate import ENTRIES, Rate


def started(rate: Rate, at: float, times: int = 1) -> None:
    rate.reserve(times)
    for _ in range(times):
        rate.start(at)


def test_as_many_as_it_says_start_at_once_and_each_comes_back_after_a_period() -> None:
    rate = Rate(10, 1.0)
    started(rate, 0.0, 4)
    started(rate, 0.25, 6)
    assert (rate.room(0.25), rate.opens_at(1, 0.25), rate.opens_at(5, 0.25)) == (0, 1.0, 1.25)
    assert (rate.room(0.999), rate.room(1.0), rate.room(1.249), rate.room(1.25)) == (0, 4, 4, 10)


def test_what_is_reserved_counts_until_it_has_begun_and_for_a_period_after() -> None:
    rate = Rate(2, 1.0)
    rate.reserve(2)
    assert (rate.room(50.0), rate.opens_at(1, 50.0)) == (0, 51.0), "it may begin at any moment"
    rate.start(60.0)
    rate.give_back()
    assert (rate.room(60.5), rate.room(61.0)) == (1, 2)


def test_a_lowered_rate_counts_what_has_started_under_the_former_one() -> None:
    rate = Rate(10, 1.0)
    started(rate, 0.0, 8)
    rate.change(5, 10.0)
    assert (rate.room(9.9), rate.opens_at(1, 9.0), rate.room(10.0)) == (-3, 10.0, 5)


def test_who_reads_what_was_written_goes_on_from_there() -> None:
    rate, other = Rate(4, 10.0), Rate(4, 10.0)
    started(rate, 1.0, 2)
    started(rate, 2.0)
    rate.reserve(1)
    other.read(json.loads(json.dumps(rate.written())))
    assert [one.room(now) for one in (rate, other) for now in (2.0, 11.0, 12.0)] == [0, 2, 3] * 2
    other.give_back()
    assert other.room(12.0) == 4


def test_instants_that_go_back_count_as_the_newest() -> None:
    rate = Rate(2, 1.0)
    started(rate, 5.0)
    started(rate, 4.0)
    assert (rate.room(5.5), rate.room(6.0)) == (0, 2)


def test_a_high_rate_needs_little_memory_and_is_kept_all_the_same() -> None:
    rate = Rate(100_000, 60.0)
    starts: list[float] = []
    now = 0.0
    while len(starts) < 250_000:
        batch = min(rate.room(now), 700)
        if batch > 0:
            started(rate, now, batch)
            starts += [now] * batch
            now += 0.01
        else:
            now = rate.opens_at(1, now)
        assert len(rate._log) <= ENTRIES + 2
    assert all(later - first >= 60.0 for first, later in zip(starts, starts[100_000:], strict=False))
    assert starts[-1] <= 125.0, "and not kept much below"


steps = st.lists(st.tuples(st.floats(0.0, 2.0), st.integers(1, 6), st.sampled_from(("start", "late", "give back"))))


@given(st.integers(1, 5), st.floats(0.01, 3.0), steps)
def test_no_period_sees_more_starts_and_no_start_waits_longer_than_it_must(
    count: int, period: float, steps: list[tuple[float, int, str]]
) -> None:
    rate, now = Rate(count, period), 0.0
    starts: list[float] = []
    reserved = 0
    for pause, wanted, what in steps:
        now += pause
        room = rate.room(now)
        live = [start for start in starts if start + period > now]
        assert room == count - len(live) - reserved, "just what stands in the window counts"
        if wanted <= count and not reserved:
            opens_at = rate.opens_at(wanted, now)
            assert opens_at == (now if room >= wanted else live[wanted - room - 1] + period)
        taken = min(max(room, 0), wanted)
        rate.reserve(taken)
        if what == "late":
            reserved += taken
            continue
        for _ in range(taken + reserved):
            if what == "start":
                rate.start(now)
                starts.append(now)
            else:
                rate.give_back()
        reserved = 0
    assert all(later >= first + period for first, later in zip(starts, starts[count:], strict=False))


def test_up_to_as_many_starts_as_a_log_has_entries_are_told_apart() -> None:
    rate = Rate(ENTRIES, float(ENTRIES))
    started(rate, 0.0)
    started(rate, 0.5)
    assert (rate.room(ENTRIES + 0.0), rate.room(ENTRIES + 0.5)) == (ENTRIES - 1, ENTRIES)


def test_of_more_those_that_come_close_together_come_back_with_the_last_of_them() -> None:
    rate = Rate(2 * ENTRIES, 2.0 * ENTRIES)
    for at in (0.0, 2.0, 2.5):
        started(rate, at)
    back = [rate.room(2.0 * ENTRIES + at) - 2 * ENTRIES for at in (0.0, 2.0, 2.5)]
    assert back == [-3, -1, 0]
