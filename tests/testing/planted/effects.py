"""Mistakes with what is done to the world outside."""

import time
import uuid
from typing import Any

import flows
from flows import GiveUp, Job, Skip, each
from flows.testing import EffectLedger, Trace, check_all, effects_exactly_once, fails_only_by_faults
from tests.testing.planted.catalogue import Property, pause, planted


def own_key() -> str:
    return flows.current().idempotency_key


@planted("did 'charge'", faults=1)
def charge_without_a_key(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        world.record("charge", key=own_key() if right else None)

    return charge(), lambda trace: effects_exactly_once(trace, world)


@planted("under changing keys", faults=1)
def key_of_the_attempt(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        context = flows.current()
        world.record("charge", key=own_key() if right else f"{context.job_id}/{context.attempt}")

    return charge(), lambda trace: check_all(trace, world)


@planted("called time.time() at")
def key_of_the_clock(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        world.record("charge", key=own_key() if right else f"charge-{time.time()}")

    return charge(), lambda trace: check_all(trace, world)


@planted("called uuid.uuid4() at")
def key_of_chance(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        world.record("charge", key=own_key() if right else str(uuid.uuid4()))

    return charge(), lambda trace: check_all(trace, world)


@planted("under one key")
def key_of_the_run_alone(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge")
    def charge(amount: int) -> None:
        world.record("charge", key=own_key() if right else flows.current().run_id)

    both = flows.task(lambda *paid: len(paid), name="both")
    return both(charge(3).out, charge(4).out), lambda trace: check_all(trace, world)


@planted("under one key")
def key_of_a_float(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    """Two amounts that are told apart by digits which the text does not have."""

    @flows.task(name="charge")
    def charge(amount: float) -> None:
        world.record("charge", key=own_key() if right else f"charge-{amount:.2f}")

    both = flows.task(lambda *paid: len(paid), name="both")
    return both(charge(0.1 + 0.2).out, charge(0.3).out), lambda trace: check_all(trace, world)


@planted("under one key")
def duplicate_items_share_a_key(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="reserve")
    def reserve(sku: str) -> str:
        world.record("reserve", key=own_key() if right else f"{flows.current().run_id}/{sku}")
        return sku

    return each(reserve, ["tea", "pot", "tea"]), lambda trace: check_all(trace, world)


@planted("charged and then refused")
def effect_before_validation(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    def check(total: float) -> None:
        if total <= 0:
            raise GiveUp("nothing to pay")

    @flows.task(name="charge")
    def charge(total: float) -> None:
        if right:
            check(total)
        world.record("charge", key=own_key())
        check(total)

    def holds(trace: Trace[Any]) -> None:
        assert not world.effects, "charged and then refused"

    return charge(-1.0), holds


@planted("did 'mail' 2 times", faults=1)
def second_effect_outside_the_key(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        world.record("charge", key=own_key())
        world.record("mail", key=own_key() if right else None)

    return charge(), lambda trace: effects_exactly_once(trace, world)


@planted("did 'publish orders'", faults=1)
def all_published_again_after_a_part(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="publish", attempts=3)
    def publish(topics: list[str]) -> None:
        for topic in topics:
            world.record(f"publish {topic}", key=f"{own_key()}/{topic}" if right else None)

    return publish(["orders", "mails"]), lambda trace: effects_exactly_once(trace, world)


@planted("did 'charge'", faults=1)
def key_that_counts_what_was_done(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    """The number of the request is looked up where it changes with the request."""

    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        world.record("charge", key=own_key() if right else f"charge-{len(world.effects)}")

    return charge(), lambda trace: effects_exactly_once(trace, world)


@planted("completed without its effect", faults=1, kinds=("crash",))
def marked_as_done_before_it_is(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    done = set()

    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        if own_key() in done:
            return
        if not right:
            done.add(own_key())
        world.record("charge", key=own_key())
        done.add(own_key())

    return charge(), lambda trace: effects_exactly_once(trace, world, jobs=["charge"])


@planted("opened 2 accounts")
def looked_first_and_acted_then(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    opened = set()

    @flows.task(name="account")
    async def account(customer: str, order: int) -> None:
        if right:
            world.record("open", key=customer)
        elif customer not in opened:
            await pause(0.1)  # the API takes its time
            opened.add(customer)
            world.record("open", key=own_key())

    def holds(trace: Trace[Any]) -> None:
        times = sum(effect.applied for effect in world.effects)
        assert times <= 1, f"opened {times} accounts"

    both = flows.task(lambda *opened: len(opened), name="both")
    return both(account("ann", 1).out, account("ann", 2).out), holds


@planted("completed without its effect", faults=1, kinds=("fail",))
def every_error_is_swallowed(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> str | None:
        try:
            world.record("charge", key=own_key())
        except Exception:
            if right:
                raise
            return None
        return "paid"

    return charge(), lambda trace: effects_exactly_once(trace, world, jobs=["charge"])


@planted("nobody paid", faults=1)
def skipped_in_place_of_failed(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=2)
    def charge() -> None:
        try:
            world.record("charge", key=own_key())
        except Exception as error:
            if right:
                raise
            raise Skip(str(error)) from error

    ship = flows.task(lambda: "shipped", name="ship")

    def holds(trace: Trace[Any]) -> None:
        paid = any(effect.applied for effect in world.effects)
        assert paid or trace.run.state != "completed", "nobody paid, and all looks well"

    return ship().after(charge()), holds


@planted("told of a failure that was none", faults=2, kinds=("fail",))
def last_attempt_is_off_by_one(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    @flows.task(name="charge", attempts=3)
    def charge() -> None:
        context = flows.current()
        try:
            world.record("charge", key=own_key())
        except Exception:
            if context.attempt >= context.attempts - (0 if right else 1):
                world.record("alert", key=own_key())
            raise

    def holds(trace: Trace[Any]) -> None:
        told = any(effect.name == "alert" for effect in world.effects)
        assert not told or trace.states["charge"] == "failed", "told of a failure that was none"

    return charge(), holds


@planted("raised KeyError")
def cleaning_up_what_is_anothers(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    folder: dict[str, int] = {}

    @flows.task(name="render", attempts=1)
    async def render(page: str, seconds: float) -> int:
        files: dict[str, int] = {} if right else folder
        files[page] = len(page)
        try:
            await pause(seconds)
            return files[page]
        finally:
            files.clear()

    bind = flows.task(lambda *pages: sum(pages), name="bind")
    return bind(render("cover", 1.0).out, render("text", 5.0).out), fails_only_by_faults


@planted("1 connections are left open", faults=1, kinds=("cancel",))
def connection_leaks_when_cancelled(world: EffectLedger, right: bool) -> tuple[Job[Any], Property]:
    open_ones = []

    @flows.task(name="fetch")
    async def fetch() -> str:
        open_ones.append("connection")
        try:
            await pause(60.0)
        except BaseException:
            if right:
                open_ones.pop()
            raise
        open_ones.pop()
        return "rows"

    def holds(trace: Trace[Any]) -> None:
        assert not open_ones, f"{len(open_ones)} connections are left open"

    return fetch(), holds
