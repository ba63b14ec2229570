"""Mistakes with retries, waits, timeouts and cancelling."""

import asyncio
import datetime
import random
from typing import Any

import flows
from flows import Backoff, Job, RetryAfter, each
from flows.testing import (
    EffectLedger,
    Trace,
    always_ends,
    backoff_respected,
    check_all,
    fails_only_by_faults,
)
from tests.testing.planted.catalogue import Property, pause, planted


class CardDeclined(Exception):
    """For good."""


@planted("asked the bank 3 times")
def what_is_final_is_tried_again(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3, give_up_on=(CardDeclined,))
    def charge() -> None:
        world.record("ask", key=None)
        error = CardDeclined("no")
        raise error if right else RuntimeError(f"the bank says {error}")

    def holds(trace: Trace[Any]) -> None:
        if not trace.replay.get("faults"):
            assert len(world.effects) == 1, f"asked the bank {len(world.effects)} times"

    return charge(), holds


@planted("waits get shorter: [30.0, 5.0, 1.0]", faults=1, kinds=("fail",))
def waits_that_shrink(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    waits = [1, 5, 30] if right else [30, 5, 1]
    call = flows.task(lambda: "answer", name="call", attempts=4, backoff=Backoff.steps(waits))

    def holds(trace: Trace[Any]) -> None:
        backoff_respected(trace)
        taken = [attempt.backoff for attempt in trace.attempts if attempt.backoff is not None]
        assert len(taken) < 3 or taken == sorted(taken), f"waits get shorter: {taken}"

    return call(), holds


@planted("was asked again after 1 s")
def ignores_when_to_come_again(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="call", attempts=3, backoff=Backoff.fixed("1s"))
    def call() -> str:
        if flows.current().attempt == 1:
            raise RetryAfter("60s") if right else ConnectionError("429: come again in 60 s")
        return "answer"

    def holds(trace: Trace[Any]) -> None:
        refused = [one for one in trace.attempts if "429" in one.error or one.error.startswith("RetryAfter")]
        for attempt in refused:
            wait = attempt.backoff or 60.0
            assert wait >= 60.0, f"was asked again after {wait:g} s"

    return call(), holds


@planted("the run took", faults=1)
def waits_that_grow_without_end(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    backoff = Backoff.exponential("10s", cap="1m" if right else None)
    call = flows.task(lambda: "answer", name="call", attempts=12, backoff=backoff)

    def holds(trace: Trace[Any]) -> None:
        if not any(fault.kind in ("clock_step", "slow") for fault in trace.replay.get("faults", ())):
            always_ends(trace, within="1h")

    return call(), holds


@planted("saved what nobody waits for")
def goes_on_when_its_time_is_up(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="fetch", timeout="10s")
    async def fetch() -> None:
        for _ in range(3):
            try:
                await pause(9.0)
            except asyncio.CancelledError:
                if right:
                    raise
        world.record("save", key=flows.current().idempotency_key)

    def holds(trace: Trace[Any]) -> None:
        over = [one.ended_at for one in trace.attempts if one.ended_at and one.error.startswith("JobTimeoutError")]
        assert not any(effect.at > over[0] for effect in world.effects if over), "saved what nobody waits for"

    return fetch(), holds


@planted("did this after it was cancelled", faults=1, kinds=("cancel",))
def does_it_all_the_same_when_cancelled(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="remind")
    async def remind() -> None:
        try:
            await pause(3_600.0)
        except BaseException:
            if right:
                raise
        world.record("remind", key=flows.current().idempotency_key)

    def holds(trace: Trace[Any]) -> None:
        late = [effect for effect in world.effects if effect.at < 3_600.0]
        assert not late, "did this after it was cancelled"

    return remind(), holds


@planted("2 at once")
def lock_shorter_than_the_work(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    until = 0.0
    inside: set[str] = set()
    most = 0

    @flows.task(name="migrate", attempts=1)
    async def migrate(table: str) -> None:
        nonlocal until, most
        loop = asyncio.get_running_loop()
        if until > loop.time():
            await pause(until - loop.time())
        until = loop.time() + (60.0 if right else 10.0)
        inside.add(table)
        most = max(most, len(inside))
        await pause(20.0)
        inside.discard(table)

    def holds(trace: Trace[Any]) -> None:
        if not trace.replay.get("faults"):
            assert most <= 1, f"{most} at once"

    both = flows.task(lambda *done: len(done), name="both")
    return both(migrate("orders").out, migrate("items").out), holds


@planted("the run has failed, for the one sku that is gone")
def one_poisoned_item_stops_all(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="reserve", attempts=2, on_failure="remove" if right else "fail")
    def reserve(sku: str) -> str:
        if sku == "gone":
            raise LookupError(sku)
        return sku

    def holds(trace: Trace[Any]) -> None:
        if not trace.replay.get("faults"):
            assert trace.run.state == "completed", "the run has failed, for the one sku that is gone"

    return each(reserve, ["tea", "gone", "pot"]), holds


@planted("called date.today() at")
def asks_what_day_it_is(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="bill")
    def bill(day: str) -> str:
        return day if right else datetime.date.today().isoformat()

    return bill("2026-11-22"), check_all


@planted("called random.random() at")
def rolls_dice(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="choose")
    def choose(shops: list[str]) -> str:
        return shops[0 if right else int(random.random() * len(shops))]

    return choose(["north", "south"]), check_all


@planted("raised RuntimeError: too late", faults=2)
def counts_lost_workers_as_attempts(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    """Counts its own starts, which are more than its attempts: a worker that dies costs none."""
    starts = 0

    @flows.task(name="call", attempts=2)
    def call() -> str:
        nonlocal starts
        starts += 1
        if not right and starts > flows.current().attempts:
            raise RuntimeError("too late")
        return "answer"

    return call(), fails_only_by_faults
