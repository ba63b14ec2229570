"""simulate: production's code under a virtual clock, the same each time."""

import asyncio
import dataclasses
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flows
from flows import Backoff, Children, DataError, DefinitionError, Job, Opts, RetryAfter, UnknownTaskError
from flows.testing import EffectLedger, Fault, Trace, always_ends, check_all, simulate
from tests.testing import shop


@pytest.fixture(autouse=True)
def _nothing_charged_yet() -> None:
    shop.world.clear()


def test_a_flow_of_every_kind_of_job_runs_and_is_read_like_any_run() -> None:
    trace = simulate(shop.order_flow())
    assert trace.run.state == "completed"
    assert trace.run.value == ("12.5 USD", 2)
    assert trace.run.jobs["shop-load"].value == shop.Order("123", ("tea", "pot"))
    assert trace.results["shop-reserve[1]"] == "pot reserved"
    assert trace.seconds == 0.0
    assert [attempt.job for attempt in trace.attempts] == [
        *("shop-load", "shop-charge", "shop-mail", "shop-reserve[0]", "shop-reserve[1]", "shop-close"),
    ]
    assert trace.replay == {}
    check_all(trace, shop.world)


def test_waits_take_no_time_and_are_as_long_as_they_should_be() -> None:
    faults = [Fault.fail("shop-charge", times=2), Fault.fail("shop-mail")]
    trace = simulate(shop.order_flow(), faults=faults)
    assert [attempt.began_at for attempt in trace.attempts if attempt.job == "shop-charge"] == [0.0, 1.0, 3.0]
    assert trace.run.value == ("12.5 USD", 2)
    attempts = trace.run.jobs["shop-charge"].attempts
    assert [(attempt.number, attempt.outcome) for attempt in attempts] == [
        (1, "failed"),
        (2, "failed"),
        (3, "completed"),
    ]
    assert attempts[2].start - attempts[0].start == (attempts[1].start - attempts[0].start) * 3


def test_a_year_of_retries_is_over_at_once() -> None:
    @flows.task(name="sim-year", attempts=53, backoff=Backoff.fixed("7d"))
    def year() -> None:
        raise TimeoutError("not yet")

    trace = simulate(year())
    assert trace.run.state == "failed"
    assert trace.seconds == 52 * 7 * 86_400
    check_all(trace)


def test_async_handlers_sleep_by_the_virtual_clock_side_by_side() -> None:
    trace = simulate(shop.nap(3600.0, [shop.nap(7200.0).out, shop.nap(60.0).out]))
    assert trace.seconds == 7200.0 + 3600.0
    assert trace.run.value == 3600.0


@pytest.mark.parametrize("seed", range(12))
def test_the_same_seed_is_the_same_log_and_so_is_its_replay(seed: int) -> None:
    one, two = (simulate(shop.order_flow(), seed=seed, workers=3) for _ in range(2))
    assert one.log == two.log
    assert simulate(shop.order_flow(), **one.replay).log == one.log
    check_all(one)


def test_a_seed_alone_costs_no_lease_and_no_effect_twice() -> None:
    schedules = set()
    for seed in range(60):
        shop.world.clear()
        trace = simulate(shop.order_flow(), seed=seed, workers=2)
        schedules.add(trace.log)
        check_all(trace, shop.world)
        assert trace.run.value == ("12.5 USD", 2)
        assert not {event.kind for event in trace.events} & {"lost", "retrying"}
    assert len(schedules) > 50


@given(st.data())
def test_choices_may_be_hypothesis_own(data: st.DataObject) -> None:
    trace = simulate(shop.order_flow(), schedule=data, workers=3)
    check_all(trace)
    assert simulate(shop.order_flow(), **trace.replay).log == trace.log


@given(st.randoms(use_true_random=False))
def test_choices_may_come_from_a_random_of_hypothesis(chance: Any) -> None:
    check_all(simulate(shop.order_flow(), schedule=chance, workers=2))


def test_handlers_may_be_replaced_by_the_name_of_their_task() -> None:
    ledger = EffectLedger()
    handlers = {"shop-charge": ledger.effect("charge", returns=lambda order, currency: f"{order['id']} {currency}")}
    trace = simulate(shop.order_flow("7"), handlers=handlers)
    assert trace.run.value == ("7 USD", 2)
    assert [effect.key for effect in ledger.effects] == ["simulated/shop-charge"]
    assert shop.world.effects == []


def test_a_literal_flow_needs_no_registered_task_where_its_handlers_are_given() -> None:
    flow = Job("sim-parent", children=[Job("sim-child", data={"n": 2}, opts=Opts(attempts=2))])

    def parent(children: Children) -> int:
        return int(children["sim-child"]) + 1

    trace = simulate(flow, handlers={"sim-parent": parent, "sim-child": lambda n: n * 10}, key="order:7")
    assert trace.run.value == 21
    assert trace.attempts[0].key == "order:7/sim-child"
    with pytest.raises(UnknownTaskError):
        simulate(flow, handlers={"sim-child": lambda n: n})


