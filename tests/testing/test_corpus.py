"""Our own use of the kit: whatever strikes, at whatever moment of whatever flow, every promise is kept."""

import pytest

from flows.testing import crash_points, survives_every_crash
from flows.testing._crashes import STRIKES
from tests.testing.corpus import CORPUS
from tests.testing.seeded import play

SEEDS, AT_ONCE = 5_000, 250


def test_the_corpus_is_as_large_as_we_say() -> None:
    assert len(CORPUS) >= 20


@pytest.mark.slow
@pytest.mark.parametrize("name", CORPUS)
def test_flows_survive_whatever_strikes_at_any_of_their_moments(name: str) -> None:
    flow = CORPUS[name]
    assert survives_every_crash(flow, kinds=STRIKES, workers=2) >= len(crash_points(flow))


def test_a_flow_of_ten_jobs_survives_every_crash() -> None:
    assert survives_every_crash(CORPUS["shop"]) > 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
def test_thousands_of_flows_and_faults_break_no_promise(first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        play(seed)


def test_a_seed_plays_the_same_each_time() -> None:
    assert [play(seed)[2].log for seed in range(20)] == [play(seed)[2].log for seed in range(20)]
