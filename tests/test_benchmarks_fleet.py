"""The benchmarks over Redis: each peer's client and worker are driven, figures judged, who is not there is named."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import fleet, server
from benchmarks.contest.contenders import CONTENDERS
from benchmarks.measure import Series, WrongValueError
from benchmarks.report import table

FAN_IN = fleet.shapes("full")["redis_fan_in"]


@pytest.mark.slow
def test_we_are_measured_and_who_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = CONTENDERS["flows-redis"]
    ending = replace(ours, name="bullmq-node", module="benchmarks.no_such_thing")
    monkeypatch.setattr(fleet, "CONTENDERS", {"flows-redis": ours, "bullmq-node": ending})
    names = [name for name in fleet.ABOUT if name not in {"redis_workers", "redis_flat"}]
    lines, missing = fleet.fleet_rows(names, "tiny", ("flows", "bullmq-node"))
    assert [*missing] == ["bullmq-node over redis"]
    assert [(row.workload, row.peer) for row in lines] == [(name, "flows") for name in names]
    assert all(row.seconds is not None and row.seconds.low > 0 for row in lines)
    assert "redis_chain" in table(lines)


def test_a_fan_in_is_judged_against_both_that_were_measured() -> None:
    peers = Series("bullmq-node", [4.0]), Series("bullmq-python", [15.0])
    for ours, met in ((1.0, True), (1.01, False)):
        first, *others = fleet.rows("redis_fan_in", FAN_IN, [Series("flows", [ours]), *peers])
        assert [target.met for target in first.targets] == [met, met]
        assert all(row.targets == () for row in others)
    (alone,) = fleet.rows("redis_fan_in", FAN_IN, [Series("flows", [1.0])])
    assert alone.targets == ()
    assert len(fleet.rows("redis_fan_in", FAN_IN, peers)) == 2


def test_chains_and_small_flows_are_judged_by_their_time() -> None:
    for name, most in (("redis_chain", 0.5), ("redis_small_flow", 0.7)):
        for ours, met in ((most - 0.01, True), (most + 0.01, False)):
            series = [Series("flows", [ours]), Series("bullmq-node", [1.0])]
            first, _ = fleet.rows(name, fleet.shapes("full")[name], series)
            assert [target.met for target in first.targets] == [met]


def test_the_pace_is_to_be_the_same_at_all_sizes() -> None:
    for slow, met in ((1.3, True), (1.6, False)):
        *others, last = fleet.flat_rows([(1_000, Series("flows", [1.0])), (1_000, Series("flows", [slow]))])
        assert [target.met for target in last.targets] == [met]
        assert all(row.targets == () for row in others)


def test_two_workers_are_judged_where_there_are_cores_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pair:
        def __init__(self, peer: str, port: int, workers: int) -> None:
            self.seconds = {1: 1.3, 2: 1.0}[workers]

        def turn(self, *_: Any) -> tuple[list[float], int]:
            return [self.seconds], 0

        def close(self) -> None:
            pass

    monkeypatch.setattr(fleet, "Fleet", Pair)
    for cores, judged in ((2, []), (4, [True])):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        _, two = fleet.workers_rows(FAN_IN, 0)
        assert [target.met for target in two.targets] == judged
        assert ("not judged" in two.note) is (not judged)


def test_a_wrong_sum_gets_no_figure() -> None:
    def turn(*_: Any) -> tuple[list[float], int]:
        return [0.1], -1

    with pytest.raises(WrongValueError, match="wrong: -1 instead of"):
        fleet.measure(FAN_IN, {"wrong": turn})


@pytest.mark.slow
def test_servers_are_private_and_answer() -> None:
    with server.private_server() as one, server.private_server() as other:
        assert one != other
        assert server.asked(one, "SET", "key", "value") == "+OK"
        assert server.asked(one, "GET", "key") == "value"
        assert server.told(one, "stats", "total_commands_processed") > 1