def test_results_are_written_down_so_that_none_is_shared() -> None:
    seen: list[Any] = []

    def first() -> list[int]:
        return [1]

    def other(numbers: list[int], again: list[int]) -> list[int]:
        seen.append(numbers)
        numbers.append(2)
        return again

    task = flows.task(first, name="sim-first")()
    trace = simulate(flows.task(other, name="sim-other")(task.out, task.out))
    assert trace.run.value == [1]
    assert trace.results["sim-first"] == [1]
    assert seen == [[1, 2]]


def test_a_tuple_comes_back_as_what_the_receiver_says_it_takes() -> None:
    @flows.task(name="sim-pair")
    def pair() -> tuple[int, int]:
        return 1, 2

    @flows.task(name="sim-any")
    def anything(value: Any, *rest: tuple[int, int], **more: Any) -> list[str]:
        return [type(value).__name__, type(rest[0]).__name__, type(more["x"]).__name__]

    made = pair()
    assert simulate(anything(made.out, made.out, x=made.out)).run.value == ["list", "tuple", "list"]


def test_an_argument_that_does_not_fit_fails_the_job_for_good() -> None:
    @flows.task(name="sim-text")
    def text() -> Any:
        return "twelve"

    @flows.task(name="sim-number", attempts=3)
    def number(n: int) -> int:
        return n

    trace = simulate(number(text().out))
    assert trace.run.state == "failed"
    assert "argument 'n'" in trace.run.jobs["sim-number"].error.message  # type: ignore[union-attr]
    assert len([attempt for attempt in trace.attempts if attempt.job == "sim-number"]) == 1


def test_a_result_without_a_json_form_fails_the_job_for_good() -> None:
    @flows.task(name="sim-set", attempts=3)
    def sets() -> set[int]:
        return {1}

    trace = simulate(sets())
    assert trace.run.state == "failed"
    assert "the result" in str(trace.run.jobs["sim-set"].error)
    assert len(trace.attempts) == 1


def test_data_without_a_json_form_is_refused_before_anything_runs() -> None:
    @flows.task(name="sim-takes")
    def takes(what: object) -> None: ...

    with pytest.raises(DataError, match="sim-takes"):
        simulate(takes(object()))


def test_waits_that_a_handler_asks_for_and_deadlines_hold() -> None:
    @flows.task(name="sim-busy", attempts=5)
    def busy() -> int:
        if flows.current().attempt < 3:
            raise RetryAfter("1h")
        return 1

    assert simulate(busy()).seconds == 7200.0
    trace = simulate(busy(), timeout="90m")
    assert trace.run.state == "cancelled"
    assert trace.seconds == 5400.0
    check_all(trace)


def test_timeouts_are_those_of_production() -> None:
    @flows.task(name="sim-slow", attempts=2, timeout="10s")
    async def slow() -> None:
        await shop.nap.fn(60.0)

    trace: Trace[Any] = simulate(slow())
    assert [attempt.error for attempt in trace.attempts] == ["JobTimeoutError: timeout of 10 s passed"] * 2
    assert trace.seconds == 20.0
    sync = flows.task(lambda: 1, name="sim-sync", attempts=2, timeout="10s")
    trace = simulate(sync(), faults=[Fault.slow("sim-sync", "1m", renewed=True)])
    assert [attempt.outcome for attempt in trace.attempts] == ["retrying", "completed"]
    assert trace.seconds == 10.0


def test_jobs_that_share_a_result_do_so_here_too() -> None:
    ledger = EffectLedger()

    @flows.task(name="sim-shared", idempotency_key="once")
    def shared() -> int:
        ledger.record("shared")
        return 4

    @flows.task(name="sim-sum")
    def add(*numbers: int) -> int:
        return sum(numbers)

    for seed in range(20):
        ledger.clear()
        trace = simulate(add(shared().out, shared().out, shared().out), seed=seed, workers=3)
        assert trace.run.value == 12
        assert len(ledger.effects) == 1
        check_all(trace)


def test_limits_of_queues_hold_by_the_virtual_clock() -> None:
    queue = flows.Queue("sim-limited", concurrency=1, rate="1/m")
    limited = flows.task(lambda n: n, name="sim-limited", queue=queue)

    @flows.task(name="sim-all")
    def all_of(numbers: list[int]) -> int:
        return len(numbers)

    trace = simulate(all_of([limited(n).out for n in range(4)]), workers=2)
    assert [attempt.began_at for attempt in trace.attempts if attempt.task == "sim-limited"] == [
        0.0,
        60.0,
        120.0,
        180.0,
    ]


