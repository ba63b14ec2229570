"""An order, start to end: typed tasks on four queues, a retry, a failure that does not matter; watched live.

The payment provider charges but answers too late, so the charge is tried again: under the same idempotency key,
so the customer pays once. The mail server is down, and the order goes through all the same.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import flows
from flows import Backoff, Job


@dataclass
class Order:
    id: str
    skus: list[str]
    total: float
    email: str


CHARGED: dict[str, float] = {}  # the books of the payment provider, by idempotency key


@flows.task(queue="orders")
def load(order_id: str) -> Order:
    time.sleep(0.05)
    return Order(order_id, ["tea", "pot"], 59.8, "ada@example.com")


@flows.task(queue="payments", attempts=3, backoff=Backoff.exponential("100ms"), timeout="5s")
async def charge(order: Order, *, currency: str = "EUR") -> str:
    job = flows.current()
    CHARGED[job.idempotency_key] = order.total
    await asyncio.sleep(0.08)
    if job.attempt == 1:
        raise TimeoutError("no answer from the payment provider")
    return f"{order.total:.2f} {currency}"


@flows.task(queue="stock")
def reserve(skus: list[str]) -> int:
    time.sleep(0.12)
    return len(skus)


@flows.task(queue="email")
def confirm(address: str) -> None:
    time.sleep(0.03)
    raise ConnectionError(f"the mail server is down, no mail to {address}")


@flows.task(queue="orders")
def ship(paid: str, parcels: int) -> str:
    time.sleep(0.05)
    return f"{parcels} articles shipped, {paid} paid"


@flows.flow
def order_flow(order_id: str = "123") -> Job[str]:
    order = load(order_id)
    paid = charge(order.out, currency="USD")  # an edge: it takes the order that load will return
    stock = reserve(order.out.skus)
    mail = confirm(order.out.email).on_failure("ignore")
    return ship(paid.out, stock.out).after(mail)


def watch(run: flows.Run[str]) -> None:
    """Print each attempt as it ends; on a terminal, keep a bar below with what is running."""
    colours = {"completed": 32, "retrying": 33, "failed": 31}
    live, ended, began = sys.stdout.isatty(), 0, {}
    for event in run.events():
        if event.kind == "started":
            began[event.job] = event.at
        elif event.kind in colours:
            took = (event.at - began.pop(event.job)).total_seconds()
            kind = f"\r\x1b[2K\x1b[{colours[event.kind]}m{event.kind:9}\x1b[m" if live else f"{event.kind:9}"
            why = getattr(event.detail, "message", "")
            print(f"{kind}  {event.job:8}{took * 1000:4.0f} ms  {why}".rstrip())
            ended += event.kind != "retrying"
        if live:
            bar = "━" * (20 * ended // len(run.jobs))
            print(f"\r\x1b[2K{bar:┄<20}  {ended}/{len(run.jobs)}  {', '.join(map(str, began))}", end="", flush=True)
    print()


print(flows.plan(order_flow).explain(), end="\n\n")
run = flows.submit(order_flow)
watch(run)
print(f"{run.state}: {run.value}\ntrace {run.trace_id}")

assert run.value == "2 articles shipped, 59.80 USD paid"
assert len(run.jobs["charge"].attempts) == 2 and len(CHARGED) == 1
