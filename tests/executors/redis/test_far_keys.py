"""Results under job-level keys whose records are in another shard than the jobs: each step may be the last one."""

import itertools
from collections.abc import Iterator
from typing import Any, cast

import pytest

import flows
from executors._leasing._sharing import Sharing
from executors.redis._part import placed
from executors.redis._shard import Shard
from flows._state import COMPLETED, FAILED
from flows._verbs import End, FailedSettle, Grant, Settle, Want
from flows.errors import UnavailableError
from tests.executors.redis.servers import Server
from tests.executors.redis.shards import forget, states_of
from tests.executors.redis.spreads import QUEUE, SHARDS, Spread
from tests.executors.redis.test_store import put

pytestmark = pytest.mark.slow

STEPS = ("vow", "hold", "stands", "deposit")
effects: list[int] = []
homes = range(SHARDS)


@flows.task(name="far-pay", queue=QUEUE)
def pay(value: int) -> int:
    effects.append(value)
    return len(effects)


class DiedError(BaseException):
    """The worker's process has ended here."""


@pytest.fixture
def spread(valkey: Server) -> Iterator[Spread]:
    effects.clear()
    one = Spread(valkey)
    yield one
    forget_all(one)
    one.close()


def forget_all(spread: Spread) -> None:
    for store in spread.stores:
        store.shard.server.call("HINCRBY", store.shard.keys.meta, "shift", 600_000_000)
        forget(store.shard)
    spread.store.rescue()


def key_kept_in(home: int) -> str:
    return next(key for key in map("k {}é".format, itertools.count()) if placed(key, SHARDS) == home)


def start(spread: Spread, shard: int, key: str, value: int = 1) -> str:
    flow: Any = pay.using(idempotency_key=key)(value)
    return put(spread.stores[shard], flow, keep=600.0, keep_failed=600.0)


def claimed(spread: Spread, *settles: Settle) -> list[Grant]:
    spread.seq += 1
    spread.store.may_have = [True] * SHARDS  # there is nobody to tell
    want = Want(8, queues=frozenset((QUEUE,)), suspects=True)
    return list(spread.store.exchange(spread.loop, spread.seq, settles, want, "w").grants)


def attempted(spread: Spread, sharing: Sharing, grants: list[Grant]) -> list[Settle]:
    """All look at their keys, then those that may go on do."""
    settles = []
    looked = [(grant, sharing.before(grant, spread.store.clock)) for grant in grants]
    for grant, settle in looked:
        if isinstance(settle, FailedSettle):
            settle.after = 0.0  # it need not wait in a test
        settles.append(settle or sharing.after(spread.perform(grant, spread.store.clock)))
    return settles


def work_off(spread: Spread, runs: dict[str, int]) -> None:
    """Until all of *runs*, each in its shard, have ended."""
    sharing, settles = Sharing(cast(Any, spread.store)), list[Settle]()
    for _ in range(50):
        settles = attempted(spread, sharing, claimed(spread, *settles))
        if all(states(spread, run, shard)[0] >= COMPLETED for run, shard in runs.items()):
            return
    raise AssertionError("they do not end")


def states(spread: Spread, run: str, shard: int) -> list[int]:
    return states_of(spread.stores[shard].shard, run, 1)


def lapse(spread: Spread) -> None:
    """All leases run out, and the jobs go back."""
    for store in spread.stores:
        store.shard.server.call("HINCRBY", store.shard.keys.meta, "shift", 31_000_000)
        store.rescue()


def is_there(spread: Spread, home: int, key: str) -> bool:
    shard = spread.stores[home].shard
    return bool(shard.server.call("EXISTS", shard.keys.of(f"h:{key}")))


def value_of(spread: Spread, home: int, key: str) -> Any:
    shard = spread.stores[home].shard
    return shard.server.call("HGET", shard.keys.of(f"h:{key}"), "value")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("home", homes)
