"""What type checkers must reject. Never run: an ignore that is not needed is an error in mypy and in pyright."""

import flows
from flows import Backoff, Flow, Job, Opts, Queue, Run, each, when
from tests.typing.accepted import Order, charge, load, many, pack, pair, price, reserve, single, tolerant

order = load("123")
amount = price(order.out)

# Arguments of a task.

load(123)  # type: ignore[arg-type]  # the wrong type
load()  # type: ignore[call-arg]  # nothing
load("123", "456")  # type: ignore[call-arg]  # too much
load(order="123")  # type: ignore[call-arg]  # a wrong keyword
price(amount.out)  # type: ignore[arg-type]  # the result of another task
price(order.out, "USD")  # type: ignore[call-arg]  # by position, but keyword-only
price(order.out, currency=840)  # type: ignore[arg-type]  # the wrong type
price(order.out, curency="USD")  # type: ignore[call-arg]  # misspelt
charge(order.out, amount.out)  # type: ignore[arg-type]  # swapped
charge(amount=amount.out, order=order.out)  # type: ignore[call-arg]  # by keyword, but positional-only
price(order)  # type: ignore[arg-type]  # forgotten .out
pack([order.out, reserve(order.out.items[0]).out])  # type: ignore[list-item]  # a wrong item in a list of references
pack([reserve(order.out.items[0])])  # type: ignore[list-item]  # forgotten .out in a list
pack([amount.out])  # type: ignore[list-item]  # a float among integers
reserve(order.out.items)  # type: ignore[arg-type]  # the list for an item
reserve(order.out.items[0].sku)  # type: ignore[arg-type]  # too deep
reserve(order.out.articles)  # type: ignore[attr-defined]  # no such field
price(flows.optional(order.out))  # type: ignore[arg-type]  # no place for a Failed
tolerant(flows.optional(order.out))  # type: ignore[arg-type]  # a Failed is taken, but no Order
load.fn(123)  # type: ignore[arg-type]  # the plain function is as strict

# Options.

load.using(atempts=2)  # type: ignore[call-arg]
load.using(attempts="2")  # type: ignore[arg-type]
load.using(on_failure="explode")  # type: ignore[arg-type]
load.using(timeout=[1])  # type: ignore[arg-type]
load.using(run_in="cloud")  # type: ignore[arg-type]
amount.on_failure("abort")  # type: ignore[arg-type]
amount.after(order.out)  # type: ignore[arg-type]  # jobs, not their results
Opts(atempts=2)  # type: ignore[call-arg]
Opts(retry_on=TimeoutError("x"))  # type: ignore[arg-type]
Queue("payments", concurrency="5")  # type: ignore[arg-type]
Backoff.exponential("1s", facter=2)  # type: ignore[call-arg]
Backoff.fixed()  # type: ignore[call-arg]
Job("charge", opts={"attempts": 3})  # type: ignore[arg-type]
Job("charge", children=[single])  # type: ignore[list-item]
Job("charge", dta={})  # type: ignore[call-arg]


@flows.task(queue=5)  # type: ignore[call-overload, untyped-decorator]
def on_no_queue() -> None: ...


@flows.task(atempts=3)  # type: ignore[call-overload, untyped-decorator]
def misspelt() -> None: ...


# Flows.


@flows.flow  # type: ignore[arg-type]
def no_job(order_id: str) -> Order:
    return load(order_id).out


@flows.flow
def wrong_job(order_id: str) -> Job[int]:
    return price(load(order_id).out)  # type: ignore[return-value]


@flows.flow(name="wrong pair")
def wrong_pair() -> tuple[Job[float], Job[Order]]:
    return order, amount  # type: ignore[return-value]


@flows.flow  # type: ignore[arg-type]
async def no_coroutine() -> Job[Order]:
    return order


single(123)  # type: ignore[arg-type]
single(order="123")  # type: ignore[call-arg]  # a wrong keyword
many("123")  # type: ignore[arg-type]
wrong_flow: Flow[str] = single()  # type: ignore[assignment]
wrong_wider: Job[int] = amount  # type: ignore[assignment]

# Lists and conditions.

each(reserve, order.out)  # type: ignore[arg-type]  # no list
each(reserve, ["sku"])  # type: ignore[arg-type]  # items of the wrong type
each(price, order.out.items)  # type: ignore[arg-type]  # takes an order, not an item
each(charge, [1.0])  # type: ignore[arg-type]  # takes more than the item
each(lambda item: item.count, order.out.items)  # type: ignore[arg-type, return-value]  # gives no job
each(lambda item: reserve(item.sku), order.out.items)  # type: ignore[arg-type]  # misfit within
each(reserve, order.out.items, limit="10")  # type: ignore[arg-type]
each(reserve, order.out.items, 10, 20)  # type: ignore[call-arg]
pack(each(price, [order.out]).out)  # type: ignore[arg-type]  # a list of floats
when(order.out.items)  # type: ignore[call-arg]
when(True, order.out)  # type: ignore[arg-type]  # no job
wrong_list: Job[list[str]] = each(reserve, order.out.items)  # type: ignore[arg-type]
flows.submit(single).retry(1)  # type: ignore[arg-type]
flows.submit(single).rerun()  # type: ignore[call-arg]

# Runs.

flows.execute(many)  # type: ignore[arg-type]  # it needs arguments
flows.execute(load)  # type: ignore[arg-type]  # a task is no flow
flows.execute(single, "memory://")  # type: ignore[call-arg]  # keyword-only
flows.execute(single, exector="memory://")  # type: ignore[call-arg]
flows.execute(None)  # type: ignore[arg-type]
flows.execute(single, executor=object())  # type: ignore[arg-type]  # neither URL, executor nor client
text: str = flows.execute(single).value  # type: ignore[assignment]
number: float = flows.execute(pair).value  # type: ignore[assignment]
run: Run[Order] = flows.submit(amount)  # type: ignore[arg-type]
print(flows.execute(order).value.articles)  # type: ignore[attr-defined]
print(flows.execute(pair).value[2])  # type: ignore[misc]
print(run.jobs[0])  # type: ignore[index]
run.state = "completed"  # type: ignore[misc]
