"""What type checkers must accept, and what they must make of it. Never run: mypy strict and pyright read it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

import tenacity
from distributed import Client

import flows
from flows import INJECTED, Backoff, Children, Context, Failed, Flow, Job, JobView, Opts, Plan, Queue, Run, Task


@dataclass
class Item:
    sku: str
    count: int


@dataclass
class Order:
    id: str
    total: float
    items: list[Item]


@dataclass
class RushOrder(Order):
    by: str = "noon"


# Queues and tasks: bare, with arguments, sync and async, as a call.

payments = Queue("payments", concurrency=5, rate="10/s", attempts=5, backoff=Backoff.steps([1, "5s", "1m"]))


@flows.task
def load(order_id: str) -> Order:
    return Order(order_id, 1.0, [])


@flows.task
async def price(order: Order, *, currency: str = "EUR") -> float:
    return order.total


@flows.task(
    queue=payments,
    name="charge-card",
    attempts=3,
    backoff=Backoff.exponential("1s", factor=2, cap="1m", jitter=0.5),
    retry_on=(TimeoutError, ConnectionError),
    give_up_on=PermissionError,
    timeout=timedelta(seconds=30),
    delay="500ms",
    priority=2,
    lifo=True,
    on_failure="fail",
    run_in="thread",
)
async def charge(amount: float, /, order: Order, *, currency: str = "EUR") -> str:
    assert_type(flows.current(), Context)
    return flows.current().idempotency_key


@flows.task(backoff=tenacity.wait_exponential(max=10) + tenacity.wait_random(0, 1), attempts=3)
def reserve(item: Item) -> int:
    return item.count


@flows.task(retry=tenacity.AsyncRetrying(stop=tenacity.stop_after_attempt(3)))
def pack(counts: list[int]) -> int:
    return sum(counts)


@flows.task
def label(parts: dict[str, int], *more: int, **named: int) -> str:
    return f"{parts}{more}{named}"


@flows.task
def report(title: str, children: Children = INJECTED, context: Context = INJECTED) -> str:
    assert_type(children.get("price"), Any | None)
    assert_type(context.attempt, int)
    return f"{title}: {children['price']} {list(children.failures)}"


@flows.task
def tolerant(amount: float | Failed) -> str:
    return str(amount) if isinstance(amount, Failed) else f"{amount:.2f}"


def plain(numbers: list[float], digits: int = 2) -> str:
    return f"{sum(numbers):.{digits}f}"


total = flows.task(plain, queue="default", attempts=2)
double = flows.task(lambda: 2, name="double")

assert_type(double, Task[[], int])
some_task: Task[..., Order] = load
assert_type(load.name, str)
assert_type(load.queue, str)

# A call is a job of what the function returns, and of what awaiting it gives where it is async.

order = load("123")
assert_type(order, Job[Order])
assert_type(order.out, Order)
assert_type(order.out.items[0].sku, str)
assert_type(price(order.out), Job[float])
assert_type(price(order.out, currency="USD").out, float)
assert_type(charge(price(order.out).out, order.out, currency="USD"), Job[str])
plainly: Order = load.fn("123")

# References fit wherever their value would.

assert_type(reserve(order.out.items[0]), Job[int])
assert_type(pack([reserve(order.out.items[0]).out, 3]), Job[int])
assert_type(label({"a": reserve(Item("a", 1)).out}, 1, 2, third=3), Job[str])
assert_type(total([price(order.out).out, 1.5], digits=3), Job[str])
rush = flows.task(lambda: RushOrder("1", 2.0, []), name="rush")()
assert_type(price(rush.out), Job[float])
wider: Job[Order] = rush

# Changes give back what they change.

assert_type(double.using(id="first", queue="slow", priority=1, timeout="1m"), Task[[], int])
assert_type(load.using(attempts=2)(order_id="123").out, Order)
assert_type(price(order.out).after(order, rush), Job[float])
assert_type(price(order.out).on_failure("ignore"), Job[float])
assert_type(flows.optional(price(order.out).out), float | Failed)
assert_type(tolerant(flows.optional(price(order.out).out)), Job[str])
assert_type(report("all").after(order), Job[str])

# Flows: one root or several, bare, named, with and without arguments.


@flows.flow
def single(order_id: str = "123") -> Job[float]:
    return price(load(order_id).out)


@flows.flow
def needy(order_id: str) -> Job[float]:
    return price(load(order_id).out)


@flows.flow(name="a pair")
def pair(order_id: str = "123") -> tuple[Job[Order], Job[float]]:
    first = load(order_id)
    return first, price(first.out)


@flows.flow
def quartet() -> tuple[Job[Order], Job[float], Job[int], Job[str]]:
    first, amount = load("1"), price(Order("1", 2.0, []))
    return first, amount, reserve(Item("a", 1)), tolerant(amount.out)


@flows.flow
def many(amounts: list[str]) -> tuple[Job[Order], ...]:
    return tuple(load(amount) for amount in amounts)


def hand_made() -> Flow[float]:
    return single("9")


named = flows.flow(lambda: load("1"), name="named")

assert_type(single(), Flow[float])
assert_type(single(order_id="9"), Flow[float])
assert_type(pair("9"), Flow[tuple[Order, float]])
assert_type(many(["1", "2"]), Flow[tuple[Order, ...]])
assert_type(named(), Flow[Order])

# Runs carry the type of the flow's value, whatever the flow is given as.

assert_type(flows.execute(single), Run[float])
assert_type(flows.execute(single).value, float)
assert_type(flows.execute(needy("9"), key="order:9", check=False), Run[float])
assert_type(flows.execute(pair).value, tuple[Order, float])
assert_type(flows.execute(quartet).value, tuple[Order, float, int, str])
assert_type(flows.execute(many(["1"])).value, tuple[Order, ...])
assert_type(flows.execute(order).value, Order)
assert_type(flows.execute(hand_made).value, float)
assert_type(flows.execute(flows.plan(single)).value, float)
assert_type(flows.submit(pair, executor="memory://?private=1").wait("1m").value, tuple[Order, float])
assert_type(flows.plan(pair), Plan[tuple[Order, float]])
assert_type(flows.plan(single).critical_path({"load": 1.0}), list[str])


def on_a_cluster(client: Client) -> None:
    assert_type(flows.execute(single, executor=client), Run[float])


async def in_a_loop() -> None:
    assert_type(await flows.aexecute(single), Run[float])
    run = await flows.asubmit(pair)
    assert_type(await run, Run[tuple[Order, float]])
    assert_type(await price.fn(Order("1", 2.0, [])), Any)
    async for event in run.aevents():
        assert_type(event, flows.Event)


run = flows.submit(single)
for event in run.events():
    assert_type(event.job, str | None)
view = run.jobs["price"]
assert_type(view, JobView)
assert_type(run.jobs[order].error, Failed | None)
assert_type([attempt.seconds for attempt in view.attempts], list[float | None])

# Literals say nothing of their handlers' results.

literal = Job(
    "process-order",
    queue="orders",
    data={"order_id": "123"},
    children=[Job("charge", opts=Opts(attempts=3, backoff=Backoff.fixed(1), delay="1s", on_failure="ignore"))],
    id="root",
)
assert_type(literal, Job[Any])
assert_type(flows.execute(literal).value, Any)
assert_type(Flow.parse('{"name": "process-order"}'), Flow[Any])
assert_type(single().to_dict(), dict[str, Any])

try:
    flows.execute(single)
except flows.FlowFailedError as error:
    print(error.run, error.__cause__)

# Lists and conditions.


@flows.task
def item_ids(order: Order) -> list[str]:
    return [item.sku for item in order.items]


@flows.task
def rows(orders: list[Order]) -> list[list[Item]]:
    return [order.items for order in orders]


assert_type(flows.each(reserve, order.out.items, limit=10), Job[list[int]])
assert_type(flows.each(reserve, order.out.items, limit=10).out, list[int])
assert_type(pack(flows.each(reserve, order.out.items).out), Job[int])
assert_type(flows.each(load, ["1", "2"]), Job[list[Order]])
assert_type(flows.each(load, item_ids(order.out).out), Job[list[Order]])
assert_type(flows.each(price, (order.out, rush.out)), Job[list[float]])
assert_type(flows.each(lambda item: reserve(item), order.out.items), Job[list[int]])
assert_type(flows.each(lambda item: price(load(item.sku).out, currency="USD"), order.out.items), Job[list[float]])
assert_type(flows.each(lambda row: flows.each(reserve, row), rows([]).out), Job[list[list[int]]])
assert_type(flows.each(lambda row: pack(flows.each(reserve, row).out), rows([]).out), Job[list[int]])
assert_type(flows.each(reserve, order.out.items).on_failure("ignore").after(rush), Job[list[int]])
assert_type(flows.each(lambda name: Job("by-name", data={"name": name}), ["a"]), Job[list[Any]])
assert_type(flows.when(order.out.items, price(order.out)), Job[float])
assert_type(flows.when(True, flows.each(reserve, order.out.items)), Job[list[int]])
assert_type(flows.when(order, load("2")), Job[Order])
assert_type(flows.execute(flows.each(reserve, order.out.items)).value, list[int])
assert_type(flows.execute(single, timeout="1m", fail_fast=True).retry().wait().value, float)
assert_type(run.rerun("price").wait("1m").value, float)
assert_type(run.retry(order), Run[float])