def test_wherever_a_worker_dies_both_jobs_end_with_one_result(
    valkey: Server, home: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, key, places, places_of = Shard.run, key_kept_in(home), itertools.count(), set[str]()
    for place in places:
        valkey.ask("FLUSHALL")
        effects.clear()
        step, died_at = itertools.count(), ""

        def run(shard: Shard, name: str, *arguments: Any) -> Any:
            nonlocal died_at
            dies = name in STEPS and next(step) == place  # noqa: B023
            if dies and not after:
                died_at = name
                raise DiedError
            answer = real(shard, name, *arguments)
            if dies:
                died_at = name
                raise DiedError
            return answer

        first, second = Spread(valkey), Spread(valkey)
        try:
            runs = {start(first, 0, key): 0, start(first, 1, key): 1}
            with monkeypatch.context() as patch:
                patch.setattr(Shard, "run", run)
                try:
                    work_off(first, runs)
                except DiedError:
                    pass
            if died_at:
                lapse(second)
                work_off(second, runs)
            assert [states(second, run, shard) for run, shard in runs.items()] == [[COMPLETED]] * 2
            assert len(effects) == (2 if died_at == "deposit" and not after else 1)
            assert value_of(second, home, key) == str(len(effects)).encode()
            forget_all(second)
        finally:
            first.close()
            second.close()
        if not died_at:
            break
        places_of.add(died_at)
    assert places_of == set(STEPS)


def test_who_failed_for_good_or_is_gone_is_followed_and_files_nothing(spread: Spread) -> None:
    key, sharing = key_kept_in(2), Sharing(cast(Any, spread.store))
    run = start(spread, 0, key)
    (owner,) = claimed(spread)
    assert sharing.before(owner, spread.store.clock) is None
    other_run = start(spread, 1, key)
    (other,) = claimed(spread)
    wait = sharing.before(other, spread.store.clock)
    assert wait is not None
    assert wait.end is End.RELEASED
    now = spread.store.clock()
    settles = [
        FailedSettle(owner, End.FAILED, ValueError("never"), now, now),
        FailedSettle(other, End.RELEASED, None, now, now),
    ]
    (other,) = claimed(spread, *settles)
    assert states(spread, run, 0) == [FAILED]
    assert sharing.before(other, spread.store.clock) is None
    assert spread.store._keys.file(key, owner, b'"late"') == b'"late"'
    assert value_of(spread, 2, key) is None
    claimed(spread, sharing.after(spread.perform(other, spread.store.clock)))
    assert states(spread, other_run, 1) == [COMPLETED]
    assert value_of(spread, 2, key) == b"1"


def test_a_zombie_files_nothing_once_a_newer_attempt_has_begun(spread: Spread) -> None:
    key, sharing = key_kept_in(1), Sharing(cast(Any, spread.store))
    start(spread, 0, key)
    (zombie,) = claimed(spread)
    sharing.before(zombie, spread.store.clock)
    lapse(spread)
    (newest,) = claimed(spread)
    assert sharing.before(newest, spread.store.clock) is None
    assert sharing.before(zombie, spread.store.clock) is None, "the job's own; and it takes nothing from the newer one"
    file = spread.store.file
    spread.store._of[zombie] = 0
    assert [file(key, zombie, b'"zombie"'), file(key, newest, b'"newest"'), file(key, zombie, b"2")] == [
        b'"zombie"',
        b'"newest"',
        b'"newest"',
    ]
    claimed(spread, spread.perform(newest, spread.store.clock))


def test_what_a_forgotten_run_had_reserved_is_freed_though_a_node_is_away(
    spread: Spread, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_kept_in(2)
    start(spread, 0, key)
    sharing = Sharing(cast(Any, spread.store))
    (owner,) = claimed(spread)
    assert sharing.before(owner, spread.store.clock) is None
    now = spread.store.clock()
    claimed(spread, FailedSettle(owner, End.CANCELLED, None, now, now))
    spread.stores[0].shard.server.call("HSET", spread.stores[0].shard.keys.meta, "shift", 600_000_000)
    forget(spread.stores[0].shard)
    assert is_there(spread, 2, key)
    home = spread.store.parts[2].shard

    def away(*call: Any) -> Any:
        raise UnavailableError("away")

    with monkeypatch.context() as patch:
        patch.setattr(home, "run", away)
        with pytest.raises(UnavailableError):
            spread.store.rescue()
    spread.store.rescue()
    assert not is_there(spread, 2, key)
    spread.store._of[owner] = 0
    wait = sharing.before(owner, spread.store.clock)
    assert wait is not None
    assert wait.end is End.RELEASED
    assert not is_there(spread, 2, key), "a run that is gone reserves nothing"


def test_a_result_is_filed_only_for_whom_its_key_is_reserved(spread: Spread) -> None:
    key, sharing = key_kept_in(1), Sharing(cast(Any, spread.store))
    start(spread, 0, key)
    (owner,) = claimed(spread)
    sharing.before(owner, spread.store.clock)
    home, name = spread.stores[1].shard, owner.run.plan.ids[owner.job]
    assert home.run("deposit", "another", name, owner.fence, key, b"2", 60_000) is None
    assert home.run("deposit", owner.run.id, "another", owner.fence, key, b"2", 60_000) is None
    assert home.run("deposit", owner.run.id, name, owner.fence, key, b"1", 60_000) == b"1"
