"""Runs of a form that is known, submitted many at once, are stored as each would be by itself."""

from collections.abc import Iterator
from typing import Any

import pytest

import flows
from executors._stored import Packed, pack
from executors.redis import RedisExecutor
from executors.redis import _alike as alike
from executors.redis._alike import AlikeRun
from executors.redis._shard import Shard
from executors.redis._store import laid_out, new_run
from executors.redis._submits import Holder
from flows.executor import RunOptions
from tests.executors.redis.servers import Server, installed, shared
from tests.executors.redis.shards import shard_on, stored

QUEUE = "alike"


@flows.task(name="alike-take", queue=QUEUE)
def take(*given: Any) -> Any:
    return given


@flows.task(name="alike-other", queue="alike-2", priority=3)
def other(*given: Any) -> Any:
    return given


def packed(number: int, run_id: str, key: str | None = None, **options: Any) -> Packed:
    flow = take([take("x" * number).out, other(number, take(number).out).out])
    return pack(flows.plan(flow), RunOptions(run_id, key, "0" * 32, **options))


@pytest.fixture(autouse=True, scope="module")
def known() -> None:
    for number in range(4):
        new_run(packed(number, "first"))


def run_of(number: int, run_id: str, key: str | None = None) -> AlikeRun:
    made = new_run(packed(number, run_id, key))
    assert isinstance(made, AlikeRun)
    return made


@pytest.fixture(params=installed())
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Some have functions, one has not."""
    server = shared(request.param)
    server.ask("FLUSHALL")
    yield server
    server.ask("FLUSHALL")


@pytest.fixture
def shard(server: Server) -> Shard:
    return shard_on(server)


def told(shard: Shard) -> dict[bytes, Any]:
    """All that is stored, without instants and the marks of events."""
    found = stored(shard)
    for key, value in found.items():
        if isinstance(value, dict):
            for instant in (b"submitted", b"mark"):
                value.pop(instant, None)
        elif key.endswith(b"events"):
            found[key] = [part for _, fields in value for part in fields[2:]]
        elif key.endswith(b"runs"):
            found[key] = sorted(value[::2])  # of one instant, in the order of their ids
    return found


def test_each_is_stored_as_it_would_be_alone(shard: Shard, server: Server) -> None:
    given = [(3, "one", None), (400, "two", "a key"), (1, "three", None), (70, "four", "other")]
    answers = shard.put_many([run_of(*one) for one in given])
    assert [one.run_id for one in answers if isinstance(one, Holder)] == ["one", "two", "three", "four"]
    together = told(shard)
    server.ask("FLUSHDB")
    for number, run_id, key in given:
        assert shard.put_run(laid_out(packed(number, run_id, key))).run_id == run_id
    assert together == told(shard)


def test_sent_again_they_change_nothing(shard: Shard) -> None:
    runs = [run_of(number, f"run{number}", f"key{number}" if number % 2 else None) for number in range(1, 5)]
    shard.put_many(runs[:2])
    assert shard.put_run(runs[2]) == Holder("run3", runs[2].fingerprint)
    before = told(shard)
    answers = shard.put_many(runs[:3])
    assert answers == [Holder(run.run_id, run.fingerprint) for run in runs[:3]]
    assert told(shard) == before
    shard.put_many(runs)
    assert shard.server.call("ZCARD", shard.keys.of("runs")) == 4


def test_of_those_with_one_key_the_first_is_accepted(shard: Shard) -> None:
    shard.put_run(run_of(9, "there", "taken"))
    runs = [run_of(1, "one", "same"), run_of(2, "two"), run_of(1, "three", "same"), run_of(3, "four", "taken")]
    answers = shard.put_many(runs)
    assert [one.run_id for one in answers if isinstance(one, Holder)] == ["one", "two", "one", "there"]
    assert [one.fingerprint for one in answers if isinstance(one, Holder)][2:] == [
        runs[0].fingerprint,
        run_of(9, "", "taken").fingerprint,
    ]
    assert shard.server.call("ZRANGE", shard.keys.of("runs"), 0, -1) == [b"there", b"one", b"two"]
    assert shard.server.call("EXISTS", shard.keys.run("three"), shard.keys.run("four")) == 0


@pytest.mark.slow
def test_a_full_server_takes_none_of_them(shard: Shard, server: Server) -> None:
    shard.put_many([run_of(1, "before")])
    before = told(shard)
    server.ask("CONFIG", "SET", "maxmemory", "1")
    try:
        answers = shard.put_many([run_of(1, "one"), run_of(2, "two", "key")])
    finally:
        server.ask("CONFIG", "SET", "maxmemory", "0")
    assert all(isinstance(one, flows.UnavailableError) for one in answers)
    assert told(shard) == before


def test_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [run_of(1, f"run{number}") for number in range(70)]
    assert [len(part) for part in alike.portions(runs)] == [64, 6]
    monkeypatch.setattr(alike, "BYTES_AT_ONCE", 3 * runs[0].size)
    assert [len(part) for part in alike.portions(runs[:7])] == [3, 3, 1]
    assert [len(part) for part in alike.portions([runs[0], runs[1]._replace(form=run_of(1, "").form)])] == [2]


def test_what_is_odd_about_a_run_is_stored_by_itself() -> None:
    for _ in range(3):
        odd: list[Packed] = [packed(3000, "long"), packed(1, "late", timeout=5.0)]
        assert [type(new_run(one)) is AlikeRun for one in odd] == [False, False]
        assert new_run(packed(1, "fast", fail_fast=True)) is not None
    made = new_run(packed(1, "fast", fail_fast=True))
    assert isinstance(made, AlikeRun)
    assert "fast" in made.form.common


def test_many_submits_take_few_calls(valkey: Server) -> None:
    executor = RedisExecutor(valkey.url)
    many: list[Any] = [take(number) for number in range(64)]
    for flow in many[:3]:
        flows.submit(flow, executor=executor)
    part = executor.parts[0]
    runs = [
        executor._packed(flows.plan(flow), RunOptions(f"r{number}", None, "0" * 32)) for number, flow in enumerate(many)
    ]
    valkey.ask("CONFIG", "RESETSTAT")
    assert all(isinstance(one, Holder) for one in part.store.shard.put_many([new_run(run) for _, run in runs]))
    stats = valkey.ask("INFO", "commandstats").decode()
    assert "cmdstat_fcall:calls=1," in stats or "cmdstat_evalsha:calls=1," in stats
    executor.close()
