"""The order flow in the style of BullMQ's FlowProducer: jobs are data, handlers are found by name.

For flows that come from elsewhere: a file, a request, a queue written in another language.
"""

import flows
from flows import Backoff, Children, Job, Opts


@flows.task(name="validate-inventory", queue="inventory")
def validate_inventory(order_id: str) -> int:
    return 3


@flows.task(name="charge-payment", queue="payments")
async def charge_payment(order_id: str) -> str:
    return f"receipt for order {order_id}"


@flows.task(name="send-confirmation", queue="email")
def send_confirmation(order_id: str) -> None:
    raise ConnectionError("the mail server is down")


@flows.task(name="process-order", queue="orders")
def process_order(order_id: str, children: Children) -> str:
    missing = [str(failed) for failed in children.failures.values()]
    return f"order {order_id}: {children['validate-inventory']} parcels, {children['charge-payment']}; {missing}"


order_flow = Job(
    "process-order",
    queue="orders",
    data={"order_id": "123"},
    children=[
        Job("validate-inventory", queue="inventory", data={"order_id": "123"}),
        Job(
            "charge-payment",
            queue="payments",
            data={"order_id": "123"},
            opts=Opts(attempts=3, backoff=Backoff.exponential("1s")),
        ),
        Job(
            "send-confirmation",
            queue="email",
            data={"order_id": "123"},
            opts=Opts(delay="50ms", on_failure="ignore"),
        ),
    ],
)

# The same as JSON, in BullMQ's own words (times in milliseconds), as a Node service would write it.
same_flow = flows.Flow.parse("""{
  "name": "process-order", "queueName": "orders", "data": {"order_id": "123"}, "children": [
    {"name": "validate-inventory", "queueName": "inventory", "data": {"order_id": "123"}},
    {"name": "charge-payment", "queueName": "payments", "data": {"order_id": "123"},
     "opts": {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}}},
    {"name": "send-confirmation", "queueName": "email", "data": {"order_id": "123"},
     "opts": {"delay": 50, "ignoreDependencyOnFailure": true}}
  ]}""")

run = flows.execute(order_flow)
print(run.value)

assert "3 parcels, receipt for order 123" in run.value
assert "ConnectionError: send-confirmation: the mail server is down" in run.value
assert flows.Flow.of(order_flow) == same_flow
assert flows.execute(same_flow).value == run.value
