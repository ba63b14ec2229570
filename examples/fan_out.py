"""Fan-out over a list that is known only at run time: one job per item, a few at once, results in input order."""

from dataclasses import dataclass

import flows
from flows import each, when


@dataclass
class Order:
    customer: str
    items: list[str]
    gift: bool


@flows.task
def load(order_id: str) -> Order:
    return Order("ann", ["lamp", "chair", "desk", "hat"], gift=order_id.startswith("gift"))


@flows.task
def weigh(sku: str) -> int:
    return 100 * len(sku)


@flows.task
def pack(sku: str, weight: int, *, customer: str) -> str:
    return f"{sku} of {weight} g for {customer}"


@flows.task
def wrap(parcels: list[str]) -> int:
    return len(parcels)


@flows.task
def ship(parcels: list[str]) -> str:
    return f"{len(parcels)} parcels"


@flows.flow
def order_flow(order_id: str) -> flows.Job[str]:
    order = load(order_id)
    # The function is called once, with a stand-in for the item; the jobs it makes are stamped out per item.
    # `order` was made outside of it, so all items share the one job.
    parcels = each(
        lambda sku: pack(sku, weigh(sku).out, customer=order.out.customer),
        order.out.items,
        limit=2,  # items open at once
    )
    # Whether this job runs at all is decided when its condition is known; otherwise it is skipped.
    wrapped = when(order.out.gift, wrap(parcels.out))
    return ship(parcels.out).after(wrapped)


print(flows.plan(order_flow("42")).explain())
run = flows.execute(order_flow("42"))
for job_id, job in run.jobs.items():
    print(f"{job_id:8} {job.state:9} {job.value if job.state == 'completed' else job.error}")

assert run.value == "4 parcels"
assert run.jobs["pack"].value[0] == "lamp of 400 g for ann"
assert run.jobs["pack[3]"].value == "hat of 300 g for ann"
assert run.jobs["wrap"].state == "skipped"
assert flows.execute(order_flow("gift-1")).jobs["wrap"].value == 4
assert flows.execute(each(weigh, [])).value == []  # always a list