def test_spans_are_recorded_where_they_are_asked_for() -> None:
    trace = simulate(shop.order_flow(), spans=True, faults=[Fault.fail("shop-charge", attempt=1)])
    assert len({span.context.trace_id for span in trace.spans}) == 1
    assert len([span for span in trace.spans if "shop-charge" in str(span.attributes)]) == 2
    assert simulate(shop.order_flow()).spans == ()


def test_a_simulation_inside_a_running_event_loop_leaves_it_alone() -> None:
    import asyncio

    async def inside() -> float:
        loop = asyncio.get_running_loop()
        seconds = simulate(shop.nap(60.0)).seconds
        assert asyncio.get_running_loop() is loop
        return seconds

    assert asyncio.run(inside()) == 60.0


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_handler_that_exits_fails_as_in_a_worker_and_an_interrupt_ends_the_simulation(
    kind: str, error: type[BaseException]
) -> None:
    def leave() -> None:
        raise error

    async def leave_too() -> None:
        raise error

    task = flows.task(leave if kind == "sync" else leave_too, name="sim-leave", attempts=2)
    if error is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt):
            simulate(task())
        return
    trace = simulate(task())
    assert [attempt.outcome for attempt in trace.attempts] == ["retrying", "failed"]
    assert "SystemExit" in str(trace.run.jobs["sim-leave"].error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"slots": True},
        {"seed": 1.5},
        {"seed": 1, "schedule": {}},
        {"schedule": "often"},
        {"handlers": {"shop-chrage": print}},
        {"handlers": {"shop-charge": 1}},
        {"handlers": print},
        {"faults": ["crash"]},
        {"faults": "crash"},
        {"faults": [Fault.crash("shop-chrage")]},
        {"allow": "time"},
        {"allow": ("tmie",)},
        {"timeout": -1},
    ],
    ids=str,
)
def test_wrong_arguments_are_refused_before_anything_runs(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        simulate(shop.order_flow(), **wrong)
    assert shop.world.effects == []


def test_a_run_without_end_is_told_of_and_not_waited_for() -> None:
    @flows.task(name="sim-for-ever")
    async def for_ever() -> None:
        import asyncio

        await asyncio.Event().wait()

    trace = simulate(for_ever())
    assert trace.run.state == "running"
    with pytest.raises(AssertionError, match="always_ends"):
        check_all(trace)


def test_a_run_that_is_over_can_be_read_and_no_more() -> None:
    run = simulate(shop.order_flow()).run
    assert run.wait() is run
    for change in (run.cancel, run.retry):
        with pytest.raises(flows.UnsupportedError, match="simulate"):
            change()


def test_a_model_is_what_its_receiver_gets() -> None:
    @flows.task(name="sim-model")
    def model() -> shop.Order:
        return shop.Order("1", ("tea",))

    @flows.task(name="sim-reader")
    def reader(order: shop.Order, first: str) -> shop.Order:
        assert isinstance(order, shop.Order)
        return dataclasses.replace(order, items=(first,))

    made = model()
    assert simulate(reader(made.out, made.out.items[0])).run.value == shop.Order("1", ("tea",))


def test_jobs_that_start_at_once_may_begin_in_any_order() -> None:
    came: list[str] = []
    part = flows.task(lambda name: came.append(name), name="part")
    total = flows.task(lambda *parts: len(parts), name="total")
    for seed in range(30):
        simulate(total(part("one").out, part("two").out), seed=seed)
    assert {("one", "two"), ("two", "one")} == set(zip(came[::2], came[1::2], strict=True))


@pytest.mark.slow
def test_a_handler_that_goes_in_circles_is_stopped_and_told_of() -> None:
    async def spin() -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(AssertionError, match=r"stops the simulation: no job has begun in 50,\d+ steps"):
        always_ends(simulate(flows.task(spin, name="simulate-spin")()))


def test_days_in_which_leases_are_renewed_pass_at_once() -> None:
    async def sleep() -> str:
        await asyncio.sleep(200 * 86_400)
        return "awake"

    task = flows.task(sleep, name="simulate-sleeper")
    two: Any = flows.flow(lambda: (task(), task.using(id="other")()), name="sleepers")()
    trace: Trace[Any] = simulate(two, workers=50)
    assert (trace.run.value, trace.seconds) == (("awake", "awake"), 200 * 86_400)
    assert trace.steps == ()  # no lease was lost
    trace = simulate(task(), workers=2, faults=[Fault.worker_leaves(at="100d", drain=False)])
    assert 300 * 86_400 < trace.seconds < 300.01 * 86_400
    assert [attempt.outcome for attempt in trace.attempts] == ["crashed", "completed"]


def test_an_async_generator_that_is_left_is_closed_by_the_loop() -> None:
    closed: list[str] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
        finally:
            await asyncio.sleep(1)
            closed.append("closed")

    async def handler() -> int:
        async for number in numbers():
            return number
        return 0

    assert simulate(flows.task(handler, name="simulate-generator")()).run.value == 1
    assert closed == ["closed"]
