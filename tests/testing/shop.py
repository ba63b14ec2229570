"""A shop to be simulated: its tasks do nothing but tell a ledger, and return what their types say."""

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any

import flows
from flows import Backoff, Job
from flows.testing import EffectLedger


@dataclass
class Order:
    id: str
    items: tuple[str, ...]
    total: float = 12.5


class CardDeclined(Exception):
    """For good."""


world = EffectLedger()
"""What charges go to; tests clear it."""


@flows.task(name="shop-load")
def load(order_id: str) -> Order:
    return Order(order_id, ("tea", "pot"))


@flows.task(name="shop-charge", attempts=3, backoff=Backoff.exponential("1s"), give_up_on=(CardDeclined,))
def charge(order: Order, *, currency: str = "EUR") -> str:
    world.record("charge", key=flows.current().idempotency_key)
    return f"{order.total:g} {currency}"


@flows.task(name="shop-nap")
async def nap(seconds: float, what: Any = None) -> float:
    await asyncio.sleep(seconds)
    return seconds


@flows.task(name="shop-reserve", attempts=2)
def reserve(sku: str) -> str:
    return f"{sku} reserved"


@flows.task(name="shop-mail")
async def mail(order: Order) -> str:
    return order.id


@flows.task(name="shop-close")
def close(paid: str, stock: list[str], mailed: str | flows.Failed) -> tuple[str, int]:
    return paid, len(stock)


@flows.task(name="shop-rest")
def rest(how: str) -> object:
    return {"time": time.time, "random": random.random, "sleep": lambda: time.sleep(0.0)}[how]()


@flows.flow
def order_flow(order_id: str = "123") -> Job[tuple[str, int]]:
    order = load(order_id)
    paid = charge(order.out, currency="USD")
    stock = flows.each(reserve, order.out.items, limit=2)
    mailed = mail(order.out).on_failure("ignore")
    return close(paid.out, stock.out, flows.optional(mailed.out))
