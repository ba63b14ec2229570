"""An order from end to end: typed tasks on four queues, watched live.

The payment provider charges but answers too late: the retry has the same idempotency key, so the customer pays once.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

import flows


@dataclass
class Order:
    id: str
    skus: list[str]
    total: float


CHARGED: dict[str, float] = {}  # the payment provider's books, by idempotency key


@flows.task(queue="orders")
def load(order_id: str) -> Order:
    return Order(order_id, skus=["tea", "pot"], total=59.8)


@flows.task(queue="payments", attempts=3, backoff=flows.Backoff.exponential("100ms"), timeout="5s")
async def charge(order: Order, *, currency: str = "EUR") -> str:
    CHARGED[flows.current().idempotency_key] = order.total
    await asyncio.sleep(0.08)
    if flows.current().attempt == 1:
        raise TimeoutError("no answer from the payment provider")
    return f"{order.total:.2f} {currency}"


@flows.task(queue="stock")
def reserve(skus: list[str]) -> int:
    time.sleep(0.12)
    return len(skus)


@flows.task(queue="email")
def confirm(order_id: str) -> None:
    raise ConnectionError("the mail server is down")


@flows.task(queue="orders")
def ship(paid: str, articles: int) -> str:
    return f"{articles} articles shipped, {paid} paid"


@flows.flow
def order_flow(order_id: str = "123") -> flows.Job[str]:
    order = load(order_id)
    paid = charge(order.out, currency="USD")  # an edge: charge takes the order that load will return
    stock = reserve(order.out.skus)
    mail = confirm(order.out.id).on_failure("ignore")
    return ship(paid.out, stock.out).after(mail)


print(flows.plan(order_flow).explain(), end="\n\n")
run = flows.submit(order_flow)
events = run.events()
begun = next(events).at
clear = "\r\x1b[2K" if sys.stdout.isatty() else ""  # on a terminal, a bar stays below what is printed
for event in events:
    if event.kind in ("completed", "retrying", "failed"):
        why, ms = getattr(event.detail, "message", ""), (event.at - begun).microseconds // 1000
        print(f"{clear}{ms:4} ms  {event.kind:9}  {event.job:7}  {why}".rstrip())
    if clear:
        ended = sum(job.state in ("completed", "failed") for job in run.jobs.values())
        active = ", ".join(job.id for job in run.jobs.values() if job.state == "active")
        print(f"{clear}{'━' * 4 * ended:┄<20}  {ended} of {len(run.jobs)}  {active}", end="", flush=True)
print(f"\n{run.state}: {run.value}\ntrace {run.trace_id}")

assert run.value == "2 articles shipped, 59.80 USD paid"
assert (len(run.jobs["charge"].attempts), len(CHARGED)) == (2, 1)
