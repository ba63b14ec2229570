"""Retention in memory, under a clock that the tests move."""

import gc
import random
import weakref
from typing import Any

import pytest

import flows
from executors.memory import MemoryExecutor, MemoryStore
from executors.memory._retention import STEP
from flows.errors import ResultExpiredError, UnknownRunError
from tests.executors.columns import Clock

DAY = 86_400.0


class Precious:
    """A result that can be watched going away."""


@flows.task(name="retention-make")
def make(number: int = 0, *, fails: bool = False) -> Precious:
    if fails:
        raise ValueError("as asked")
    return Precious()


def moved() -> tuple[MemoryExecutor, Clock]:
    """An executor of its own, and its clock."""
    executor, clock = MemoryExecutor("memory://?private=1"), Clock()
    executor._home.store = MemoryStore(clock=clock, epoch=0.0)
    return executor, clock


def sizes(executor: MemoryExecutor) -> dict[str, int]:
    """What the retention holds, by table."""
    retention = executor._home.retention
    names = ("_holders", "_kept", "_ended", "_due", "_lines", "_crowded", "_retired")
    return {name: len(getattr(retention, name)) for name in names}


def test_the_defaults_are_a_week_a_month_and_a_week_for_the_key() -> None:
    executor, clock = moved()
    good = flows.execute(make(), executor=executor, key="good").id
    bad = flows.execute(make(fails=True), executor=executor, key="bad", check=False).id
    clock.now += 7 * DAY - 1
    assert flows.get(key="good", executor=executor).id == good
    assert flows.get(key="bad", executor=executor).id == bad
    clock.now += 1
    for key in ("good", "bad"):
        with pytest.raises(UnknownRunError):
            flows.get(key=key, executor=executor)
    with pytest.raises(UnknownRunError):
        flows.get(good, executor=executor)
    assert flows.get(bad, executor=executor).state == "failed", "kept by its id, though its key is free"
    clock.now += 23 * DAY
    with pytest.raises(UnknownRunError):
        flows.get(bad, executor=executor)


def test_between_retention_and_the_key_s_end_the_result_is_expired() -> None:
    executor, clock = moved()
    run = flows.execute(make(), executor=executor, key="k", keep="1h", key_ttl="2h")
    clock.now += 3_599
    assert flows.execute(make(), executor=executor, key="k").id == run.id
    clock.now += 1
    with pytest.raises(ResultExpiredError, match="another 3,600 s"):
        flows.execute(make(), executor=executor, key="k")
    assert isinstance(run.value, Precious)
    clock.now += 3_600
    assert flows.execute(make(), executor=executor, key="k").id != run.id


def test_an_open_run_is_never_retired() -> None:
    executor, clock = moved()
    run = executor.submit(flows.plan(make()), _options("open", keep=0.0, key_ttl=0.0), background=False)
    clock.now += 365 * DAY
    assert flows.get(key="open", executor=executor).id == run.id
    executor.cancel(run, "at last")
    with pytest.raises(UnknownRunError):
        flows.get(key="open", executor=executor)


def test_what_is_retired_leaves_memory() -> None:
    executor, clock = moved()
    run = flows.execute(make(), executor=executor, key="k", keep=10, key_ttl=20)
    watched: list[weakref.ref[Any]] = [weakref.ref(run.value), weakref.ref(run._record)]
    del run
    gc.collect()
    assert all(reference() is not None for reference in watched)
    clock.now += 10
    with pytest.raises(ResultExpiredError):
        flows.get(key="k", executor=executor)
    gc.collect()
    assert [reference() for reference in watched] == [None, None]
    clock.now += 10
    flows.execute(make(), executor=executor)
    assert set(sizes(executor).values()) == {0}


def test_with_keep_zero_the_result_goes_with_the_last_handle() -> None:
    executor, _ = moved()
    run = flows.execute(make(), executor=executor, key="k", keep=0)
    watched = weakref.ref(run.value)
    assert watched() is not None
    del run
    gc.collect()
    assert watched() is None


def test_collecting_a_result_may_call_the_library() -> None:
    # What a result does when it goes away is the user's code: no lock is held meanwhile, or this would hang.
    executor, clock = moved()
    found: list[Any] = []

    class Asks:
        def __del__(self) -> None:
            found.append(executor.find(key="other"))

    ask = flows.task(lambda: Asks(), name="retention-ask")
    flows.execute(ask(), executor=executor, key="k", keep=10)
    clock.now += 10
    flows.execute(make(), executor=executor, key="later")
    gc.collect()
    assert found == [None]


