"""Flows as the field writes them, for BullMQ's FlowProducer and as Inngest's step functions, written down one to one
in this library and run.

A step function is a flow whose steps are tasks: what a step returns is passed on by reference, `retries: n` is
`attempts=n + 1`, a sleep is the delay of the step after it, and an early return is a step that raises `Skip`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

import flows
from flows import Backoff, Children, Failed, Job, Opts, Queue, Skip

done: list[tuple[str, object]] = []
"""What the handlers did, in order."""


@pytest.fixture(autouse=True)
def nothing_done() -> Iterator[None]:
    done.clear()
    yield
    done.clear()


# FlowProducer: the order, as its JSON and as jobs.


@flows.task(name="validate-inventory", queue="inventory")
def validate_inventory(orderId: str) -> str:
    done.append(("validate", orderId))
    return "in stock"


@flows.task(name="charge-payment", queue="payments")
async def charge_payment(orderId: str) -> str:
    done.append(("charge", orderId))
    return "charged"


@flows.task(name="send-confirmation", queue="email")
def send_confirmation(orderId: str) -> None:
    done.append(("confirm", orderId))


@flows.task(name="process-order", queue="orders")
def process_order(orderId: str, children: Children) -> dict[str, object]:
    done.append(("process", orderId))
    return dict(children.items())


FLOW_PRODUCER = {
    "name": "process-order",
    "queueName": "orders",
    "data": {"orderId": "123"},
    "children": [
        {"name": "validate-inventory", "queueName": "inventory", "data": {"orderId": "123"}},
        {"name": "charge-payment", "queueName": "payments", "data": {"orderId": "123"}},
        {"name": "send-confirmation", "queueName": "email", "data": {"orderId": "123"}, "opts": {"delay": 1000}},
    ],
}

ORDER = Job(
    "process-order",
    queue="orders",
    data={"orderId": "123"},
    children=[
        Job("validate-inventory", queue="inventory", data={"orderId": "123"}),
        Job("charge-payment", queue="payments", data={"orderId": "123"}),
        Job("send-confirmation", queue="email", data={"orderId": "123"}, opts=Opts(delay="1s")),
    ],
)


@pytest.mark.parametrize("source", [FLOW_PRODUCER, json.dumps(FLOW_PRODUCER)], ids=["dict", "json"])
def test_the_flow_producers_order_is_the_same_as_json_and_as_jobs(source: str | dict[str, object]) -> None:
    parsed = flows.Flow.parse(source)
    assert parsed == flows.Flow.of(ORDER)
    assert flows.plan(parsed).fingerprint == flows.plan(ORDER).fingerprint


@pytest.mark.slow
def test_the_flow_producers_order_runs_its_children_first_and_the_mail_a_second_later() -> None:
    run = flows.execute(flows.Flow.parse(FLOW_PRODUCER))
    assert run.value == {"validate-inventory": "in stock", "charge-payment": "charged", "send-confirmation": None}
    assert sorted(done[:2]) == [("charge", "123"), ("validate", "123")]
    assert done[2:] == [("confirm", "123"), ("process", "123")]
    charged, mailed = (run.jobs[job].attempts[0].start for job in ("charge-payment", "send-confirmation"))
    assert (mailed - charged).total_seconds() >= 0.9


# Step functions: an order, with an early return and a sleep.


@dataclass
class Placed:
    id: str
    items: list[str]
    total: float
    customer_email: str


@dataclass
class Inventory:
    available: bool


steps = Queue("process-order", attempts=6)  # retries: 5, of each step on its own


@flows.task(name="check-inventory", queue=steps)
async def check_inventory(items: list[str]) -> Inventory:
    return Inventory(available="unicorn" not in items)


@flows.task(name="charge-payment", queue=steps, backoff=Backoff.fixed("1ms"))
async def charge_card(order: Placed, inventory: Inventory) -> str:
    if not inventory.available:
        raise Skip("out-of-stock")
    if flows.current().attempt < 3:
        raise ConnectionError("try again")
    done.append(("charge", order.total))
    return f"payment of {order.total}"


@flows.task(name="reserve-inventory", queue=steps)
async def reserve_inventory(items: list[str], payment: str) -> None:
    done.append(("reserve", items))


@flows.task(name="send-confirmation", queue=steps)
async def confirm(order: Placed, payment: str, reserved: None) -> None:
    done.append(("mail", (order.customer_email, payment)))


@flows.task(name="finish", queue=steps)
def finish(order: Placed, confirmed: Failed | None) -> dict[str, str]:
    if isinstance(confirmed, Failed) and confirmed.state == "skipped":
        return {"status": "cancelled", "reason": "out-of-stock"}
    return {"status": "completed", "orderId": order.id}


@flows.flow(name="process-order")
def order_placed(order: Placed, wait_before_email: str = "5s") -> Job[dict[str, str]]:
    inventory = check_inventory(order.items)
    payment = charge_card(order, inventory.out)
    reserved = reserve_inventory(order.items, payment.out)
    mail = confirm.using(delay=wait_before_email)(order, payment.out, reserved.out)
    return finish(order, flows.optional(mail.out))


def test_the_step_functions_order_waits_as_written_and_retries_each_step_on_its_own() -> None:
    plan = flows.plan(order_placed(Placed("1", ["tea"], 9.5, "ada@example.com")))
    assert plan.order == (
        "check-inventory", "charge-payment", "reserve-inventory", "send-confirmation", "finish",
    )  # fmt: skip
    assert {settings.attempts for settings in plan.settings} == {6}
    assert plan.settings[plan.order.index("send-confirmation")].delay == 5.0


def test_the_step_functions_order_completes() -> None:
    run = flows.execute(order_placed(Placed("1", ["tea"], 9.5, "ada@example.com"), wait_before_email="10ms"))
    assert run.value == {"status": "completed", "orderId": "1"}
    mail = ("ada@example.com", "payment of 9.5")
    assert done == [("charge", 9.5), ("reserve", ["tea"]), ("mail", mail)]
    assert len(run.jobs["charge-payment"].attempts) == 3


def test_the_step_functions_order_returns_early_without_stock() -> None:
    run = flows.execute(order_placed(Placed("2", ["unicorn"], 1e6, "ada@example.com"), wait_before_email="10ms"))
    assert run.value == {"status": "cancelled", "reason": "out-of-stock"}
    assert done == []
    assert {job.id: job.state for job in run.jobs.values()} == {
        "check-inventory": "completed",
        "charge-payment": "skipped",
        "reserve-inventory": "skipped",
        "send-confirmation": "skipped",
        "finish": "completed",
    }


# Step functions: bulk mail, a step a recipient.


@dataclass(frozen=True)
class Recipient:
    id: str
    email: str


@dataclass
class Template:
    subject: str
    body: str


bulk = Queue("send-bulk-email", attempts=4)  # retries: 3


@flows.task(name="fetch-template", queue=bulk)
async def fetch_template(template_id: str) -> Template:
    done.append(("fetch", template_id))
    return Template("News", "<p>Hello</p>")


@flows.task(name="send-to", queue=bulk)
async def send_to(recipient: Recipient, subject: str, html: str) -> None:
    done.append((recipient.email, subject))


@flows.task(name="count", queue=bulk)
def count(sent: list[None]) -> dict[str, int]:
    return {"sent": len(sent)}


@flows.flow(name="send-bulk-email")
def send_bulk_email(recipients: list[Recipient], template_id: str) -> Job[dict[str, int]]:
    template = fetch_template(template_id)
    sent = [
        send_to.using(id=f"send-to-{recipient.id}")(recipient, template.out.subject, template.out.body)
        for recipient in recipients
    ]
    return count([job.out for job in sent]).after(template)  # also where there is nobody to send to


def test_bulk_mail_fetches_the_template_once_and_sends_to_each() -> None:
    recipients = [Recipient(f"r{number}", f"{number}@example.com") for number in range(5)]
    run = flows.execute(send_bulk_email(recipients, "news"))
    assert run.value == {"sent": 5}
    assert done[0] == ("fetch", "news")
    assert sorted(done[1:]) == [(recipient.email, "News") for recipient in recipients]
    assert [job for job in run.jobs if job.startswith("send-to")] == [f"send-to-{one.id}" for one in recipients]


def test_bulk_mail_to_nobody_sends_nothing() -> None:
    assert flows.execute(send_bulk_email([], "news")).value == {"sent": 0}
    assert done == [("fetch", "news")]


# Step functions: a welcome, a day of waiting, and a reminder only where one is needed.


@dataclass
class User:
    email: str
    profile_completed: bool


USERS = {"ada": User("ada@example.com", True), "bob": User("bob@example.com", False)}

welcome = Queue("welcome-flow", attempts=4)


@flows.task(name="send-welcome-email", queue=welcome)
async def send_welcome(email: str) -> None:
    done.append(("welcome", email))


@flows.task(name="check-profile", queue=welcome)
async def check_profile(user_id: str) -> User:
    return USERS[user_id]


@flows.task(name="send-reminder", queue=welcome)
async def send_reminder(user: User) -> None:
    if user.profile_completed:
        raise Skip("the profile is complete")
    done.append(("reminder", user.email))


@flows.flow(name="welcome-flow")
def welcome_flow(user_id: str, email: str, wait: str = "24h") -> Job[None]:
    greeted = send_welcome(email)
    user = check_profile.using(delay=wait)(user_id).after(greeted)
    return send_reminder(user.out)


def test_the_welcome_flow_waits_for_a_day() -> None:
    plan = flows.plan(welcome_flow("ada", "ada@example.com"))
    assert plan.order == ("send-welcome-email", "check-profile", "send-reminder")
    assert plan.settings[1].delay == 24 * 3600


@pytest.mark.parametrize(
    ("user", "reminder", "state"),
    [("ada", [], "skipped"), ("bob", [("reminder", "bob@example.com")], "completed")],
    ids=["complete profile", "incomplete profile"],
)
def test_the_welcome_flow_reminds_only_who_needs_it(user: str, reminder: list[object], state: str) -> None:
    run = flows.execute(welcome_flow(user, USERS[user].email, wait="5ms"))
    assert done == [("welcome", USERS[user].email), *reminder]
    assert run.jobs["send-reminder"].state == state
    assert run.state == "completed"