def test_a_call_retires_a_few_and_all_go_in_time() -> None:
    executor, clock = moved()
    for number in range(5 * STEP):
        flows.execute(make(number), executor=executor, key=f"k{number}", keep=10, key_ttl=10)
    assert sizes(executor)["_kept"] == 5 * STEP
    clock.now += 10
    before = sizes(executor)["_kept"]
    for _ in range(6):
        executor.find(run_id="nobody")
        kept = sizes(executor)["_kept"]
        assert before - kept <= STEP
        before = kept
    assert set(sizes(executor).values()) == {0}


def test_a_lookup_is_exact_however_much_is_overdue() -> None:
    executor, clock = moved()
    for number in range(3 * STEP):
        flows.execute(make(number), executor=executor, key=f"k{number}", keep=number, key_ttl=5 * STEP)
    clock.now += 2 * STEP
    last = 3 * STEP - 1
    with pytest.raises(ResultExpiredError):
        flows.get(key=f"k{2 * STEP}", executor=executor)
    assert flows.get(key=f"k{last}", executor=executor).state == "completed"


def test_the_newest_are_kept_however_many_there_were() -> None:
    executor, clock = moved()
    for number in range(3 * STEP):
        clock.now += 1
        flows.execute(make(number), executor=executor, key=f"k{number}")
    flows.execute(make(-1), executor=executor, key="last", keep_count=2)
    for _ in range(3):
        executor.find(run_id="nobody")
    kept = set(executor._home.retention._kept.values())
    assert {holder.key for holder in kept} == {f"k{3 * STEP - 1}", "last"}


def test_a_run_that_is_opened_again_starts_its_clocks_anew() -> None:
    executor, clock = moved()
    record = executor.submit(flows.plan(make()), _options("k", keep=10.0, key_ttl=10.0), background=False)
    executor.work(record, None)
    clock.now += 9
    record.ended, record.closed_at = False, None  # as a retry does
    clock.now += 100
    assert executor.find(key="k") is record
    record.ended, record.closed_at = True, clock.now
    assert record.on_end is not None
    record.on_end()
    clock.now += 9
    assert executor.find(key="k") is record
    clock.now += 1
    assert executor.find(key="k") is None


def test_documents_say_how_many_of_their_runs_are_kept() -> None:
    executor, _ = moved()
    for number in range(4):
        flow = flows.Flow.parse(
            {"name": "retention-make", "data": {"number": number}, "opts": {"removeOnComplete": {"count": 2}}}
        )
        flows.execute(flow, executor=executor, key=f"k{number}")
    assert len(executor._home.retention._kept) == 2


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_ends_and_lookups_answers_by_the_clock(seed: int) -> None:
    executor, clock = moved()
    luck = random.Random(seed)
    ends: dict[str, tuple[float, float, str]] = {}
    for number in range(60):
        clock.now += luck.choice((0, 1, 5))
        key = f"k{luck.randrange(12)}"
        known = ends.get(key)
        if known is not None and clock.now >= known[1]:
            del ends[key]
            known = None
        if known is not None and clock.now >= known[0]:
            with pytest.raises(ResultExpiredError):
                flows.execute(make(), executor=executor, key=key)
            continue
        keep, ttl = luck.choice((0, 3, 10)), luck.choice((0, 3, 10, 20))
        run = flows.execute(make(), executor=executor, key=key, keep=keep, key_ttl=ttl)
        if known is None:
            ends[key] = (clock.now + keep, clock.now + ttl, run.id)
        else:
            assert run.id == known[2], number


def _options(key: str, **options: float) -> Any:
    from flows._run_options import run_options

    return run_options(key, options, {})  # type: ignore[arg-type]


def test_a_run_that_is_opened_again_is_not_retired_to_make_room() -> None:
    executor, clock = moved()
    run = flows.execute(make(1), executor=executor, key="first", keep_count=1)
    assert executor.find(key="first") is run._record
    clock.now += 1
    run.rerun("retention-make")
    for number in (2, 3):
        clock.now += 1
        flows.execute(make(number), executor=executor, key=f"k{number}", keep_count=1)
        assert executor.find(key="first") is run._record
    clock.now += 1
    assert run.wait().state == "completed"
    assert executor.find(key="first") is run._record  # the last that ended
    assert {holder.key for holder in executor._home.retention._kept.values()} == {"first"}
